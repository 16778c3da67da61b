//! What the features for telemetry cost where nobody listens: the program `bench-telemetry` is built
//! without and with them, and both are counted side by side.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::instructions::executed;
use crate::round::{Effort, progress};
use crate::table::grouped;

/// How many jobs the difference is of.
const JOBS: u64 = 10_000;

/// How many jobs run at once.
const CONCURRENCIES: [u64; 3] = [1, 16, 64];

/// Builds both, counts them, and gives a table.
///
/// # Errors
/// If cargo or callgrind fails.
pub fn compare(effort: Effort) -> anyhow::Result<String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok("Left out: instruction counts, for which valgrind has to be installed.".into());
    }
    let without = build("without", &[])?;
    let with = build("with", &["--features", "telemetry"])?;
    let mut text = String::from(
        "Instructions a job (callgrind), the features for telemetry built in, nobody listening:\n\n",
    );
    for concurrency in CONCURRENCIES {
        progress(&format!("telemetry: {concurrency} at a time"));
        let jobs = effort.of(JOBS);
        let (without, with) =
            (a_job(&without, concurrency, jobs)?, a_job(&with, concurrency, jobs)?);
        let change = (with / without - 1.0) * 100.0;
        let (without, with) = (grouped(without), grouped(with));
        writeln!(
            text,
            "end to end, {concurrency:>2} at a time   without {without:>8}   with {with:>8}   {change:+.1}%"
        )?;
    }
    Ok(text)
}

/// How many instructions it executes for each of so many jobs: the difference of some jobs and of
/// twice as many.
fn a_job(program: &Path, concurrency: u64, jobs: u64) -> anyhow::Result<f64> {
    let counted = |jobs: u64| executed(program, &[&concurrency.to_string(), &jobs.to_string()]);
    Ok(counted(2 * jobs)?.saturating_sub(counted(jobs)?) as f64 / jobs as f64)
}

/// Builds the program and keeps it where the next build does not overwrite it.
fn build(name: &str, features: &[&str]) -> anyhow::Result<PathBuf> {
    progress(&format!("telemetry: building the program {name} features"));
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program is in a folder")?;
    let target = folder.parent().context("a profile is in a target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", "bench-telemetry"])
        .args(features)
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(built.success(), "cargo could not build the program to compare with");
    let kept = target.join(format!("bench-telemetry-{name}"));
    std::fs::copy(target.join("release/bench-telemetry"), &kept)?;
    Ok(kept)
}
