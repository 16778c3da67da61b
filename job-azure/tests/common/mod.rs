//! What the tests on the fake service share: a job that does as its order says, what came of it,
//! and a worker with its end.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use job_azure::{Account, AzureBackend};
use job_azure_fake::FakeService;
use job_core::{
    Client, Data, JobContext, JobError, Queue, QueueName, Report, Worker, WorkerBuilder,
    WorkerError, WorkerHandle,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub const SECOND: Duration = Duration::from_secs(1);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The queue of the job here.
pub const WORK: &str = "work";
pub const POISON: &str = "work-poison";

/// Does as it is told: `ok`, `retry` (fails the first time), `fail` (every time), `poison`, or
/// `slow` (three minutes, past any lease here).
#[job_core::job(queue = "work", max_attempts = 3, backoff = fixed("1s"))]
pub async fn act(order: String, log: Data<Log>, cx: JobContext) -> Result<(), JobError> {
    log.start(&order);
    let result = match order.split('-').next() {
        Some("retry") if cx.attempt() == 1 => Err("not yet".into()),
        Some("fail") => Err("never".into()),
        Some("poison") => Err(JobError::permanent("cannot be done")),
        Some("slow") => {
            tokio::time::sleep(180 * SECOND).await;
            Ok(())
        }
        _ => Ok(()),
    };
    if result.is_ok() {
        log.done(&order);
    }
    result
}

/// How often each order was begun and done.
#[derive(Clone, Debug, Default)]
pub struct Log {
    runs: Arc<Mutex<BTreeMap<String, (u32, u32)>>>,
    changed: Arc<Notify>,
}

impl Log {
    pub fn start(&self, order: &str) {
        self.runs.lock().unwrap().entry(order.to_owned()).or_default().0 += 1;
        self.changed.notify_waiters();
    }

    pub fn done(&self, order: &str) {
        self.runs.lock().unwrap().entry(order.to_owned()).or_default().1 += 1;
        self.changed.notify_waiters();
    }

    /// Waits until each of them was done.
    pub async fn done_with(&self, orders: &[&str]) {
        self.until(|log| orders.iter().all(|order| log.of(order).1 > 0)).await;
    }

    /// Waits until so many were begun.
    pub async fn begun(&self, n: u32) {
        self.until(|log| log.runs.lock().unwrap().values().map(|runs| runs.0).sum::<u32>() >= n)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let so = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                // Enlisted before looking, or a change in between would be missed.
                changed.as_mut().enable();
                if is_so(self) {
                    break;
                }
                changed.await;
            }
        };
        timeout(60 * SECOND, so).await.expect("the jobs should get there");
    }

    /// How often it was begun and done.
    pub fn of(&self, order: &str) -> (u32, u32) {
        self.runs.lock().unwrap().get(order).copied().unwrap_or_default()
    }
}

pub fn name(queue: &str) -> QueueName {
    QueueName::new(queue).unwrap()
}

pub fn backend(service: &FakeService) -> AzureBackend {
    let account = Account::from_connection_string("UseDevelopmentStorage=true").unwrap();
    AzureBackend::builder(account).http_client(Arc::new(service.clone())).build().unwrap()
}

pub fn client(service: &FakeService) -> Client {
    Client::new(backend(service))
}

pub fn builder(client: &Client, log: &Log) -> WorkerBuilder {
    Worker::builder(client).data(log.clone()).grace(5 * SECOND)
}

/// A worker of the queue `work`, running.
pub fn start(client: &Client, log: &Log) -> Running {
    Running::new(builder(client, log).queue(Queue::new(WORK).lease(60 * SECOND)))
}

/// A worker that runs in a task of its own.
#[derive(Debug)]
pub struct Running {
    pub handle: WorkerHandle,
    task: JoinHandle<Result<Report, WorkerError>>,
}

impl Running {
    #[track_caller]
    pub fn new(builder: WorkerBuilder) -> Self {
        let worker = builder.build().unwrap();
        Self { handle: worker.handle(), task: tokio::spawn(worker.run()) }
    }

    /// Ends it in good order.
    pub async fn stop(self) -> Report {
        self.handle.shutdown();
        self.ended().await.unwrap()
    }

    pub async fn ended(self) -> Result<Report, WorkerError> {
        timeout(600 * SECOND, self.task).await.expect("run should end").unwrap()
    }
}

/// Waits until the queue is empty, hidden messages included.
pub async fn drained(service: &FakeService, queue: &str) {
    let empty = service.wait_until(|service| service.depth(queue) == 0);
    if timeout(7 * DAY, empty).await.is_err() {
        panic!("{queue} should drain; it holds {:?}", service.texts(queue));
    }
}

pub async fn create_queues(client: &Client) {
    for queue in [WORK, POISON] {
        client.backend().create_queue(&name(queue), &Default::default()).await.unwrap();
    }
}

/// The orders in poison, by whatever the client can read there.
pub async fn poisoned(client: &Client) -> Vec<String> {
    let listed = client.poison(WORK).unwrap().list(32).await.unwrap();
    let mut orders: Vec<String> = listed
        .iter()
        .map(|job| serde_json::from_str::<serde_json::Value>(job.args().unwrap()).unwrap())
        .map(|args| args["order"].as_str().unwrap().to_owned())
        .collect();
    orders.sort();
    orders
}

/// All that an error says, its sources included.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
