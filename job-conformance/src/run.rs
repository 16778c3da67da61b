//! Running cases and telling what came of them.

use std::any::Any;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::case::Case;
use crate::cases;
use crate::fixture::Fixture;
use crate::harness::Harness;

/// How long a case may take by the tests' clock. One that waits for ever is a failure too.
const LIMIT: Duration = Duration::from_secs(180);

/// What came of a run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The names of the cases that passed.
    pub passed: Vec<&'static str>,
    /// The names of the cases that were skipped, and why.
    pub skipped: Vec<(&'static str, &'static str)>,
    /// The names of the cases that failed, and which promise is broken.
    pub failed: Vec<(&'static str, String)>,
}

impl Report {
    /// Whether no case failed.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty()
    }

    /// Whether that case failed.
    pub fn has_failed(&self, name: &str) -> bool {
        self.failed.iter().any(|(failed, _)| *failed == name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, skipped, failed } = self;
        write!(f, "{} passed, ", passed.len())?;
        write!(f, "{} skipped, {} failed", skipped.len(), failed.len())?;
        for (name, reason) in skipped {
            write!(f, "\n  skipped {name}: {reason}")?;
        }
        for (name, message) in failed {
            write!(f, "\n  FAILED {name}: {message}")?;
        }
        Ok(())
    }
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The promise was kept.
    Passed,
    /// The backend does not make the promise, for that reason.
    Skipped(&'static str),
    /// The promise is broken: which, and how.
    Failed(String),
}

impl Case {
    /// Runs the case, unless the backend's capabilities rule it out.
    pub async fn run(&self, harness: &Harness) -> Outcome {
        if let Some(reason) = self.skipped(harness) {
            return Outcome::Skipped(reason);
        }
        let fixture = Fixture::unmade(harness);
        let (test, own) = (self.test, fixture.clone());
        let running = async move {
            own.create().await;
            test(&own).await;
        };
        // A task of its own turns the panic of a failed case into a value.
        let ended = tokio::spawn(tokio::time::timeout(LIMIT, running)).await;
        fixture.clean_up().await;
        match ended {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(_)) => Outcome::Failed(format!("the case was not done within {LIMIT:?}")),
            Err(error) => Outcome::Failed(match error.try_into_panic() {
                Ok(panic) => panic_text(&*panic),
                Err(error) => error.to_string(),
            }),
        }
    }
}

/// Runs every case, each with a harness of its own, one after the other.
///
/// For a program or one big test; [`suite!`](crate::suite) makes a test of each case instead.
///
/// ```
/// # async fn example(make: impl Fn() -> job_conformance::Harness) {
/// let report = job_conformance::run(async || make()).await;
/// assert!(report.is_success(), "{report}");
/// # }
/// ```
pub async fn run(setup: impl AsyncFn() -> Harness) -> Report {
    let mut report = Report::default();
    for case in cases() {
        match case.run(&setup().await).await {
            Outcome::Passed => report.passed.push(case.name),
            Outcome::Skipped(reason) => report.skipped.push((case.name, reason)),
            Outcome::Failed(message) => report.failed.push((case.name, message)),
        }
    }
    report
}

/// Runs every case, `at_once` of them side by side, on one harness.
///
/// For a service on the real clock, where a case mostly waits for leases to end: the whole suite
/// takes as long as a few of its cases. Prints each case and what came of it, past the capture of
/// test output.
pub async fn run_side_by_side(place: &str, at_once: usize, harness: &Harness) -> Report {
    let mut running = JoinSet::new();
    let mut waiting = cases().into_iter();
    let mut report = Report::default();
    let mut text = format!("{place}: {} cases\n", waiting.len());
    loop {
        while running.len() < at_once.max(1) {
            let Some(case) = waiting.next() else { break };
            let harness = harness.clone();
            running.spawn(async move { (case.name, case.run(&harness).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (name, outcome) = ended.expect("a case's panic is caught");
        match outcome {
            Outcome::Passed => {
                text.push_str(&format!("  passed {name}\n"));
                report.passed.push(name);
            }
            Outcome::Skipped(reason) => {
                text.push_str(&format!("  skipped {name}: {reason}\n"));
                report.skipped.push((name, reason));
            }
            Outcome::Failed(message) => {
                text.push_str(&format!("  FAILED {name}: {message}\n"));
                report.failed.push((name, message));
            }
        }
    }
    // A closed stderr is no reason to fail.
    let _ = std::io::stderr().write_all(text.as_bytes());
    report
}

/// Runs one case by its name. A case that the backend's capabilities rule out passes.
///
/// # Panics
/// With the broken promise, if the case fails; if there is no such case.
pub async fn check(name: &str, harness: &Harness) {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of that name");
    if let Outcome::Failed(message) = case.run(harness).await {
        panic!("{message}");
    }
}

/// Prints which cases are skipped for this backend, and why, past the capture of test output.
#[doc(hidden)]
pub fn list_skips(place: &str, harness: &Harness) {
    let all = cases();
    let mut skips: Vec<(&str, Vec<&str>)> = Vec::new();
    for case in &all {
        let Some(reason) = case.skipped(harness) else { continue };
        match skips.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(case.name),
            None => skips.push((reason, vec![case.name])),
        }
    }
    let skipped: usize = skips.iter().map(|(_, names)| names.len()).sum();
    let mut text = format!("{place}: {} cases, {skipped} skipped\n", all.len());
    for (reason, names) in skips {
        text.push_str(&format!("  skipped as {reason}: {}\n", names.join(", ")));
    }
    // In one write, so that tests that run side by side do not cut it up. A closed stderr is no
    // reason to fail.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
