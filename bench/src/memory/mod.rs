//! Queues in memory: how fast jobs are enqueued, run, and how soon they start.

mod apalis;
mod channel;
pub mod contender;
mod framework;
mod latency;
mod reference;

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

pub use self::apalis::Apalis;
pub use self::channel::Channel;
use self::contender::{Contender, Setup};
pub use self::framework::Framework;
pub use self::latency::START_LATENCY;
pub use self::reference::Reference;
use crate::figure::Figure;
use crate::round::{Effort, Entry, Sample, Watch, in_turn, progress};
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
///
/// # Errors
/// If a runtime cannot be made.
pub fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let contenders = contenders();
    let mut figures = Vec::new();
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
    figures.extend(in_turn(PART, "throughput", effort, through)?);
    for figure in figures.iter_mut().filter(|figure| ENQUEUES.contains(&&*figure.measure)) {
        // Nothing runs meanwhile.
        figure.concurrency = None;
    }

    let framework: Arc<dyn Contender> = Arc::new(Framework);
    let layered = [(0, "no layer"), (1, "1 layer"), (5, "5 layers")].map(|(layers, name)| Entry {
        contender: name.to_owned(),
        concurrency: Some(64),
        run: Box::new({
            let framework = Arc::clone(&framework);
            move || {
                let setup = Setup { concurrency: 64, layers };
                let samples = throughput(&framework, setup, effort)?;
                let drain = samples.into_iter().find(|sample| sample.measure == DRAIN);
                Ok(drain.into_iter().map(|drain| Sample { measure: LAYERS, ..drain }).collect())
            }
        }),
    });
    figures.extend(in_turn(PART, "layers", effort, layered.into())?);
    figures.extend(start_latency(effort)?);
    Ok(figures)
}

/// How soon jobs start when everything is idle.
///
/// # Errors
/// If a runtime cannot be made.
pub fn start_latency(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    latency::measure(&contenders(), effort)
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
const DRAIN: &str = "drain of a full queue";
const LAYERS: &str = "drain through layers that do nothing";

/// Enqueues, drains, and does both at once.
fn throughput(
    contender: &Arc<dyn Contender>,
    setup: Setup,
    effort: Effort,
) -> anyhow::Result<Vec<Sample>> {
    let (jobs, singles) = (effort.of(JOBS), effort.of(SINGLES));
    let contender = Arc::clone(contender);
    run(async move {
        let mut bench = contender.open(setup);
        let watch = Watch::start();
        bench.enqueue_singly(0..singles).await;
        let singly = watch.spent();
        drop(bench);

        let mut bench = contender.open(setup);
        let watch = Watch::start();
        bench.enqueue_in_bulk(0..jobs).await;
        let in_bulk = watch.spent();
        finish::expect(jobs);
        let watch = Watch::start();
        bench.work();
        let drain = watch.spent_at(finish::last().await);
        drop(bench);

        let mut bench = contender.open(setup);
        finish::expect(jobs);
        let watch = Watch::start();
        bench.work();
        for begin in (0..jobs).step_by(CHUNK as usize) {
            bench.enqueue_in_bulk(begin..jobs.min(begin + CHUNK)).await;
        }
        let live = watch.spent_at(finish::last().await);
        drop(bench);

        let mut bench = contender.open(setup);
        finish::expect(singles);
        let watch = Watch::start();
        bench.work();
        bench.enqueue_singly(0..singles).await;
        let live_singly = watch.spent_at(finish::last().await);

        let mut samples = Vec::new();
        if setup.concurrency == 1 {
            samples.push(Sample::rate(ENQUEUES[0], singles, singly));
            samples.push(Sample::rate(ENQUEUES[1], jobs, in_bulk));
        }
        samples.extend([
            Sample::rate(DRAIN, jobs, drain),
            Sample::rate("end to end: enqueue many, then drain", jobs, in_bulk + drain),
            Sample::rate("live: enqueue many while the worker runs", jobs, live),
            Sample::rate("live: enqueue one at a time while the worker runs", singles, live_singly),
        ]);
        samples
    })
}

/// Runs as a task of a runtime of its own with all processors, as an app would.
pub(crate) fn run<T: Send + 'static>(
    body: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<T> {
    let runtime: Runtime = Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(runtime.spawn(body))?)
}
