//! Azurite: a real service in a process of its own, beside the SDK, Python's SDK and Celery.
//!
//! The more messages wait, the slower Azurite is, so producers are held back: jobs are enqueued
//! while others run. Of what the machine does, Azurite does most; the client's own share shows in
//! its processor time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use job_azure::{Account, AzureBackend};
use job_azurite::Azurite;
use job_core::backend::Backend;
use job_core::{Client, Queue, QueueName, Worker};
use tokio::task::JoinSet;

use super::bare::Bare;
use super::counted::Counted;
use super::traffic::Traffic;
use super::young::Young;
use super::{BARE, Done, PART, block_on, python, url_of};
use crate::figure::{Figure, LeftOut};
use crate::round::{Effort, Entry, Watch, in_turn, progress};
use crate::{finish, job, table};

/// The most jobs that wait at a time, those that run included.
pub(super) const MOST_WAITING: usize = 256;

/// How many jobs are sent at a time.
const PRODUCERS: usize = 32;

/// How many jobs run at a time, and how many there are.
const SIZES: [(usize, u64); 4] = [(1, 150), (16, 800), (64, 1200), (256, 1200)];

/// How many there are for Python, which takes longer.
const PYTHONS_JOBS: [u64; 4] = [100, 200, 200, 200];

const THROUGH: &str = "Azurite, enqueue and run at once";

pub(super) fn measure(effort: Effort, left_out: &mut LeftOut) -> anyhow::Result<Vec<Figure>> {
    let Some(azurite) = left_out.unless("Azurite", Young::start()) else { return Ok(Vec::new()) };
    progress("azure: Python's packages");
    let python = left_out.unless("Python's SDK and Celery", python::Python::installed());
    let queues = AtomicU64::new(0);
    let queue = || format!("azurite-{}", queues.fetch_add(1, Relaxed));
    let mut entries = Vec::new();
    for ((concurrency, jobs), pythons_jobs) in SIZES.into_iter().zip(PYTHONS_JOBS) {
        let (jobs, pythons_jobs) = (effort.of(jobs), effort.of(pythons_jobs));
        let azurite = &azurite;
        let ours = move || {
            let account = Account::from_connection_string(&azurite.get()?.connection_string())?;
            block_on(framework(account, queue(), concurrency, jobs))
        };
        entries.push(entry(table::OURS, concurrency, jobs, ours));
        let bare = move || {
            let azurite = azurite.get()?;
            let url = url_of(azurite.url(), &queue(), &sas(&azurite)?)?;
            block_on(bare_loop(url, concurrency, jobs))
        };
        entries.push(entry(BARE, concurrency, jobs, bare));
        // Python takes seconds to start.
        let is_wanted = !effort.quick || concurrency == 16;
        let Some(python) = python.as_ref().filter(|_| is_wanted) else { continue };
        for (contender, kind) in python::CONTENDERS {
            let run =
                move || python.run(kind, &*azurite.get()?, &queue(), concurrency, pythons_jobs);
            entries.push(entry(contender, concurrency, pythons_jobs, run));
        }
    }
    // A round takes long, and the median forgives the first.
    in_turn(PART, "Azurite", Effort { warm_up: 0, ..effort }, entries)
}

fn entry<'a>(
    contender: &str,
    concurrency: usize,
    jobs: u64,
    run: impl Fn() -> anyhow::Result<Done> + 'a,
) -> Entry<'a> {
    let samples = move || {
        let mut samples = run()?.samples(THROUGH, jobs);
        samples[1].measure = "Azurite, requests a job, its enqueue included";
        Ok(samples)
    };
    let (contender, concurrency) = (contender.to_owned(), Some(concurrency));
    Entry { contender, concurrency, run: Box::new(samples) }
}

async fn framework(
    account: Account,
    queue: String,
    concurrency: usize,
    jobs: u64,
) -> anyhow::Result<Done> {
    let traffic = Arc::new(Traffic::new(MOST_WAITING));
    let client = client(account, &traffic)?;
    client.backend().create_queue(&QueueName::new(&queue)?, &Default::default()).await?;
    let worker =
        Worker::builder(&client).queue(Queue::new(&queue).concurrency(concurrency)).build()?;
    let mut tasks = JoinSet::new();
    finish::expect(jobs);
    let watch = Watch::start();
    tasks.spawn(async move { worker.run().await.map(drop).map_err(Into::into) });
    produce(&mut tasks, &traffic, jobs, move |number| {
        let enqueue = client.enqueue(job::numbered(number)).queue(&queue);
        async move { enqueue.await.map(drop).map_err(Into::into) }
    });
    until_done(&traffic, jobs, &mut tasks).await?;
    Ok(Done { spent: watch.spent(), requests: traffic.requests() })
}

/// A client whose requests are counted, with the connections that it has by default. It waits
/// longer than by default: on a busy machine Azurite takes its time.
pub(super) fn client(account: Account, traffic: &Arc<Traffic>) -> anyhow::Result<Client> {
    let backend = AzureBackend::builder(account)
        .request_timeout(Duration::from_secs(20))
        .operation_timeout(Duration::from_secs(40))
        .build()?;
    let backend: Arc<dyn Backend> = Arc::new(backend);
    Ok(Client::new(Counted::new(backend, Arc::clone(traffic))))
}

async fn bare_loop(
    url: azure_core::http::Url,
    concurrency: usize,
    jobs: u64,
) -> anyhow::Result<Done> {
    let traffic = Arc::new(Traffic::new(MOST_WAITING));
    let bare = Bare::new(url, None, Arc::clone(&traffic))?;
    bare.create_queue().await?;
    let mut tasks = JoinSet::new();
    finish::expect(jobs);
    let watch = Watch::start();
    bare.work(concurrency, &mut tasks);
    produce(&mut tasks, &traffic, jobs, move |number| {
        let bare = bare.clone();
        async move { bare.send(number).await }
    });
    until_done(&traffic, jobs, &mut tasks).await?;
    Ok(Done { spent: watch.spent(), requests: traffic.requests() })
}

/// Sends jobs as there is room for them.
pub(super) fn produce<F>(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    traffic: &Arc<Traffic>,
    jobs: u64,
    send: impl Fn(u64) -> F + Clone + Send + 'static,
) where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    for _ in 0..PRODUCERS {
        let (traffic, next, send) = (Arc::clone(traffic), Arc::clone(&next), send.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= jobs {
                    return Ok(());
                }
                traffic.room().await;
                send(number).await?;
            }
        });
    }
}

/// Waits until so many jobs are deleted, or something fails.
pub(super) async fn until_done(
    traffic: &Traffic,
    jobs: u64,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let done = traffic.wait_for(jobs);
    tokio::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => return Ok(()),
            Some(ended) = tasks.join_next() => ended??,
        }
    }
}

/// A SAS for all of Azurite's account; the SDK does not know keys.
fn sas(azurite: &Azurite) -> anyhow::Result<String> {
    let (version, permissions, end) = ("2021-12-02", "raupcwdl", "2099-01-01T00:00:00Z");
    let account = azurite.account();
    let signed = format!("{account}\n{permissions}\nq\nsco\n\n{end}\n\n\n{version}\n\n");
    let signature = hmac_sha256(&signed, &Secret::new(azurite.key().to_owned()))
        .context("the account's key cannot sign")?;
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    Ok(format!("sv={version}&ss=q&srt=sco&sp={permissions}&se={end}&sig={signature}"))
}
