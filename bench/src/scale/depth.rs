//! A queue of few and of many waiting jobs.

use super::{CONCURRENCY, PART};
use crate::figure::{Figure, LeftOut};
use crate::finish;
use crate::memory::Framework;
use crate::memory::contender::{Contender, Setup};
use crate::round::{Effort, Entry, Sample, Spent, in_turn};
use crate::runtime::run;
use crate::table::grouped;

/// How many wait, and how often they are drained: few of them take too little time to measure.
const DEPTHS: [(u64, u64); 3] = [(1000, 200), (100_000, 2), (1_000_000, 1)];

pub(super) fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let entries = DEPTHS.map(|(depth, times)| Entry {
        contender: format!("{} jobs waiting", grouped(depth as f64)),
        concurrency: Some(CONCURRENCY),
        run: Box::new(move || {
            let (depth, times) = (effort.of(depth), effort.of(times));
            let spent = run(async move {
                let mut spent = Spent::default();
                for _ in 0..times {
                    spent = spent + drain(depth).await?;
                }
                Ok(spent)
            })?;
            let jobs = (depth - untimed(depth)) * times;
            Ok(vec![Sample::rate("drain by depth of the queue, in memory", jobs, spent)])
        }),
    });
    in_turn(PART, "depth", effort, entries.into(), left_out)
}

/// How many run before the watch starts: a worker's start would show where few wait.
fn untimed(depth: u64) -> u64 {
    (depth / 4).clamp(1, 1000)
}

async fn drain(depth: u64) -> anyhow::Result<Spent> {
    let mut bench = Framework.open(Setup::concurrency(CONCURRENCY));
    bench.enqueue_in_bulk(0..depth).await;
    finish::expect_timed_after(untimed(depth), depth);
    bench.work();
    let end = finish::last(bench.tasks()).await?;
    let spent = finish::watch()?.spent_at(end);
    bench.end().await?;
    Ok(spent)
}
