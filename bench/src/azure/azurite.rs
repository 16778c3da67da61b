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

use super::bare::Bare;
use super::counted::Counted;
use super::traffic::Traffic;
use super::young::Young;
use super::{BARE, Done, PART, python, url_of};
use crate::figure::{Figure, LeftOut};
use crate::finish::Tasks;
use crate::round::{Effort, Entry, Watch, in_turn, progress};
use crate::runtime::run;
use crate::{job, table};

/// The most jobs that wait at a time, those that run included.
pub(super) const MOST_WAITING: usize = 256;

/// How many jobs are sent at a time.
const PRODUCERS: usize = 32;

/// How many jobs run at a time, and how many there are.
const SIZES: [(usize, u64); 4] = [(1, 150), (16, 800), (64, 1200), (256, 1200)];

/// How many there are for Python, which takes longer: at least four times as many as run at a time,
/// which would be too many at 256.
const PYTHONS_JOBS: [Option<u64>; 4] = [Some(100), Some(200), Some(256), None];

const THROUGH: &str = "Azurite, enqueue and run at once";

pub(super) fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let Some(azurite) = left_out.unless("Azurite", Young::start()) else { return Vec::new() };
    progress("azure: Python's packages");
    let python = left_out.unless("Python's SDK and Celery", python::Python::installed());
    let queues = AtomicU64::new(0);
    let queue = || format!("azurite-{}", queues.fetch_add(1, Relaxed));
    let mut entries = Vec::new();
    for ((concurrency, jobs), pythons_jobs) in SIZES.into_iter().zip(PYTHONS_JOBS) {
        let jobs = effort.of(jobs);
        let azurite = &azurite;
        let ours = move || {
            let account = Account::from_connection_string(&with_sas(&*azurite.get()?)?)?;
            run(framework(account, queue(), concurrency, jobs))
        };
        entries.push(entry(table::OURS, concurrency, jobs, ours));
        let bare = move || {
            let azurite = azurite.get()?;
            let url = url_of(azurite.url(), &queue(), &sas(&azurite)?)?;
            run(bare_loop(url, concurrency, jobs))
        };
        entries.push(entry(BARE, concurrency, jobs, bare));
        // Python takes seconds to start.
        let is_wanted = !effort.quick || concurrency == 16;
        let Some(python) = python.as_ref().filter(|_| is_wanted) else { continue };
        let Some(pythons_jobs) = pythons_jobs.map(|jobs| effort.of(jobs)) else { continue };
        for (contender, kind) in python::CONTENDERS {
            let run =
                move || python.run(kind, &*azurite.get()?, &queue(), concurrency, pythons_jobs);
            entries.push(entry(contender, concurrency, pythons_jobs, run));
        }
    }
    // A round takes long, and the median forgives the first.
    in_turn(PART, "Azurite", Effort { warm_up: 0, ..effort }, entries, left_out)
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
    let mut tasks = Tasks::new();
    tasks.spawn(async move { worker.run().await.map(drop).map_err(Into::into) });
    enqueued_and_run(tasks, &traffic, jobs, move |number| {
        let enqueue = client.enqueue(job::numbered(number)).queue(&queue);
        async move { enqueue.await.map(drop).map_err(Into::into) }
    })
    .await
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
    let mut tasks = Tasks::new();
    bare.work(concurrency, &mut tasks);
    enqueued_and_run(tasks, &traffic, jobs, move |number| {
        let bare = bare.clone();
        async move { bare.send(number).await }
    })
    .await
}

/// One job, which shows that the worker works, and then so many that are timed.
async fn enqueued_and_run<F>(
    mut tasks: Tasks,
    traffic: &Arc<Traffic>,
    jobs: u64,
    send: impl Fn(u64) -> F + Clone + Send + 'static,
) -> anyhow::Result<Done>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    traffic.room().await;
    send(0).await?;
    traffic.until_done(1, &mut tasks).await?;
    let before = traffic.requests();
    let watch = Watch::start();
    produce(&mut tasks, traffic, jobs, send);
    traffic.until_done(1 + jobs, &mut tasks).await?;
    Ok(Done { spent: watch.spent(), requests: traffic.requests() - before })
}

/// Sends jobs as there is room for them.
pub(super) fn produce<F>(
    tasks: &mut Tasks,
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

/// A connection string for that. Requests with one cost no signature, neither the framework's nor the
/// loop's.
pub(super) fn with_sas(azurite: &Azurite) -> anyhow::Result<String> {
    Ok(format!("QueueEndpoint={};SharedAccessSignature={}", azurite.url(), sas(azurite)?))
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
