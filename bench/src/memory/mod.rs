//! Queues in memory: how fast jobs are enqueued, run, and how soon they start.

mod apalis;
mod channel;
pub mod contender;
mod framework;
mod latency;
mod reference;

use std::sync::Arc;

use tokio::task::yield_now;

pub use self::apalis::Apalis;
pub use self::channel::Channel;
use self::contender::{Contender, Setup, started};
pub use self::framework::Framework;
pub use self::latency::START_LATENCY;
pub use self::reference::Reference;
use crate::figure::{Figure, LeftOut};
use crate::round::{Effort, Entry, Sample, Spent, Watch, in_turn, progress};
use crate::runtime::run;
use crate::{child, finish};

/// What this part is called.
pub const PART: &str = "memory";

/// How many jobs are drained in one run.
const JOBS: u64 = 200_000;

/// How many are enqueued one at a time.
const SINGLES: u64 = 100_000;

/// How many a producer enqueues at once while the worker runs.
const CHUNK: u64 = 1000;

const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];

/// Everybody there is.
pub fn contenders() -> Vec<Arc<dyn Contender>> {
    vec![
        Arc::new(Framework),
        Arc::new(Apalis { parallel: false }),
        Arc::new(Apalis { parallel: true }),
        Arc::new(Reference),
        Arc::new(Channel),
    ]
}

/// All that is measured of queues in memory, but for what needs the counting allocator.
pub fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let contenders = contenders();
    let mut through = Vec::new();
    for concurrency in CONCURRENCIES {
        for contender in &contenders {
            if concurrency > 1 && !contender.is_concurrent() {
                continue;
            }
            let setup = Setup::concurrency(concurrency);
            through.push(Entry {
                contender: contender.name().to_owned(),
                concurrency: contender.is_concurrent().then_some(concurrency),
                run: Box::new(move || throughput(contender, setup, effort)),
            });
        }
    }
    let mut figures = in_turn(PART, "throughput", effort, through, left_out);
    for figure in figures.iter_mut().filter(|figure| ENQUEUES.contains(&&*figure.measure)) {
        // Nothing runs meanwhile.
        figure.concurrency = None;
    }

    let layered = [(0, "no layer"), (1, "1 layer"), (5, "5 layers")].map(|(layers, name)| Entry {
        contender: name.to_owned(),
        concurrency: Some(64),
        run: Box::new(move || {
            let (setup, jobs) = (Setup { concurrency: 64, layers }, effort.of(JOBS));
            let (_, drain) = run(async move { drain(&Framework, setup, jobs).await })?;
            Ok(vec![Sample::rate("drain through layers that do nothing", jobs, drain)])
        }),
    });
    figures.extend(in_turn(PART, "layers", effort, layered.into(), left_out));
    figures.extend(start_latency(effort, left_out));
    figures
}

/// How soon jobs start when everything is idle.
pub fn start_latency(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    latency::measure(&contenders(), effort, left_out)
}

/// Allocations and bytes, as a program with a counting allocator sees them.
///
/// # Errors
/// If that program is not there, or fails.
pub fn allocations(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    progress("memory: allocations");
    let args: &[&str] = if effort.quick { &["--quick"] } else { &[] };
    Ok(serde_json::from_str(&child::output("allocations", args)?)?)
}

const ENQUEUES: [&str; 2] = ["enqueue, one at a time", "enqueue, many at once"];

/// Enqueues, drains, and does both at once.
fn throughput(
    contender: &Arc<dyn Contender>,
    setup: Setup,
    effort: Effort,
) -> anyhow::Result<Vec<Sample>> {
    let (jobs, singles) = (effort.of(JOBS), effort.of(SINGLES));
    let contender = Arc::clone(contender);
    run(async move {
        let contender = &*contender;
        let mut samples = Vec::new();
        // How many would run at a time makes no difference to them.
        let with_enqueues = setup.concurrency == 1;
        if with_enqueues {
            let spent = enqueue_singly(contender, setup, singles).await;
            samples.push(Sample::rate(ENQUEUES[0], singles, spent));
        }
        let (in_bulk, drain) = drain(contender, setup, jobs).await?;
        if with_enqueues {
            samples.push(Sample::rate(ENQUEUES[1], jobs, in_bulk));
        }
        let live = live(contender, setup, jobs).await?;
        let live_singly = live_singly(contender, setup, singles).await?;
        samples.extend([
            Sample::rate("drain of a full queue", jobs, drain),
            Sample::rate("end to end: enqueue many, then drain", jobs, in_bulk + drain),
            Sample::rate("live: enqueue many while the worker runs", jobs, live),
            Sample::rate("live: enqueue one at a time while the worker runs", singles, live_singly),
        ]);
        Ok(samples)
    })
}

async fn enqueue_singly(contender: &dyn Contender, setup: Setup, jobs: u64) -> Spent {
    let mut bench = contender.open(setup);
    let watch = Watch::start();
    bench.enqueue_singly(0..jobs).await;
    watch.spent()
}

/// What it takes to enqueue all, and to run them then.
async fn drain(
    contender: &dyn Contender,
    setup: Setup,
    jobs: u64,
) -> anyhow::Result<(Spent, Spent)> {
    let mut bench = contender.open(setup);
    let watch = Watch::start();
    bench.enqueue_in_bulk(0..jobs).await;
    let in_bulk = watch.spent();
    finish::expect(jobs);
    let watch = Watch::start();
    bench.work();
    let drain = watch.spent_at(finish::last(bench.tasks()).await?);
    bench.end().await?;
    Ok((in_bulk, drain))
}

async fn live(contender: &dyn Contender, setup: Setup, jobs: u64) -> anyhow::Result<Spent> {
    let mut bench = started(contender, setup).await?;
    finish::expect(jobs);
    let watch = Watch::start();
    for begin in (0..jobs).step_by(CHUNK as usize) {
        bench.enqueue_in_bulk(begin..jobs.min(begin + CHUNK)).await;
        // Whom it has woken may be one that only this thread can run.
        yield_now().await;
    }
    let live = watch.spent_at(finish::last(bench.tasks()).await?);
    bench.end().await?;
    Ok(live)
}

async fn live_singly(contender: &dyn Contender, setup: Setup, jobs: u64) -> anyhow::Result<Spent> {
    let mut bench = started(contender, setup).await?;
    finish::expect(jobs);
    let watch = Watch::start();
    bench.enqueue_singly(0..jobs).await;
    let live = watch.spent_at(finish::last(bench.tasks()).await?);
    bench.end().await?;
    Ok(live)
}
