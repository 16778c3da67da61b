//! What a case works with: a backend, a queue of its own, and the verbs that cases are made of.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, Batch, Capabilities, Delivery, ItemResult, MessageId, Outgoing, Receipt,
    ReceiveRequest,
};
use tokio::time::Instant;

use crate::harness::Harness;
use crate::promise::{self, Kept, ensure};

/// One case's view of the backend: a queue that nobody else knows, and what to wait for.
///
/// A clone is the same view; tasks of one case take one each.
#[derive(Clone)]
pub struct Fixture {
    harness: Harness,
    queue: QueueName,
    made: Arc<Mutex<Vec<QueueName>>>,
}

impl Fixture {
    /// A view of that backend with a new queue.
    pub async fn new(harness: &Harness) -> Self {
        let fixture = Self::unmade(harness);
        fixture.create().await;
        fixture
    }

    /// A view whose queue is yet to be made.
    pub(crate) fn unmade(harness: &Harness) -> Self {
        Self { harness: harness.clone(), queue: unique_name(), made: Arc::default() }
    }

    /// The backend under test.
    pub fn backend(&self) -> &dyn Backend {
        &*self.harness.backend
    }

    /// What the backend says it can do.
    pub fn capabilities(&self) -> &Capabilities {
        self.backend().capabilities()
    }

    /// The queue of this view.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// The same backend with another new queue.
    pub async fn fresh(&self) -> Self {
        self.named(unique_name()).await
    }

    /// The same backend with a new queue of that name.
    pub async fn named(&self, queue: QueueName) -> Self {
        let fixture = Self { queue, ..self.clone() };
        fixture.create().await;
        fixture
    }

    /// The same backend with a queue that was never made.
    pub fn unknown(&self) -> Self {
        Self { queue: unique_name(), ..self.clone() }
    }

    /// The same queue through the other handle.
    ///
    /// # Panics
    /// If the harness has no second handle.
    pub fn second(&self) -> Self {
        let second = self.harness.second.clone().expect("the case needs a second handle");
        Self { harness: Harness { backend: second, ..self.harness.clone() }, ..self.clone() }
    }

    /// A lease or delay that is short enough to be waited for.
    pub fn short(&self) -> Duration {
        self.harness.unit
    }

    /// A lease that no case waits out.
    pub fn long(&self) -> Duration {
        self.capabilities().max_lease.min(Duration::from_secs(300))
    }

    /// A delay that no case waits out.
    pub fn long_delay(&self) -> Duration {
        self.capabilities().max_delay.min(Duration::from_secs(300))
    }

    /// How late a thing may be before it counts as broken.
    pub fn slack(&self) -> Duration {
        self.harness.slack
    }

    /// How far apart two readings of the service's clock may be that should be equal.
    pub fn clock_error(&self) -> Duration {
        let coarse = self.capabilities().granularity.max(self.harness.tolerance);
        // Services tell the time of sending in whole seconds at worst.
        let told = if self.capabilities().remote { 1000 } else { 1 };
        coarse.max(Duration::from_millis(told))
    }

    /// Sends one message that is visible at once.
    pub async fn send(&self, body: impl Into<Bytes>) -> MessageId {
        self.send_message(Outgoing::new(body)).await
    }

    /// Sends one message.
    pub async fn send_message(&self, message: Outgoing) -> MessageId {
        self.try_send(message).await.kept("A send within the limits is accepted.")
    }

    /// Sends one message, which may be refused.
    pub async fn try_send(&self, message: Outgoing) -> ItemResult<MessageId> {
        single(self.backend().send(&self.queue, &[message]).await)
    }

    /// Sends `count` messages with the bodies `0`, `1`, ... in as few requests as it takes.
    pub async fn send_many(&self, count: usize) -> Vec<MessageId> {
        let messages: Vec<_> = (0..count).map(|n| Outgoing::new(n.to_string())).collect();
        let mut ids = Vec::with_capacity(count);
        for chunk in messages.chunks(self.capabilities().max_send.max(1)) {
            let results = self.backend().send(&self.queue, chunk).await;
            ensure!(results.len() == chunk.len(), promise::AS_MANY_RESULTS, "{}", results.len());
            ids.extend(results.into_iter().map(|sent| sent.kept("A full send is accepted.")));
        }
        ids
    }

    /// One receive that does not wait.
    pub async fn receive(&self, max: usize, lease: Duration) -> Vec<Delivery> {
        self.receive_batch(max, lease).await.deliveries
    }

    /// One receive that does not wait, with the service's time.
    pub async fn receive_batch(&self, max: usize, lease: Duration) -> Batch {
        let request = ReceiveRequest::new(self.queue.clone()).max(max).lease(lease);
        self.backend().receive(request).await.kept("A receive within the limits is answered.")
    }

