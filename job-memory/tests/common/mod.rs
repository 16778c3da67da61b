//! What the tests of the worker share: a job that does as the test says, messages made by hand,
//! a backend that is watched and can be made to fail, and a worker with its end.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    missing_docs,
    reason = "each test binary uses a part of it"
)]

mod gauge;
mod spy;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use job_core::backend::{Backend, MessageId, Outgoing, QueueSpec, ReceiveRequest};
use job_core::{
    Client, Data, JobContext, JobError, Queue, QueueName, Report, Worker, WorkerBuilder,
    WorkerError, WorkerHandle,
};
use job_memory::MemoryBackend;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

pub use self::gauge::{Gauge, Inside};
pub use self::spy::{Fate, Op, Request, Spy};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// The default queue of the jobs here.
pub const WORK: &str = "work";

pub type Done = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

/// What a test wants done with an order.
pub type Script = dyn Fn(String, JobContext) -> Done + Send + Sync;

/// Does what the test says.
#[job_core::job(queue = "work")]
pub async fn act(order: String, script: Data<Script>, cx: JobContext) -> Result<(), JobError> {
    script(order, cx).await
}

pub fn script<F, Fut>(act: F) -> Arc<Script>
where
    F: Fn(String, JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    Arc::new(move |order, cx| Box::pin(act(order, cx)))
}

/// One run of a job, as it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub order: String,
    pub attempt: u32,
    /// Since the test began.
    pub at: Duration,
}

/// Hears of every run.
#[derive(Debug)]
pub struct Heard(UnboundedReceiver<Run>);

impl Heard {
    /// The next run; it must come within a day.
    pub async fn next(&mut self) -> Run {
        let run = timeout(24 * HOUR, self.0.recv()).await;
        run.expect("a job should run").expect("the worker is gone")
    }

    /// The next runs, by order and attempt.
    pub async fn take(&mut self, n: usize) -> Vec<(String, u32)> {
        let mut runs = Vec::new();
        while runs.len() < n {
            let run = self.next().await;
            runs.push((run.order, run.attempt));
        }
        runs
    }

    /// A run that was not waited for yet.
    pub fn try_next(&mut self) -> Option<Run> {
        self.0.try_recv().ok()
    }

    /// Nothing ran that was not asked for.
    #[track_caller]
    pub fn nothing(&mut self) {
        if let Ok(run) = self.0.try_recv() {
            panic!("{run:?} ran");
        }
    }
}

/// A script that tells of every run and then does as `act` says.
pub fn told<F, Fut>(act: F) -> (Arc<Script>, Heard)
where
    F: Fn(String, JobContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let (tell, heard) = unbounded_channel();
    let start = Instant::now();
    let script = script(move |order: String, cx: JobContext| {
        let run = Run { order: order.clone(), attempt: cx.attempt(), at: start.elapsed() };
        let _ = tell.send(run);
        act(order, cx)
    });
    (script, Heard(heard))
}

/// Does well and says so.
pub fn obedient() -> (Arc<Script>, Heard) {
    told(|_, _| async { Ok(()) })
}

pub fn name(queue: &str) -> QueueName {
    QueueName::new(queue).unwrap()
}

/// A service with the queue `work`.
pub async fn memory() -> MemoryBackend {
    let backend = MemoryBackend::new();
    create(&backend, WORK).await;
    backend
}

/// A watched service with the queue `work`.
pub async fn spied() -> Spy {
    Spy::new(memory().await)
}

pub async fn create(backend: &dyn Backend, queue: &str) {
    let queue = name(queue);
    for queue in [queue.clone(), queue.poison().unwrap()] {
        backend.create_queue(&queue, &QueueSpec::default()).await.unwrap();
    }
}

pub fn builder(backend: impl Backend, script: Arc<Script>) -> WorkerBuilder {
    Worker::builder(&Client::new(backend)).data_arc(script).grace(5 * SECOND)
}

/// A worker of the queue `work`, running.
pub fn start(backend: impl Backend, script: Arc<Script>) -> Running {
    Running::new(builder(backend, script))
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
        self.report().await
    }

    pub async fn report(self) -> Report {
        timeout(HOUR, self.task).await.expect("run should end").unwrap().unwrap()
    }

    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// As `kill -9` would.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The envelope of a job `act`, fresh.
pub fn job(order: &str) -> Value {
    json!({
        "format": 1,
        "id": job_core::JobId::new().to_string(),
        "name": "act",
        "args": { "order": order },
        "enqueued_at": 1_700_000_000_000_u64,
    })
}

/// Sets a field of an envelope.
pub fn with(mut envelope: Value, field: &str, value: Value) -> Value {
    envelope[field] = value;
    envelope
}

pub async fn put(backend: &dyn Backend, queue: &str, body: impl Into<Bytes>) -> MessageId {
    let sent = backend.send(&name(queue), &[Outgoing::new(body)]).await;
    sent.into_iter().next().unwrap().unwrap()
}

pub async fn put_job(backend: &dyn Backend, envelope: &Value) -> MessageId {
    put(backend, WORK, envelope.to_string()).await
}

pub async fn put_jobs(backend: &dyn Backend, orders: impl IntoIterator<Item = impl AsRef<str>>) {
    for order in orders {
        put_job(backend, &job(order.as_ref())).await;
    }
}

/// How many messages there are, visible or not.
pub async fn total(backend: &dyn Backend, queue: &str) -> u64 {
    backend.stats(&name(queue)).await.unwrap().total
}

pub async fn visible(backend: &dyn Backend, queue: &str) -> u64 {
    backend.stats(&name(queue)).await.unwrap().visible.unwrap()
}

/// Waits, in virtual time, until the queue is empty.
#[track_caller]
pub fn drained<'a>(backend: &'a dyn Backend, queue: &'a str) -> impl Future<Output = ()> + 'a {
    reached(move || async move { total(backend, queue).await == 0 })
}

/// Waits, in virtual time, until something is so.
#[track_caller]
pub fn reached<Fut: Future<Output = bool>>(so: impl Fn() -> Fut) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + 100 * 24 * HOUR;
        let mut pause = Duration::from_millis(1);
        while !so().await {
            assert!(Instant::now() < end, "never came true: {caller}");
            sleep(pause).await;
            pause = (pause * 2).min(SECOND);
        }
    }
}

/// The bodies of the visible messages of a queue.
pub async fn bodies(backend: &dyn Backend, queue: &str) -> Vec<Bytes> {
    let peeked = backend.peek(&name(queue), 32).await.unwrap();
    peeked.into_iter().map(|message| message.body).collect()
}

/// What is in the poison queue of `work`, as JSON.
pub async fn poisoned(backend: &dyn Backend) -> Vec<Value> {
    let bodies = bodies(backend, "work-poison").await;
    bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect()
}

/// The only one there.
#[track_caller]
pub fn only<T>(mut items: Vec<T>) -> T {
    assert_eq!(items.len(), 1);
    items.pop().unwrap()
}

/// Takes messages as another worker would.
pub async fn steal(backend: &dyn Backend, queue: &str, lease: Duration) -> usize {
    let request = ReceiveRequest::new(name(queue)).max(32).lease(lease);
    backend.receive(request).await.unwrap().deliveries.len()
}
