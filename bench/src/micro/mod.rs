//! Single steps of a job's way, on one thread.
//!
//! Envelopes and decisions are the crate's own affair, so they are measured from outside: by a
//! client and a worker on a backend that does nothing (`nowhere`).

mod backend;
mod envelope;
mod nowhere;

use std::time::Duration;

use tokio::runtime::Builder;

use crate::figure::{Figure, Unit};
use crate::round::{Effort, Entry, Sample, in_turn};

const PART: &str = "micro";

/// All steps.
///
/// # Errors
/// If a runtime cannot be made.
pub fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut figures = steps("envelope and decisions, for each job", effort, envelope::steps)?;
    figures.extend(steps("operations of the backend in memory", effort, backend::steps)?);
    Ok(figures)
}

/// Measures steps one after the other, and makes one table of them.
fn steps<F>(
    what: &'static str,
    effort: Effort,
    run: impl Fn(Effort) -> F,
) -> anyhow::Result<Vec<Figure>>
where
    F: Future<Output = anyhow::Result<Vec<Sample>>>,
{
    let entry = Entry {
        contender: String::new(),
        concurrency: None,
        run: Box::new(|| Builder::new_current_thread().enable_all().build()?.block_on(run(effort))),
    };
    let figures = in_turn(PART, what, effort, vec![entry])?.into_iter();
    let named = |step: Figure| Figure { contender: step.measure, measure: what.to_owned(), ..step };
    Ok(figures.map(named).collect())
}

/// So many operations in that time.
fn each(step: &'static str, operations: u64, took: Duration) -> Sample {
    let value = took.as_secs_f64() * 1e9 / operations as f64;
    Sample { measure: step, unit: Unit::Nanoseconds, value, cpu: None }
}
