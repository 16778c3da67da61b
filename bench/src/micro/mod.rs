//! Single steps of a job's way, on one thread.
//!
//! Envelopes and decisions are the crate's own affair, so they are measured from outside: by a
//! client and a worker on a backend that does nothing (`nowhere`).

mod backend;
mod envelope;
mod nowhere;

use std::time::Duration;

use crate::figure::{Figure, LeftOut, Unit};
use crate::round::{Effort, Entry, Sample, in_turn};
use crate::runtime::run_on_one_thread;

const PART: &str = "micro";

/// All steps.
pub fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let what = "envelope and decisions, for each job";
    let mut figures = steps(what, effort, envelope::steps, left_out);
    figures.extend(steps("operations of the backend in memory", effort, backend::steps, left_out));
    figures
}

/// Measures steps one after the other, and makes one table of them.
fn steps<F>(
    what: &'static str,
    effort: Effort,
    run: impl Fn(Effort) -> F,
    left_out: &mut LeftOut,
) -> Vec<Figure>
where
    F: Future<Output = anyhow::Result<Vec<Sample>>>,
{
    let entry = Entry {
        contender: "all steps".to_owned(),
        concurrency: None,
        run: Box::new(|| run_on_one_thread(run(effort))),
    };
    let figures = in_turn(PART, what, effort, vec![entry], left_out).into_iter();
    let named = |step: Figure| Figure { contender: step.measure, measure: what.to_owned(), ..step };
    figures.map(named).collect()
}

/// So many operations in that time.
fn each(step: &'static str, operations: u64, took: Duration) -> Sample {
    let value = took.as_secs_f64() * 1e9 / operations as f64;
    Sample { measure: step, unit: Unit::Nanoseconds, value, cpu: None }
}
