//! The [`Backend`]: names, checks and errors around the queues.

use std::collections::BTreeMap;
use std::fmt;
use std::future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, Delivery, ErrorKind, ItemResult, MessageId,
    Outgoing, Peeked, QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::clock::{Clock, Moment, far_off};
use crate::limits::{Limits, invalid, over_limit, refuse_all, unsupported};
use crate::queue::{Lease, Queue, Stale};
use crate::shared::SharedQueue;

/// How many messages of one send count as much as one that is sent alone, for whose turn it is on a
/// thread.
const A_TURN: usize = 8;

/// A queue service in this process's memory.
///
/// A clone is cheap and is the same service. Queues live as long as the service; as on a remote
/// one, they must be made before messages can be sent to them.
///
/// A task that sends and never waits for anything else yields now and then, as with tokio's own
/// channels, so that others run, too.
///
/// Its clock is tokio's, that of the runtime a call is made from. Do not share one between a
/// runtime with a paused clock and another one.
#[derive(Clone)]
pub struct MemoryBackend {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Limits,
    clock: Clock,
    /// Most services have a few, and every operation asks for one.
    queues: RwLock<BTreeMap<QueueName, Arc<SharedQueue>>>,
}

impl MemoryBackend {
    /// A service without queues that can do all that the contract knows but deduplication: 32
    /// messages a receive, renew or delete, 1024 a send, 48 KiB a body, delays and leases of up to
    /// 7 days in steps of 1 ms, waits of up to 20 s.
    ///
    /// It needs no runtime; waiting does.
    pub fn new() -> Self {
        Self::with_capabilities(rich())
    }

    /// A service that pretends to be a poorer one: smaller limits are enforced, what is off gives
    /// [`ErrorKind::Unsupported`] or is not told, and durations are rounded up to the granularity.
    ///
    /// What it cannot do it does not claim: [`Capabilities::deduplicates`] is always off.
    /// [`Capabilities::remote`] is only passed on.
    ///
    /// ```
    /// use job_core::backend::Backend;
    /// use job_memory::MemoryBackend;
    ///
    /// let mut capabilities = MemoryBackend::new().capabilities().clone();
    /// capabilities.replace = false;
    /// let backend = MemoryBackend::with_capabilities(capabilities);
    /// ```
    pub fn with_capabilities(capabilities: Capabilities) -> Self {
        let limits = Limits::new(capabilities);
        let (clock, queues) = (Clock::start(), RwLock::default());
        Self { inner: Arc::new(Inner { limits, clock, queues }) }
    }

    /// Puts its clock forward. See [`Clock::skip`].
    pub(crate) fn skip(&self, span: Duration) {
        self.inner.clock.skip(span);
    }

    /// Makes the message that became visible last the next one to be received.
    pub(crate) fn last_first(&self, queue: &QueueName) {
        if let Ok(queue) = self.find(queue) {
            queue.run(self.moment(), |queue, now| queue.last_first(now));
        }
    }

    fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    fn moment(&self) -> Moment {
        self.inner.clock.now()
    }

    fn find(&self, queue: &QueueName) -> Result<Arc<SharedQueue>, BackendError> {
        // The map is whole at every moment, whoever panicked.
        let queues = self.inner.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).cloned().ok_or_else(|| ErrorKind::QueueNotFound.into())
    }

    /// Runs `operation` for each receipt, taking the lock once for all receipts of one queue that
    /// follow one another.
    fn settle<T>(
        &self,
        receipts: &[Receipt],
        operation: impl Fn(&mut Queue, Moment, Lease) -> Result<T, Stale>,
    ) -> Vec<Result<T, Refused>> {
        let mut results = Vec::with_capacity(receipts.len());
        for run in receipts.chunk_by(|a, b| a.queue() == b.queue()) {
            let Ok(queue) = self.find(run[0].queue()) else {
                results.extend(run.iter().map(|_| Err(Refused::NoQueue)));
                continue;
            };
            queue.run(self.moment(), |queue, now| {
                results.extend(run.iter().map(|receipt| {
                    let lease = lease_of(receipt).ok_or(Refused::Stale)?;
                    operation(queue, now, lease).map_err(|Stale| Refused::Stale)
                }));
            });
        }
        results
    }

    /// [`settle`](Self::settle) for one receipt.
    fn settle_one<T>(
        &self,
        receipt: &Receipt,
        operation: impl FnOnce(&mut Queue, Moment, Lease) -> Result<T, Stale>,
    ) -> Result<T, Refused> {
        let queue = self.find(receipt.queue()).map_err(|_| Refused::NoQueue)?;
        let lease = lease_of(receipt).ok_or(Refused::Stale)?;
        queue
            .run(self.moment(), |queue, now| operation(queue, now, lease))
            .map_err(|Stale| Refused::Stale)
    }
}