    /// Takes the one message that is visible, under a long lease.
    pub async fn take(&self) -> Delivery {
        self.take_for(self.long()).await
    }

    /// Takes the one message that is visible, under that lease.
    pub async fn take_for(&self, lease: Duration) -> Delivery {
        let mut batch = self.receive(1, lease).await;
        ensure!(batch.len() == 1, promise::AT_ONCE, "it gave {} messages", batch.len());
        batch.remove(0)
    }

    /// Takes a message that becomes visible within `within`, give or take the slack.
    pub async fn take_within(&self, within: Duration, promise: &str) -> Delivery {
        let give_up = Instant::now() + within + self.slack();
        loop {
            if let Some(delivery) = self.receive(1, self.long()).await.pop() {
                return delivery;
            }
            ensure!(Instant::now() < give_up, promise, "it did not come within {within:?}");
            self.pause().await;
        }
    }

    /// Takes a message that becomes visible `span` after `start` and not before.
    pub async fn take_after(&self, start: Instant, span: Duration, promise: &str) -> Delivery {
        let delivery = self.take_within(span, promise).await;
        let came = start.elapsed();
        ensure!(came + self.harness.tolerance >= span, promise, "it came after {came:?}");
        delivery
    }

    /// Takes `count` messages under long leases, each exactly once.
    pub async fn take_many(&self, count: usize) -> Vec<Delivery> {
        let give_up = Instant::now() + self.slack();
        let mut taken: Vec<Delivery> = Vec::with_capacity(count);
        while taken.len() < count {
            let most = self.capabilities().max_receive.min(count - taken.len()).max(1);
            let batch = self.receive(most, self.long()).await;
            if batch.is_empty() {
                let (n, promise) = (taken.len(), promise::STAYS);
                ensure!(Instant::now() < give_up, promise, "only {n} of {count} came");
                self.pause().await;
            }
            taken.extend(batch);
        }
        let ids: HashSet<_> = taken.iter().map(|delivery| &delivery.message_id).collect();
        ensure!(ids.len() == taken.len(), promise::LEASE_HIDES, "one came twice");
        taken
    }

    /// Panics if any message is visible.
    pub async fn expect_nothing(&self, promise: &str) {
        let most = self.capabilities().max_receive.clamp(1, 32);
        let batch = self.receive(most, self.long()).await;
        ensure!(batch.is_empty(), promise, "a receive gave {} messages", batch.len());
    }

    /// Renews one lease.
    pub async fn renew(&self, receipt: &Receipt, lease: Duration) -> ItemResult<Receipt> {
        single(self.backend().renew(std::slice::from_ref(receipt), lease).await)
    }

    /// Gives one message back.
    pub async fn release(&self, receipt: &Receipt, delay: Duration) -> ItemResult<()> {
        self.backend().release(receipt, delay).await
    }

    /// Rewrites one message.
    pub async fn replace(
        &self,
        receipt: &Receipt,
        body: impl Into<Bytes>,
        delay: Duration,
    ) -> ItemResult<Receipt> {
        self.backend().replace(receipt, body.into(), delay).await
    }

    /// Deletes one message.
    pub async fn delete(&self, receipt: &Receipt) -> ItemResult<()> {
        single(self.backend().delete(std::slice::from_ref(receipt)).await)
    }

    /// Lets so much of the tests' time pass.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// The time between two looks at the service.
    pub async fn pause(&self) {
        let step = self.short() / 8;
        self.sleep(step.clamp(Duration::from_millis(1), Duration::from_millis(250))).await;
    }

    /// Hands every queue of this case to the harness's cleanup.
    pub(crate) async fn clean_up(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(cleanup) = &self.harness.cleanup {
            for queue in made {
                cleanup(queue).await;
            }
        }
    }

    /// Makes the queue of this view.
    pub(crate) async fn create(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(self.queue.clone());
        let created = self.backend().create_queue(&self.queue, &Default::default()).await;
        created.kept("create_queue makes the queue if it is not there.");
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The result of a request for one item.
fn single<T>(mut results: Vec<ItemResult<T>>) -> ItemResult<T> {
    ensure!(results.len() == 1, promise::AS_MANY_RESULTS, "1 item got {} results", results.len());
    results.remove(0)
}

/// A name that no other case, process or machine uses.
fn unique_name() -> QueueName {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("conf-{:x}-{:x}-{count:x}", nanos as u64, std::process::id());
    QueueName::new(name).expect("hexadecimal numbers and dashes make a name")
}
