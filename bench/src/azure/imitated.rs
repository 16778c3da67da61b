//! The service imitated in this process, with a set latency.
//!
//! It runs on the same processors. It costs both sides alike, so what differs is the client.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Transport;
use job_azure::{Account, AzureBackend};
use job_azure_fake::FakeService;
use job_core::{Client, Queue, Worker};
use tokio::task::JoinSet;

use super::bare::Bare;
use super::traffic::Traffic;
use super::{BARE, Done, PART, block_on, url_of};
use crate::figure::Figure;
use crate::job;
use crate::round::{Effort, Entry, Watch, in_turn};
use crate::table;

/// The service's latencies.
const LATENCIES: [(&str, Duration); 3] = [
    ("no latency", Duration::ZERO),
    ("2 ms latency", Duration::from_millis(2)),
    ("10 ms latency", Duration::from_millis(10)),
];

/// How many jobs run at a time, and how many there are.
const SIZES: [(usize, u64); 4] = [(1, 100), (16, 1600), (64, 6000), (256, 12_000)];

const DRAIN: &str = "drain";

/// The imitation asks nobody for a key. The framework signs all the same, and the SDK cannot.
const ACCOUNT: &str = "AccountName=bench;AccountKey=YmVuY2htYXJr";
const URL: &str = "https://bench.queue.core.windows.net";

pub(super) fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (what, latency) in LATENCIES {
        let mut entries = Vec::new();
        for (concurrency, jobs) in SIZES {
            let jobs = effort.of(jobs);
            let mut entry = |contender: &str, run: Run| {
                entries.push(Entry {
                    contender: contender.to_owned(),
                    concurrency: Some(concurrency),
                    run: Box::new(move || Ok(run()?.samples(DRAIN, jobs))),
                });
            };
            let ours = move || block_on(framework(concurrency, jobs, latency));
            entry(table::OURS, Box::new(ours));
            entry(BARE, Box::new(move || block_on(bare_loop(concurrency, jobs, latency))));
        }
        for figure in in_turn(PART, what, effort, entries)? {
            figures.push(Figure { measure: format!("{}, {what}", figure.measure), ..figure });
        }
    }
    Ok(figures)
}

type Run = Box<dyn Fn() -> anyhow::Result<Done>>;

/// What is done once, for a profiler to look at, without latency and at 64 at a time.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The loop on the bare SDK, not the framework.
    pub(crate) bare: bool,
    /// Jobs are run, and not enqueued alone.
    pub(crate) drain: bool,
}

/// Does what a case says with so many jobs.
pub(crate) async fn work(case: Case, jobs: u64) -> anyhow::Result<()> {
    let service = FakeService::new();
    if case.bare {
        let bare = bare_enqueued(&service, jobs).await?;
        if case.drain {
            bare_drained(&service, &bare, 64).await;
        }
    } else {
        let client = enqueued(&service, jobs).await?;
        if case.drain {
            drained(&service, &client, 64).await?;
        }
    }
    Ok(())
}

async fn framework(concurrency: usize, jobs: u64, latency: Duration) -> anyhow::Result<Done> {
    let service = FakeService::new();
    let client = enqueued(&service, jobs).await?;
    service.latency(latency);
    let watch = Watch::start();
    drained(&service, &client, concurrency).await?;
    Ok(Done { spent: watch.spent(), requests: service.calls().total() })
}

async fn bare_loop(concurrency: usize, jobs: u64, latency: Duration) -> anyhow::Result<Done> {
    let service = FakeService::new();
    let bare = bare_enqueued(&service, jobs).await?;
    service.latency(latency);
    let watch = Watch::start();
    bare_drained(&service, &bare, concurrency).await;
    Ok(Done { spent: watch.spent(), requests: service.calls().total() })
}

async fn enqueued(service: &FakeService, jobs: u64) -> anyhow::Result<Client> {
    let account = Account::from_connection_string(ACCOUNT)?;
    let backend = AzureBackend::builder(account).http_client(Arc::new(service.clone())).build()?;
    let client = Client::new(backend);
    client.enqueue_all((0..jobs).map(job::numbered)).await?;
    Ok(client)
}

/// Runs until the last message is deleted.
async fn drained(service: &FakeService, client: &Client, concurrency: usize) -> anyhow::Result<()> {
    let queue = Queue::new(job::QUEUE).concurrency(concurrency);
    let worker = Worker::builder(client).queue(queue).build()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(worker.run());
    service.wait_until(|service| service.depth(job::QUEUE) == 0).await;
    Ok(())
}

async fn bare_enqueued(service: &FakeService, jobs: u64) -> anyhow::Result<Bare> {
    let transport = Transport::new(Arc::new(service.clone()));
    let url = url_of(URL, job::QUEUE, "")?;
    // Nobody asks it for room: all jobs are there before the first of them runs.
    let bare = Bare::new(url, Some(transport), Arc::new(Traffic::new(0)))?;
    bare.create_queue().await?;
    for number in 0..jobs {
        bare.send(number).await?;
    }
    Ok(bare)
}

/// The same of the loop on the SDK.
async fn bare_drained(service: &FakeService, bare: &Bare, concurrency: usize) {
    let mut tasks = JoinSet::new();
    bare.work(concurrency, &mut tasks);
    service.wait_until(|service| service.depth(job::QUEUE) == 0).await;
}