/// Why a receipt came to nothing. An error proper is made of it outside of the lock.
enum Refused {
    NoQueue,
    Stale,
}

impl Refused {
    fn error(self, operation: &'static str, receipt: &Receipt) -> BackendError {
        let kind = match self {
            Self::NoQueue => ErrorKind::QueueNotFound,
            Self::Stale => ErrorKind::LeaseLost,
        };
        BackendError::new(kind).operation(operation).queue(receipt.queue())
    }
}

fn lease_of(receipt: &Receipt) -> Option<Lease> {
    let (id, token) = (receipt.message_id().as_number()?, receipt.token().as_number()?);
    Some(Lease::from_parts(id, token))
}

fn receipt_of(queue: &QueueName, lease: Lease) -> Receipt {
    Receipt::new(queue.clone(), lease.id, lease.token())
}

fn rich() -> Capabilities {
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
    let mut rich = Capabilities::minimal();
    rich.long_poll = Some(Duration::from_secs(20));
    rich.wakes = true;
    rich.max_delay = LONGEST;
    rich.granularity = Duration::from_millis(1);
    rich.min_lease = Duration::from_millis(1);
    rich.max_lease = LONGEST;
    rich.max_body = 48 * 1024;
    rich.max_send = 1024;
    rich.max_receive = 32;
    rich.max_delete = 32;
    rich.max_renew = 32;
    rich.max_peek = 32;
    rich.replace = true;
    rich.counts = true;
    rich.exact_stats = true;
    rich.ttl = true;
    rich.remote = false;
    rich
}

#[async_trait]
impl Backend for MemoryBackend {
    fn system(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.limits().capabilities
    }

    fn now(&self) -> SystemTime {
        self.inner.clock.wall(self.moment())
    }

