//! Counts allocations and bytes of queues in memory, and prints them as JSON for `bench memory`.
//!
//! A program of its own: its allocator counts, which costs time that the others must not pay.

use bench::figure::{Figure, Unit};
use bench::finish;
use bench::memory::contender::{Contender, Setup};
use bench::memory::{PART, contenders};
use bench::round::Effort;
use tokio::runtime::{Builder, Runtime};

/// How many jobs are queued to see what one takes.
const QUEUED: u64 = 1_000_000;

/// How many jobs are run to see what one allocates.
const RUN: u64 = 10_000;

#[allow(clippy::print_stdout, reason = "it is what it is for")]
fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let effort = Effort { rounds: 1, warm_up: 0, quick };
    let mut figures = Vec::new();
    for contender in contenders() {
        let mut figure = |measure: &str, unit, value| {
            figures.push(Figure {
                part: PART.to_owned(),
                measure: measure.to_owned(),
                contender: contender.name().to_owned(),
                concurrency: contender.is_concurrent().then_some(64),
                unit,
                samples: vec![value],
                cpu: Vec::new(),
            });
        };
        figure("bytes a queued job", Unit::Bytes, queued(&*contender, effort)?);
        figure("allocations a job, end to end", Unit::Count, end_to_end(&*contender, effort)?);
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// The counter sees only its own thread, so all runs on one.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn queued(contender: &dyn Contender, effort: Effort) -> anyhow::Result<f64> {
    let jobs = effort.of(QUEUED);
    let runtime = runtime()?;
    let mut bench = None;
    let info = allocation_counter::measure(|| {
        runtime.block_on(async {
            let mut opened = contender.open(Setup::concurrency(64));
            opened.enqueue_in_bulk(0..jobs).await;
            bench = Some(opened);
        });
    });
    Ok(info.bytes_current as f64 / jobs as f64)
}

/// Those of twice as many jobs less those of as many: what is made once does not count.
fn end_to_end(contender: &dyn Contender, effort: Effort) -> anyhow::Result<f64> {
    let jobs = effort.of(RUN);
    let runtime = runtime()?;
    let count = |jobs: u64| {
        let info = allocation_counter::measure(|| {
            runtime.block_on(async {
                let mut bench = contender.open(Setup::concurrency(64));
                bench.enqueue_in_bulk(0..jobs).await;
                finish::expect(jobs);
                bench.work();
                finish::last().await;
            });
        });
        info.count_total as f64
    };
    Ok((count(2 * jobs) - count(jobs)) / jobs as f64)
}
