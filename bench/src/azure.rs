//! Azure Queue Storage, as an imitation in this process with a set latency: throughput, requests
//! and the client's share of the processor, beside a loop on the bare SDK.
//!
//! The imitation runs on the same processors. It costs both sides alike, so what differs is the
//! client.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
use azure_storage_queue::models::{
    QueueClientReceiveMessagesOptions, QueueMessage, ReceivedMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use futures_util::future::try_join_all;
use job_azure::{Account, AzureBackend};
use job_azure_fake::FakeService;
use job_core::{Client, Queue, Worker};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::figure::{Figure, Unit};
use crate::job::{self, Args};
use crate::round::{Effort, Entry, Sample, Spent, Watch, in_turn};
use crate::{finish, table};

const PART: &str = "azure";

/// The service's latencies.
const LATENCIES: [(&str, Duration); 3] = [
    ("no latency", Duration::ZERO),
    ("2 ms latency", Duration::from_millis(2)),
    ("10 ms latency", Duration::from_millis(10)),
];

/// How many jobs run at a time, and how many there are.
const SIZES: [(usize, u64); 4] = [(1, 200), (16, 2000), (64, 6000), (256, 12_000)];

/// The most that one receive brings.
const MOST: usize = 32;

/// All that is measured of the imitation.
///
/// # Errors
/// If a runtime or a client cannot be made, or the service refuses something.
pub fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (what, latency) in LATENCIES {
        let mut entries = Vec::new();
        for (concurrency, jobs) in SIZES {
            let jobs = effort.of(jobs);
            entries.push(Entry {
                contender: table::OURS.to_owned(),
                concurrency: Some(concurrency),
                run: Box::new(move || run(framework(concurrency, jobs, latency), jobs)),
            });
            entries.push(Entry {
                contender: "loop on the bare SDK".to_owned(),
                concurrency: Some(concurrency),
                run: Box::new(move || run(bare_loop(concurrency, jobs, latency), jobs)),
            });
        }
        let measured = in_turn(PART, what, effort, entries)?;
        figures.extend(
            measured
                .into_iter()
                .map(|figure| Figure { measure: format!("{}, {what}", figure.measure), ..figure }),
        );
    }
    Ok(figures)
}

/// What a drain took, and how many requests.
struct Drained {
    spent: Spent,
    requests: u64,
}

fn run(
    drain: impl Future<Output = anyhow::Result<Drained>> + Send + 'static,
    jobs: u64,
) -> anyhow::Result<Vec<Sample>> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let drained = runtime.block_on(runtime.spawn(drain))??;
    let requests = drained.requests as f64 / jobs as f64;
    Ok(vec![
        Sample::rate("drain", jobs, drained.spent),
        Sample { measure: "requests a job", unit: Unit::Count, value: requests, cpu: None },
    ])
}

/// Runs until the last message is deleted.
async fn timed(service: &FakeService, jobs: u64, work: impl FnOnce()) -> Drained {
    finish::expect(jobs);
    let before = service.calls().total();
    let watch = Watch::start();
    work();
    service.wait_until(|service| service.depth(job::QUEUE) == 0).await;
    Drained { spent: watch.spent(), requests: service.calls().total() - before }
}

async fn framework(concurrency: usize, jobs: u64, latency: Duration) -> anyhow::Result<Drained> {
    let service = FakeService::new();
    let account = Account::from_connection_string("UseDevelopmentStorage=true")?;
    let backend = AzureBackend::builder(account).http_client(Arc::new(service.clone())).build()?;
    let client = Client::new(backend);
    client.enqueue_all((0..jobs).map(job::numbered)).await?;
    service.latency(latency);
    let queue = Queue::new(job::QUEUE).concurrency(concurrency);
    let worker = Worker::builder(&client).queue(queue).build()?;
    let mut tasks = JoinSet::new();
    Ok(timed(&service, jobs, || drop(tasks.spawn(worker.run()))).await)
}

async fn bare_loop(concurrency: usize, jobs: u64, latency: Duration) -> anyhow::Result<Drained> {
    let service = FakeService::new();
    let client = Arc::new(bare_client(&service)?);
    client.create(None).await?;
    for number in 0..jobs {
        let text = serde_json::to_string(&Args::numbered(number))?;
        client.send_message(QueueMessage { message_text: Some(text) }.try_into()?, None).await?;
    }
    service.latency(latency);
    let mut tasks = JoinSet::new();
    let loops = || {
        for _ in 0..concurrency.div_ceil(MOST) {
            tasks.spawn(receive_and_delete(Arc::clone(&client), concurrency.min(MOST)));
        }
    };
    Ok(timed(&service, jobs, loops).await)
}

fn bare_client(service: &FakeService) -> anyhow::Result<QueueClient> {
    let options = QueueClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(service.clone()))),
            retry: RetryOptions::none(),
            ..Default::default()
        },
        ..Default::default()
    };
    let url = Url::parse(&format!("https://bench.queue.core.windows.net/{}", job::QUEUE))?;
    Ok(QueueClient::new(url, None, Some(options))?)
}

/// Receives as many as it may, runs them, and deletes them all at once, until there are no more.
async fn receive_and_delete(client: Arc<QueueClient>, most: usize) -> anyhow::Result<()> {
    loop {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: Some(i32::try_from(most)?),
            visibility_timeout: Some(60),
            ..Default::default()
        };
        let received = client.receive_messages(Some(options)).await?.into_model()?;
        let messages = received.items.unwrap_or_default();
        if messages.is_empty() {
            return Ok(());
        }
        try_join_all(messages.into_iter().map(|message| run_and_delete(&client, message))).await?;
    }
}

async fn run_and_delete(client: &QueueClient, message: ReceivedMessage) -> anyhow::Result<()> {
    let args: Args = serde_json::from_str(&message.message_text.unwrap_or_default())?;
    args.run();
    let (id, receipt) = (message.message_id, message.pop_receipt);
    client.delete_message(&id.unwrap_or_default(), &receipt.unwrap_or_default(), None).await?;
    Ok(())
}
