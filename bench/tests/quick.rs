//! The program runs, whatever it measures: with tiny counts, and no opinion about the figures.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const THIS: &str = "this framework";
const PEERS: [&str; 4] =
    ["apalis", "apalis, parallelize", "bare channel", "tokio + serde_json + spawn"];
const CONCURRENCIES: [u64; 4] = [1, 16, 64, 256];

/// The figures of a run by part and measure.
fn figures() -> BTreeMap<(String, String), Vec<Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["all", "--quick", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["left_out"], Value::Array(Vec::new()), "{said}");
    let mut by_measure: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for figure in report["figures"].as_array().unwrap() {
        let samples = figure["samples"].as_array().unwrap();
        assert!(!samples.is_empty(), "{figure}");
        assert!(
            samples.iter().all(|sample| sample.as_f64().is_some_and(|it| it > 0.0)),
            "{figure}"
        );
        let name = |key: &str| figure[key].as_str().unwrap().to_owned();
        by_measure.entry((name("part"), name("measure"))).or_default().push(figure.clone());
    }
    by_measure
}

fn contenders(figures: &[Value]) -> BTreeSet<&str> {
    figures.iter().map(|figure| figure["contender"].as_str().unwrap()).collect()
}

fn concurrencies(figures: &[Value], contender: &str) -> Vec<u64> {
    let own = figures.iter().filter(|figure| figure["contender"] == contender);
    own.map(|figure| figure["concurrency"].as_u64().unwrap()).collect()
}

#[test]
fn every_figure_is_there() {
    let all = figures();
    let of = |part: &str, measure: &str| {
        let key = (part.to_owned(), measure.to_owned());
        all.get(&key).unwrap_or_else(|| panic!("{key:?} is not in {:?}", all.keys()))
    };

    let everybody: BTreeSet<_> = PEERS.into_iter().chain([THIS]).collect();
    for measure in [
        "enqueue, one at a time",
        "enqueue, many at once",
        "start latency when idle, p50",
        "start latency when idle, p99",
        "start latency when idle, p99.9",
        "bytes a queued job, of 1,000,000",
        "bytes a queued job, of 1,050,000",
        "allocations a job, end to end",
    ] {
        assert_eq!(contenders(of("memory", measure)), everybody, "{measure}");
    }
    for measure in [
        "drain of a full queue",
        "end to end: enqueue many, then drain",
        "live: enqueue many while the worker runs",
        "live: enqueue one at a time while the worker runs",
    ] {
        let figures = of("memory", measure);
        assert_eq!(contenders(figures), everybody, "{measure}");
        for contender in [THIS, "apalis, parallelize", "tokio + serde_json + spawn"] {
            assert_eq!(concurrencies(figures, contender), CONCURRENCIES, "{measure}");
        }
        assert!(figures.iter().all(|figure| figure["cpu"][0].is_f64()), "{measure}");
    }
    let layers = of("memory", "drain through layers that do nothing");
    assert_eq!(contenders(layers), ["no layer", "1 layer", "5 layers"].into());

    let scale = [
        ("drain of several full queues, in memory", 3),
        ("drain by depth of the queue, in memory", 3),
        ("resident memory as jobs flow through, at most 10,000 waiting", 10),
    ];
    for (measure, rows) in scale {
        assert_eq!(contenders(of("scale", measure)).len(), rows, "{measure}");
    }
    assert_eq!(of("micro", "envelope and decisions, for each job").len(), 6);
    assert_eq!(of("micro", "operations of the backend in memory").len(), 6);

    #[cfg(feature = "azure")]
    {
        for latency in ["no latency", "2 ms latency", "10 ms latency"] {
            for measure in ["drain", "requests a job, its enqueue included"] {
                let figures = of("azure", &format!("{measure}, {latency}"));
                for contender in [THIS, "loop on the bare SDK"] {
                    assert_eq!(concurrencies(figures, contender), CONCURRENCIES, "{measure}");
                }
            }
        }
        let measures =
            ["Azurite, enqueue and run at once", "Azurite, requests a job, its enqueue included"];
        for measure in measures {
            let figures = of("azure", measure);
            for contender in [THIS, "loop on the bare SDK"] {
                assert_eq!(concurrencies(figures, contender), CONCURRENCIES, "{measure}");
            }
            // A quick run starts Python once for each.
            for contender in ["loop on Python's SDK", "Celery"] {
                assert_eq!(concurrencies(figures, contender), [16], "{measure}");
            }
        }
        for measure in
            ["worker processes on Azurite", "worker processes on Azurite, requests a job"]
        {
            let processes = contenders(of("scale", measure));
            assert_eq!(processes, ["1 process", "2 processes", "4 processes"].into());
        }
    }
}