    async fn create_queue(&self, queue: &QueueName, _spec: &QueueSpec) -> Result<(), BackendError> {
        let mut queues = self.inner.queues.write().unwrap_or_else(PoisonError::into_inner);
        if !queues.contains_key(queue) {
            queues.insert(queue.clone(), Arc::new(SharedQueue::new()));
        }
        Ok(())
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        // Nothing here ever waits: a producer that goes on and on would keep its thread, and the
        // worker that it has woken there, from everybody else.
        for _ in messages.chunks(A_TURN) {
            consume_budget().await;
        }
        let limits = self.limits();
        let most = limits.capabilities.max_send;
        if let Some(refused) = over_limit(messages.len(), most, "send") {
            return refused;
        }
        let named = |error: BackendError| error.operation("send").queue(queue);
        let Ok(shared) = self.find(queue) else {
            return refuse_all(messages.len(), || named(ErrorKind::QueueNotFound.into()));
        };
        shared.run(self.moment(), |shared, now| {
            let send = |message: &Outgoing| {
                limits.body(message.body.len()).map_err(named)?;
                let delay = limits.delay(message.delay).map_err(named)?;
                let ttl = limits.ttl(message.ttl);
                Ok(shared.send(now, message.body.clone(), delay, ttl).into())
            };
            messages.iter().map(send).collect()
        })
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let ReceiveRequest { queue, max, lease, wait, interrupt, .. } = request;
        let named = |error: BackendError| error.operation("receive").queue(&queue);
        if max == 0 {
            return Err(named(invalid("a receive of no messages")));
        }
        let max = max.min(self.limits().capabilities.max_receive);
        let lease = self.limits().lease(lease).map_err(named)?;
        let wait = self.limits().wait(wait);
        let shared = self.find(&queue).map_err(named)?;

        let mut taken = shared.run(self.moment(), |queue, now| queue.receive(now, max, lease));
        if taken.is_empty() && !wait.is_zero() {
            let interrupted = async {
                match &interrupt {
                    Some(token) => token.cancelled().await,
                    None => future::pending().await,
                }
            };
            let take = |queue: &mut Queue, now| {
                let taken = queue.receive(now, max, lease);
                (!taken.is_empty()).then_some(taken)
            };
            let until = Instant::now() + wait;
            taken = shared.wait(&self.inner.clock, until, interrupted, take).await.unwrap_or(taken);
        }

        let clock = &self.inner.clock;
        let counts = self.limits().capabilities.counts;
        let deliveries = taken.into_iter().map(|taken| {
            let receipt = receipt_of(&queue, taken.lease);
            let delivery = Delivery::new(receipt, clock.wall(taken.inserted_at), taken.body);
            if counts { delivery.count(taken.count) } else { delivery }
        });
        Ok(Batch::new(deliveries.collect(), self.now()))
    }

    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        let until = Instant::now().checked_add(at_most).unwrap_or_else(far_off);
        match self.find(queue) {
            Ok(shared) if self.limits().capabilities.wakes => {
                let visible = |queue: &mut Queue, _| (queue.outlook().visible > 0).then_some(());
                shared.wait(&self.inner.clock, until, future::pending(), visible).await;
            }
            _ => tokio::time::sleep_until(until).await,
        }
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let limits = self.limits();
        let count = receipts.len();
        if let Some(refused) = over_limit(count, limits.capabilities.max_renew, "renew") {
            return refused;
        }
        let Ok(span) = limits.lease(lease) else {
            return refuse_all(count, || limits.bad_lease(lease).operation("renew"));
        };
        let renewed = self.settle(receipts, |queue, now, held| queue.renew(now, held, span));
        let results = renewed.into_iter().zip(receipts).map(|(result, receipt)| match result {
            Ok(lease) => Ok(receipt_of(receipt.queue(), lease)),
            Err(refused) => Err(refused.error("renew", receipt)),
        });
        results.collect()
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let named = |error: BackendError| error.operation("release").queue(receipt.queue());
        let delay = self.limits().delay(delay).map_err(named)?;
        self.settle_one(receipt, |queue, now, held| queue.release(now, held, delay))
            .map_err(|refused| refused.error("release", receipt))
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let named = |error: BackendError| error.operation("replace").queue(receipt.queue());
        if !self.limits().capabilities.replace {
            return Err(named(unsupported("send the new message, then delete the old one")));
        }
        self.limits().body(body.len()).map_err(named)?;
        let delay = self.limits().delay(delay).map_err(named)?;
        let (lease, _old) = self
            .settle_one(receipt, |queue, now, held| queue.replace(now, held, body, delay))
            .map_err(|refused| refused.error("replace", receipt))?;
        Ok(receipt_of(receipt.queue(), lease))
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let most = self.limits().capabilities.max_delete;
        if let Some(refused) = over_limit(receipts.len(), most, "delete") {
            return refused;
        }
        let deleted = self.settle(receipts, |queue, now, held| queue.delete(now, held));
        let results = deleted.into_iter().zip(receipts).map(|(result, receipt)| match result {
            Ok(_body) => Ok(()),
            Err(refused) => Err(refused.error("delete", receipt)),
        });
        results.collect()
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        let named = |error: BackendError| error.operation("peek").queue(queue);
        let Capabilities { max_peek, counts, .. } = *self.capabilities();
        if max_peek == 0 {
            return Err(named(unsupported("messages can only be received")));
        }
        let shared = self.find(queue).map_err(named)?;
        let seen = shared.run(self.moment(), |queue, now| queue.peek(now, max.min(max_peek)));
        let peeked = seen.into_iter().map(|seen| {
            let inserted_at = self.inner.clock.wall(seen.inserted_at);
            let peeked = Peeked::new(seen.id.into(), inserted_at, seen.body);
            if counts { peeked.count(seen.count) } else { peeked }
        });
        Ok(peeked.collect())
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        let shared = self.find(queue).map_err(|error| error.operation("stats").queue(queue))?;
        let figures = shared.run(self.moment(), |queue, now| queue.figures(now));
        let mut stats = QueueStats::new(figures.total as u64);
        if self.capabilities().exact_stats {
            stats.visible = Some(figures.visible as u64);
            stats.oldest = figures.oldest.map(|oldest| self.inner.clock.wall(oldest));
        }
        Ok(stats)
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        let shared = self.find(queue).map_err(|error| error.operation("purge").queue(queue))?;
        let purged = shared.run(self.moment(), |queue, now| queue.purge(now));
        Ok(Some(purged.len() as u64))
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

/// What is in the queues is nobody's business.
impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.inner.queues.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("MemoryBackend").field("queues", &queues).finish_non_exhaustive()
    }
}
