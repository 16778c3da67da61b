//! A backend whose requests are counted. Where nobody counts, a request costs one call more.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::facade::{Counter, Histogram, counter, histogram, is_recorded};
use super::names;
use super::spans::kind_of;
use crate::QueueName;
use crate::backend::{
    Backend, BackendError, Batch, Capabilities, ErrorKind, ItemResult, MessageId, Outgoing, Peeked,
    QueueSpec, QueueStats, Receipt, ReceiveRequest,
};

/// What is asked of a backend.
#[derive(Clone, Copy)]
enum Operation {
    CreateQueue,
    CheckAccess,
    Send,
    Receive,
    Renew,
    Release,
    Replace,
    Delete,
    Peek,
    Stats,
    Purge,
}

impl Operation {
    const COUNT: usize = 11;

    fn as_str(self) -> &'static str {
        match self {
            Self::CreateQueue => "create_queue",
            Self::CheckAccess => "check_access",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Peek => "peek",
            Self::Stats => "stats",
            Self::Purge => "purge",
        }
    }
}

/// Counts the requests of another backend.
#[derive(Debug)]
struct Metered {
    inner: Arc<dyn Backend>,
    /// Made at the first request that is counted; failures are rare enough to do without.
    handles: [OnceLock<Handles>; Operation::COUNT],
}

struct Handles {
    ok: Counter,
    duration: Histogram,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handles")
    }
}

/// The same backend, its requests counted.
pub(crate) fn metered(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
    Arc::new(Metered { inner, handles: Default::default() })
}

type Future1<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Metered {
    /// Counts a request, if anybody wants to know.
    fn count<'a, T: Send + 'a>(
        &'a self,
        operation: Operation,
        request: Future1<'a, T>,
        problem: impl Fn(&T) -> Option<ErrorKind> + Send + 'a,
    ) -> Future1<'a, T> {
        if !is_recorded() {
            return request;
        }
        Box::pin(async move {
            let mut pending =
                Pending { metered: self, operation, sent_at: Instant::now(), result: CANCELLED };
            let answer = request.await;
            pending.result = problem(&answer).map_or(OK, kind_of);
            answer
        })
    }

    fn ended(&self, operation: Operation, result: &'static str, took: Duration) {
        let name = operation.as_str();
        let handles = self.handles[operation as usize].get_or_init(|| Handles {
            ok: counter(&names::REQUESTS, &[name, OK]),
            duration: histogram(&names::REQUEST_DURATION, &[name]),
        });
        handles.duration.record(took.as_secs_f64());
        match result {
            OK => handles.ok.increment(1),
            result => counter(&names::REQUESTS, &[name, result]).increment(1),
        }
    }
}

const OK: &str = "ok";

/// Nobody waits for the answer any more, such as that to a request that hangs.
const CANCELLED: &str = "cancelled";

/// A request on its way.
struct Pending<'a> {
    metered: &'a Metered,
    operation: Operation,
    sent_at: Instant,
    result: &'static str,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.metered.ended(self.operation, self.result, self.sent_at.elapsed());
    }
}

fn of_one<T>(answer: &Result<T, BackendError>) -> Option<ErrorKind> {
    answer.as_ref().err().map(BackendError::kind)
}

#[allow(clippy::ptr_arg, reason = "it is told the answer as it is")]
fn of_first<T>(answer: &Vec<ItemResult<T>>) -> Option<ErrorKind> {
    answer.iter().find_map(of_one)
}

/// Without the macro of `async_trait`, which would box a request a second time.
impl Backend for Metered {
    fn system(&self) -> &'static str {
        self.inner.system()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn now(&self) -> SystemTime {
        self.inner.now()
    }

    fn independent(&self) -> Option<Arc<dyn Backend>> {
        self.inner.independent().map(metered)
    }

