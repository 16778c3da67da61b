//! A queue of few and of many waiting jobs.

use std::sync::Arc;

use super::{CONCURRENCY, PART};
use crate::figure::Figure;
use crate::finish;
use crate::memory::contender::{Contender, Setup};
use crate::memory::{Framework, run};
use crate::round::{Effort, Entry, Sample, Spent, Watch, in_turn};
use crate::table::grouped;

/// How many wait, and how often they are drained: few of them take too little time to measure.
const DEPTHS: [(u64, u64); 3] = [(1000, 200), (100_000, 2), (1_000_000, 1)];

pub(super) fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let entries = DEPTHS.map(|(depth, times)| Entry {
        contender: format!("{} jobs waiting", grouped(depth as f64)),
        concurrency: Some(CONCURRENCY),
        run: Box::new(move || {
            let (depth, times) = (effort.of(depth), effort.of(times));
            let mut spent = Spent::default();
            for _ in 0..times {
                spent = spent + run(drain(depth))?;
            }
            Ok(vec![Sample::rate("drain by depth of the queue, in memory", depth * times, spent)])
        }),
    });
    in_turn(PART, "depth", effort, entries.into())
}

async fn drain(depth: u64) -> Spent {
    let mut bench = Arc::new(Framework).open(Setup::concurrency(CONCURRENCY));
    bench.enqueue_in_bulk(0..depth).await;
    finish::expect(depth);
    let watch = Watch::start();
    bench.work();
    watch.spent_at(finish::last().await)
}
