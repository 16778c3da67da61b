//! A thread with a runtime of its own, for what handlers must not hold up.
//!
//! A handler that blocks its thread, as it should not, stops whatever else would run there. Leases
//! are renewed and finished jobs are settled here instead, over connections that live here too.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};

use super::report::Counters;
use super::served::Served;
use crate::QueueName;
use crate::backend::{
    Backend, BackendError, Batch, Capabilities, ErrorKind, ItemResult, MessageId, Outgoing, Peeked,
    QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use crate::telemetry::{events, meters};

/// How often the worker's runtime is asked whether it still runs tasks.
const PING: Duration = Duration::from_secs(1);

/// How long it may leave a task waiting.
const STALL: Duration = Duration::from_secs(3);

/// The thread. It ends when this is dropped, and all that runs there with it.
#[derive(Debug)]
pub(super) struct Aside {
    runtime: Handle,
    /// Connections that live there and are nobody else's.
    backend: Arc<dyn Backend>,
    _stop: DropGuard,
}

impl Aside {
    /// Starts the thread. `backend` must have connections of its own: those that live on the
    /// worker's runtime stall with it.
    pub(super) fn start(backend: Arc<dyn Backend>) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name("job-leases".into()).spawn(move || {
            runtime.block_on(stopped.cancelled());
            // A name that is being looked up would hold it up.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, backend, _stop: stop.drop_guard() })
    }

    /// The connections that live there, for calls from there.
    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The same, for calls from anywhere.
    pub(super) fn calls(&self) -> Arc<dyn Backend> {
        Arc::new(Calls { runtime: self.runtime.clone(), backend: Arc::clone(&self.backend) })
    }

    /// Sleeps by the clock there.
    pub(super) async fn sleep(&self, time: Duration) {
        // Made there, or it would be by the clock here. It fails only where that has ended, and
        // all with it.
        let _ = self.runtime.spawn(async move { sleep(time).await }).await;
    }

    /// Runs a task there until this is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task.instrument(Span::current()));
    }
}

/// Tells when the worker's runtime does not get to run its tasks. Leases are kept all the same,
/// but nothing new starts, and nobody is told anything.
///
/// Where a handler blocks but one of several threads, the slot that was woken to receive next may
/// be behind it, in a place that no other thread takes tasks from. So another is woken.
pub(super) async fn watch(worker: Handle, counters: Arc<Counters>, queues: Vec<Arc<Served>>) {
    loop {
        sleep(PING).await;
        queues.iter().for_each(|queue| queue.feed.nudge());
        let (run, ran) = oneshot::channel();
        let asked_at = Instant::now();
        worker.spawn(async move { run.send(()) });
        let mut ran = std::pin::pin!(ran);
        if timeout(STALL, &mut ran).await.is_ok() {
            continue;
        }
        counters.stalled.increment();
        events::runtime_stalled(counters.running());
        meters::runtime_stalled();
        // An error is the runtime's end.
        let _ = ran.await;
        events::runtime_moves(asked_at.elapsed());
    }
}

/// A backend whose requests are made on another runtime. A call begins there as soon as it is
/// first polled here, and goes on if it is dropped.
#[derive(Debug)]
struct Calls {
    runtime: Handle,
    backend: Arc<dyn Backend>,
}

impl Calls {
    async fn call<T, F>(&self, call: impl FnOnce(Arc<dyn Backend>) -> F) -> Result<T, BackendError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let call = call(Arc::clone(&self.backend));
        self.runtime.spawn(call.instrument(Span::current())).await.map_err(|_| {
            BackendError::new(ErrorKind::Unavailable).message("the request panicked or was dropped")
        })
    }
}

#[async_trait]
impl Backend for Calls {
    fn system(&self) -> &'static str {
        self.backend.system()
    }

    fn capabilities(&self) -> &Capabilities {
        self.backend.capabilities()
    }

    fn now(&self) -> SystemTime {
        self.backend.now()
    }

    async fn create_queue(&self, queue: &QueueName, spec: &QueueSpec) -> Result<(), BackendError> {
        let (queue, spec) = (queue.clone(), spec.clone());
        self.call(|backend| async move { backend.create_queue(&queue, &spec).await }).await?
    }

    async fn check_access(&self, queue: &QueueName) -> Result<(), BackendError> {
        let queue = queue.clone();
        self.call(|backend| async move { backend.check_access(&queue).await }).await?
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        let (queue, sent) = (queue.clone(), messages.to_vec());
        let sent = self.call(|backend| async move { backend.send(&queue, &sent).await }).await;
        all_or(sent, messages.len())
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        self.call(|backend| async move { backend.receive(request).await }).await?
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let held = receipts.to_vec();
        let renewed = self.call(|backend| async move { backend.renew(&held, lease).await }).await;
        all_or(renewed, receipts.len())
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let receipt = receipt.clone();
        self.call(|backend| async move { backend.release(&receipt, delay).await }).await?
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let receipt = receipt.clone();
        self.call(|backend| async move { backend.replace(&receipt, body, delay).await }).await?
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let held = receipts.to_vec();
        let deleted = self.call(|backend| async move { backend.delete(&held).await }).await;
        all_or(deleted, receipts.len())
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        let queue = queue.clone();
        self.call(|backend| async move { backend.peek(&queue, max).await }).await?
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        let queue = queue.clone();
        self.call(|backend| async move { backend.stats(&queue).await }).await?
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        let queue = queue.clone();
        self.call(|backend| async move { backend.purge(&queue).await }).await?
    }
}

/// A result for each item, whatever became of the call.
fn all_or<T>(
    results: Result<Vec<ItemResult<T>>, BackendError>,
    count: usize,
) -> Vec<ItemResult<T>> {
    let lost = || BackendError::new(ErrorKind::Unavailable).message("the request was dropped");
    results.unwrap_or_else(|_| (0..count).map(|_| Err(lost())).collect())
}