    fn wait_visible<'a, 'q, 'r>(
        &'a self,
        queue: &'q QueueName,
        at_most: Duration,
    ) -> Future1<'r, ()>
    where
        'a: 'r,
        'q: 'r,
    {
        self.inner.wait_visible(queue, at_most)
    }

    fn create_queue<'a, 'q, 's, 'r>(
        &'a self,
        queue: &'q QueueName,
        spec: &'s QueueSpec,
    ) -> Future1<'r, Result<(), BackendError>>
    where
        'a: 'r,
        'q: 'r,
        's: 'r,
    {
        self.count(Operation::CreateQueue, self.inner.create_queue(queue, spec), of_one)
    }

    fn check_access<'a, 'q, 'r>(
        &'a self,
        queue: &'q QueueName,
    ) -> Future1<'r, Result<(), BackendError>>
    where
        'a: 'r,
        'q: 'r,
    {
        self.count(Operation::CheckAccess, self.inner.check_access(queue), of_one)
    }

    fn send<'a, 'q, 'm, 'r>(
        &'a self,
        queue: &'q QueueName,
        messages: &'m [Outgoing],
    ) -> Future1<'r, Vec<ItemResult<MessageId>>>
    where
        'a: 'r,
        'q: 'r,
        'm: 'r,
    {
        self.count(Operation::Send, self.inner.send(queue, messages), of_first)
    }

    fn receive<'a, 'r>(
        &'a self,
        request: ReceiveRequest,
    ) -> Future1<'r, Result<Batch, BackendError>>
    where
        'a: 'r,
    {
        self.count(Operation::Receive, self.inner.receive(request), of_one)
    }

    fn renew<'a, 'm, 'r>(
        &'a self,
        receipts: &'m [Receipt],
        lease: Duration,
    ) -> Future1<'r, Vec<ItemResult<Receipt>>>
    where
        'a: 'r,
        'm: 'r,
    {
        let each = |answer: &Vec<ItemResult<Receipt>>| {
            for (receipt, result) in receipts.iter().zip(answer) {
                let result = of_one(result).map_or(OK, kind_of);
                counter(&names::LEASE_RENEWALS, &[receipt.queue().as_str(), result]).increment(1);
            }
            of_first(answer)
        };
        self.count(Operation::Renew, self.inner.renew(receipts, lease), each)
    }

    fn release<'a, 'm, 'r>(
        &'a self,
        receipt: &'m Receipt,
        delay: Duration,
    ) -> Future1<'r, Result<(), BackendError>>
    where
        'a: 'r,
        'm: 'r,
    {
        self.count(Operation::Release, self.inner.release(receipt, delay), of_one)
    }

    fn replace<'a, 'm, 'r>(
        &'a self,
        receipt: &'m Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Future1<'r, Result<Receipt, BackendError>>
    where
        'a: 'r,
        'm: 'r,
    {
        self.count(Operation::Replace, self.inner.replace(receipt, body, delay), of_one)
    }

    fn delete<'a, 'm, 'r>(&'a self, receipts: &'m [Receipt]) -> Future1<'r, Vec<ItemResult<()>>>
    where
        'a: 'r,
        'm: 'r,
    {
        self.count(Operation::Delete, self.inner.delete(receipts), of_first)
    }

    fn peek<'a, 'q, 'r>(
        &'a self,
        queue: &'q QueueName,
        max: usize,
    ) -> Future1<'r, Result<Vec<Peeked>, BackendError>>
    where
        'a: 'r,
        'q: 'r,
    {
        self.count(Operation::Peek, self.inner.peek(queue, max), of_one)
    }

    fn stats<'a, 'q, 'r>(
        &'a self,
        queue: &'q QueueName,
    ) -> Future1<'r, Result<QueueStats, BackendError>>
    where
        'a: 'r,
        'q: 'r,
    {
        self.count(Operation::Stats, self.inner.stats(queue), of_one)
    }

    fn purge<'a, 'q, 'r>(
        &'a self,
        queue: &'q QueueName,
    ) -> Future1<'r, Result<Option<u64>, BackendError>>
    where
        'a: 'r,
        'q: 'r,
    {
        self.count(Operation::Purge, self.inner.purge(queue), of_one)
    }
}
