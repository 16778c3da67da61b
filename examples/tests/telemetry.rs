//! Runs the example `telemetry` as a person would, and reads what it shows.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn it_shows_lines_traces_metrics_and_figures() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry"));
    let run = command.env_clear().output().expect("the program starts");
    let out = String::from_utf8_lossy(&run.stdout);
    let err = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{out}\n{err}");

    // One line for the attempt that failed, none for what went well, and no args.
    let lines: Vec<_> = err.lines().filter(|line| line.contains("job=")).collect();
    assert_eq!(lines.len(), 1, "{err}");
    assert!(lines[0].contains("WARN job_core::worker: job failed; trying again"), "{err}");
    assert!(lines[0].contains("error=the bank cannot be reached"), "{err}");
    assert!(!err.contains("the receipt"), "{err}");
    assert!(err.contains("health, metrics and scaling figures are served"), "{err}");

    // One trace: the request, two enqueues, and three runs.
    let names = values(&out, "Name");
    for (name, times) in [
        ("POST /orders", 1),
        ("enqueue orders", 1),
        ("run orders", 2),
        ("enqueue mail", 1),
        ("run mail", 1),
    ] {
        assert_eq!(names.iter().filter(|it| *it == name).count(), times, "{name}: {out}");
    }
    let traces: BTreeSet<_> = values(&out, "TraceId").into_iter().collect();
    assert_eq!(traces.len(), 1, "{out}");

    let scale = out.lines().find(|line| line.starts_with("{\"jobs\":")).expect(&out);
    let scale: serde_json::Value = serde_json::from_str(scale).unwrap();
    assert_eq!((&scale["poison"], &scale["slots"]), (&0.into(), &32.into()), "{scale}");
    // What examples/deploy/scale.yaml has KEDA look for.
    for field in ["backlog", "in_flight", "depth"] {
        assert!(scale[field].is_u64() && scale["queues"][0][field].is_u64(), "{field}: {scale}");
    }
    for line in [
        "job_enqueued_total{queue=\"orders\",job=\"charge_order\"} 1",
        "job_enqueued_total{queue=\"mail\",job=\"send_receipt\"} 1",
        "job_failed_total{queue=\"orders\",job=\"charge_order\"} 1",
        "job_retried_total{queue=\"orders\",job=\"charge_order\"} 1",
        "job_completed_total{queue=\"orders\",job=\"charge_order\"} 1",
        "job_completed_total{queue=\"mail\",job=\"send_receipt\"} 1",
        "job_received_total{queue=\"orders\"} 2",
    ] {
        assert!(out.lines().any(|it| it == line), "{line} is missing: {out}");
    }
    let report = "\nthe worker's report: 3 received, 3 started, 2 completed, 1 retried\n";
    assert!(out.ends_with(report), "{out}");
}

/// What stands after `key :` in the lines of the exporter.
fn values(out: &str, key: &str) -> Vec<String> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    out.lines().filter_map(pair).collect()
}
