//! The program runs, whatever it measures: with tiny counts, and no opinion about the figures.

use std::process::Command;

#[test]
fn every_measurement_runs() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["all", "--quick", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let figures = report["figures"].as_array().unwrap();
    for measure in ["drain of a full queue", "start latency when idle, p50", "bytes a queued job"] {
        let of_measure = figures.iter().filter(|figure| figure["measure"] == measure);
        assert!(of_measure.count() >= 5, "{measure}: {said}");
    }
}
