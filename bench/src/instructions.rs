//! How many instructions a job takes, which no other work on the machine can change.
//!
//! The program runs itself under callgrind, once for some jobs and once for twice as many: the
//! difference is what they take, without start and end. What was counted last time stands in
//! `instructions.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, ensure};
use tokio::runtime::Builder;

#[cfg(feature = "azure")]
use crate::azure;
use crate::finish;
use crate::memory::contender::{Contender, Setup};
use crate::memory::{Apalis, Channel, Framework, Reference};
use crate::round::{Effort, progress};
use crate::table::grouped;

/// How many jobs the difference is of.
const JOBS: u64 = 10_000;

/// What is counted on Azure's service, imitated without latency; the imitation itself is in it.
#[cfg(feature = "azure")]
const AZURE: [(&str, azure::imitated::Case); 4] = {
    use azure::imitated::Case;
    [
        ("azure, enqueue", Case { bare: false, drain: false }),
        ("azure, end to end", Case { bare: false, drain: true }),
        ("loop on the bare SDK, enqueue", Case { bare: true, drain: false }),
        ("loop on the bare SDK, end to end", Case { bare: true, drain: true }),
    ]
};

/// What is counted in memory, and what for: name, contender, setup.
fn cases() -> Vec<(&'static str, Arc<dyn Contender>, Setup)> {
    let framework = || Arc::new(Framework) as Arc<dyn Contender>;
    let setup = |concurrency, layers| Setup { concurrency, layers };
    vec![
        ("end to end", framework(), setup(64, 0)),
        ("end to end, 16 at a time", framework(), setup(16, 0)),
        ("end to end, 1 at a time", framework(), setup(1, 0)),
        ("end to end, a layer that does nothing", framework(), setup(64, 1)),
        ("end to end, five layers that do nothing", framework(), setup(64, 5)),
        ("apalis", Arc::new(Apalis { parallel: false }), setup(64, 0)),
        ("apalis, parallelize", Arc::new(Apalis { parallel: true }), setup(64, 0)),
        ("tokio + serde_json + spawn", Arc::new(Reference), setup(64, 0)),
        ("bare channel", Arc::new(Channel), setup(64, 0)),
    ]
}

/// Enqueues and runs so many jobs: what callgrind looks at, on one thread, and other profilers on
/// as many as there are processors.
///
/// # Errors
/// If there is no such case, or no runtime.
pub fn work(case: &str, jobs: u64, one_thread: bool) -> anyhow::Result<()> {
    let mut builder =
        if one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build()?;
    #[cfg(feature = "azure")]
    if let Some((_, case)) = AZURE.into_iter().find(|(name, _)| *name == case) {
        return runtime.block_on(azure::imitated::work(case, jobs));
    }
    let found = cases().into_iter().find(|(name, ..)| *name == case);
    let (_, contender, setup) = found.context("there is no such case")?;
    runtime.block_on(async {
        let mut bench = contender.open(setup);
        bench.enqueue_in_bulk(0..jobs).await;
        finish::expect(jobs);
        bench.work();
        finish::last(bench.tasks()).await?;
        Ok(())
    })
}

/// Counts all cases and gives a table of them beside what was recorded; `record` keeps the counts
/// as the next record.
///
/// # Errors
/// If callgrind fails, or the record cannot be written.
pub fn compare(effort: Effort, record: bool) -> anyhow::Result<String> {
    ensure!(!(record && effort.quick), "--quick counts too few jobs to --record them");
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok("Left out: instruction counts, for which valgrind has to be installed.".into());
    }
    let recorded = recorded();
    let mut counts = Vec::new();
    let names = cases().into_iter().map(|(name, ..)| name);
    #[cfg(feature = "azure")]
    let names = names.chain(AZURE.map(|(name, _)| name));
    for name in names {
        progress(&format!("instructions: {name}"));
        let jobs = effort.of(JOBS);
        // What runs beside it changes nothing.
        let (twice, once) = thread::scope(|scope| {
            let twice = scope.spawn(|| counted(name, 2 * jobs));
            let once = counted(name, jobs);
            (twice.join().unwrap_or_else(|panic| resume_unwind(panic)), once)
        });
        let count = twice?.saturating_sub(once?);
        counts.push((name, count as f64 / jobs as f64));
    }
    let mut text = String::from("Instructions a job (callgrind):\n\n");
    for (name, count) in &counts {
        let _ = match recorded.get(*name) {
            Some(before) => {
                let change = (count / before - 1.0) * 100.0;
                let (now, before) = (grouped(*count), grouped(*before));
                writeln!(text, "{name:<42} {now:>8}   recorded {before:>8}   {change:+.1}%")
            }
            None => writeln!(text, "{name:<42} {:>8}   not recorded yet", grouped(*count)),
        };
    }
    if record {
        std::fs::write(path(), merged(&recorded_text(), &counts))?;
    }
    Ok(text)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

fn recorded_text() -> String {
    std::fs::read_to_string(path()).unwrap_or_default()
}

fn recorded() -> BTreeMap<String, f64> {
    let text = recorded_text();
    text.lines().filter_map(of_line).map(|(name, count)| (name.to_owned(), count)).collect()
}

fn of_line(line: &str) -> Option<(&str, f64)> {
    let (name, count) = line.split_once(" = ")?;
    Some((name, count.parse().ok()?))
}

/// The record with these counts: what is counted without a feature does not take away what is
/// counted with it alone.
fn merged(before: &str, counts: &[(&str, f64)]) -> String {
    let counted = |name: &str| counts.iter().any(|(counted, _)| *counted == name);
    let kept = before.lines().filter_map(of_line).filter(|(name, _)| !counted(name));
    let lines = counts.iter().copied().chain(kept);
    lines.map(|(name, count)| format!("{name} = {count:.0}\n")).collect()
}

/// How many instructions this program executes for so many jobs.
fn counted(case: &str, jobs: u64) -> anyhow::Result<u64> {
    executed(&std::env::current_exe()?, &["work", case, &jobs.to_string(), "--one-thread"])
}

/// How many instructions a program executes.
pub(crate) fn executed(program: &Path, args: &[&str]) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(args)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "callgrind failed: {said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, n)| n);
    Ok(count.context("callgrind does not say how many")?.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_counted_stays_recorded() {
        let before = "end to end = 5\nazure, enqueue = 7\n";
        let after = merged(before, &[("end to end", 4.4), ("apalis", 3.0)]);
        assert_eq!(after, "end to end = 4\napalis = 3\nazure, enqueue = 7\n");
    }
}
