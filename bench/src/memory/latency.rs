//! How soon a job starts when nothing else is to be done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::PART;
use super::contender::{Contender, Setup, started};
use crate::figure::{Figure, LeftOut, Unit};
use crate::finish;
use crate::round::{Effort, Entry, Sample, in_turn};
use crate::runtime::run;

/// How many starts are timed in one run.
const STARTS: u64 = 2000;

/// How long everything is idle before each.
const PAUSE: Duration = Duration::from_millis(1);

/// What is reported: its name, as a place in a chart, and the share of starts that are as soon.
pub const START_LATENCY: [(&str, &str, f64); 3] = [
    ("start latency when idle, p50", "p50", 0.5),
    ("start latency when idle, p99", "p99", 0.99),
    ("start latency when idle, p99.9", "p99.9", 0.999),
];

pub(super) fn measure(
    contenders: &[Arc<dyn Contender>],
    effort: Effort,
    left_out: &mut LeftOut,
) -> Vec<Figure> {
    let entries = contenders.iter().map(|contender| Entry {
        contender: contender.name().to_owned(),
        concurrency: contender.is_concurrent().then_some(16),
        run: Box::new(move || starts(contender, effort)),
    });
    in_turn(PART, "start latency", effort, entries.collect(), left_out)
}

fn starts(contender: &Arc<dyn Contender>, effort: Effort) -> anyhow::Result<Vec<Sample>> {
    let starts = effort.of(STARTS);
    let contender = Arc::clone(contender);
    let mut waits = run(async move {
        let mut bench = started(&*contender, Setup::concurrency(16)).await?;
        let mut waits = Vec::with_capacity(starts as usize);
        for number in 0..starts {
            tokio::time::sleep(PAUSE).await;
            finish::expect(1);
            let enqueued = Instant::now();
            bench.enqueue_singly(number..number + 1).await;
            let began = finish::last(bench.tasks()).await?;
            waits.push(began.saturating_duration_since(enqueued));
        }
        Ok(waits)
    })?;
    waits.sort_unstable();
    let at = |(measure, _, share): (&'static str, &str, f64)| {
        let place = ((waits.len() - 1) as f64 * share).round() as usize;
        let value = waits[place].as_secs_f64() * 1e6;
        Sample { measure, unit: Unit::Microseconds, value, cpu: None }
    };
    Ok(START_LATENCY.map(at).into())
}
