//! Counts allocations and bytes of queues in memory, and prints them as JSON for `bench memory`.
//!
//! A program of its own: its allocator counts, which costs time that the others must not pay.

use bench::figure::{Figure, Unit};
use bench::finish;
use bench::memory::contender::{Contender, Setup};
use bench::memory::{PART, contenders};
use bench::round::Effort;
use bench::runtime::run_on_one_thread;
use bench::table::grouped;

/// How many jobs are queued to see what one takes: what doubles when it is full has just not doubled
/// with the first, and just has with the second.
const QUEUED: [u64; 2] = [1_000_000, 1_050_000];

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
        for jobs in QUEUED {
            let measure = format!("bytes a queued job, of {}", grouped(jobs as f64));
            figure(&measure, Unit::Bytes, queued(&*contender, effort.of(jobs))?);
        }
        figure("allocations a job, end to end", Unit::Count, end_to_end(&*contender, effort)?);
    }
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

// The counter sees only its own thread, so all runs on one.

fn queued(contender: &dyn Contender, jobs: u64) -> anyhow::Result<f64> {
    let mut bench = None;
    let mut ran = Ok(());
    let info = allocation_counter::measure(|| {
        ran = run_on_one_thread(async {
            let mut opened = contender.open(Setup::concurrency(64));
            opened.enqueue_in_bulk(0..jobs).await;
            bench = Some(opened);
            Ok(())
        });
    });
    ran?;
    Ok(info.bytes_current as f64 / jobs as f64)
}

/// Those of twice as many jobs less those of as many: what is made once does not count.
fn end_to_end(contender: &dyn Contender, effort: Effort) -> anyhow::Result<f64> {
    let jobs = effort.of(RUN);
    let count = |jobs: u64| {
        let mut ran = Ok(());
        let info = allocation_counter::measure(|| {
            ran = run_on_one_thread(async {
                let mut bench = contender.open(Setup::concurrency(64));
                bench.enqueue_in_bulk(0..jobs).await;
                finish::expect(jobs);
                bench.work();
                finish::last(bench.tasks()).await?;
                Ok(())
            });
        });
        ran.map(|()| info.count_total as f64)
    };
    Ok((count(2 * jobs)? - count(jobs)?) / jobs as f64)
}
