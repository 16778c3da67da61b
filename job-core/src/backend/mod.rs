//! The contract between the framework and a queue service.
//!
//! A backend moves opaque bodies in and out of named queues and keeps leases on what it handed
//! out. It knows nothing of jobs, attempts or retries: all of that is in the body, and is the
//! framework's. `job-conformance` holds this contract as a test suite; a backend that passes it
//! can be swapped for any other.

mod capabilities;
mod error;
mod message;
mod request;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::capabilities::Capabilities;
pub use self::error::{BackendError, ErrorKind};
pub use self::message::{Batch, Delivery, MessageId, Peeked, QueueStats, Receipt, Token};
pub use self::request::{Outgoing, QueueSpec, ReceiveRequest};
use crate::QueueName;

/// What one item of a request that names several came to.
pub type ItemResult<T> = Result<T, BackendError>;

/// A queue service: at-least-once delivery of opaque bodies under leases.
///
/// # Contract
///
/// - **A message is in one of three states**: visible, hidden until a moment (a delay or a lease),
///   or gone. A hidden message becomes visible by itself when its moment comes. Only
///   [`delete`](Self::delete), [`purge`](Self::purge) and the end of its TTL make it go.
/// - **A lease is a hidden message with a receipt.** [`receive`](Self::receive) hides each message
///   for the lease, counts the delivery and gives a receipt. Until the lease ends no other receive
///   returns the message.
/// - **A receipt rotates.** Each receive, [`renew`](Self::renew), [`release`](Self::release) and
///   [`replace`](Self::replace) makes every earlier receipt of that message stale. A stale receipt,
///   or one whose message is gone, gives [`ErrorKind::LeaseLost`] and changes nothing. A receipt
///   whose lease has ended but whose message nobody else received since may still work; nobody may
///   rely on it.
/// - **Time is the service's.** `inserted_at` and `server_now` come from one clock, the one that
///   ends leases and delays. Durations in requests are relative. A duration finer than
///   [`Capabilities::granularity`] is rounded up.
/// - **Order is not promised**, nor is exactly-once: a request whose response was lost may have
///   been carried out ([`BackendError::outcome_unknown`]).
/// - **Requests of several items** are answered item by item, in the order of the request: one
///   that fails does not hide the fate of another. The result has exactly as many items as the
///   request; an empty request is answered with an empty result. A request of more items than the
///   capability allows is the caller's mistake and is answered with [`ErrorKind::Invalid`] for
///   each item. Receipts of one request may be of several queues.
/// - **A lease** outside [`Capabilities::min_lease`] and [`max_lease`](Capabilities::max_lease),
///   and a delay above [`Capabilities::max_delay`], is [`ErrorKind::Invalid`], whatever the method.
/// - **Every method returns within a bounded time**, well below the shortest lease it is used
///   with. A backend may retry inside that time; the framework retries on top only what
///   [`BackendError::is_retryable`] allows.
/// - **Errors never hold** credentials, receipts or bodies, in `Display`, `Debug` or their sources.
///
/// Unless a method says otherwise, dropping its future leaves its outcome unknown.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use job_core::QueueName;
/// use job_core::backend::{Backend, BackendError, Outgoing, ReceiveRequest};
///
/// async fn round_trip(backend: &dyn Backend) -> Result<(), BackendError> {
///     let queue = QueueName::new("mail").expect("a valid name");
///     backend.create_queue(&queue, &Default::default()).await?;
///     for sent in backend.send(&queue, &[Outgoing::new("hello")]).await {
///         sent?;
///     }
///     let request = ReceiveRequest::new(queue).max(32).lease(Duration::from_secs(60));
///     let batch = backend.receive(request).await?;
///     let receipts: Vec<_> = batch.deliveries.into_iter().map(|d| d.receipt).collect();
///     for deleted in backend.delete(&receipts).await {
///         deleted?;
///     }
///     Ok(())
/// }
/// ```
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// What the service is called in logs and metrics, such as `"memory"`. For people only: no
    /// code decides by it, [`capabilities`](Self::capabilities) are what it decides by.
    fn system(&self) -> &'static str;

    /// What this backend can and cannot do. Constant for its lifetime.
    fn capabilities(&self) -> &Capabilities;

    /// The service's time as nearly as it is known without a request. An in-process backend gives
    /// its own clock; the default is the system's.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// The same queues through connections of its own, to keep leases and to settle messages, so
    /// that neither a busy pool nor a handler that blocks its thread can delay that: all of it
    /// happens on a thread and runtime of its own, in real time. `None`, the default, where there is
    /// nothing to separate; the worker's own runtime does it then.
    fn independent(&self) -> Option<Arc<dyn Backend>> {
        None
    }

    /// Makes the queue if it is not there.
    ///
    /// Idempotent: a queue that is there is success, whatever its settings.
    /// Errors: [`ErrorKind::Unauthorized`] where this identity may not create queues.
    async fn create_queue(&self, queue: &QueueName, spec: &QueueSpec) -> Result<(), BackendError>;

    /// Whether these credentials let a worker serve the queue, as far as that shows without taking
    /// a message. A worker asks once, when it starts, and does not start if they do not.
    ///
    /// The default is that they do. Errors: [`ErrorKind::Unauthorized`] if they do not; any other
    /// error leaves it open.
    async fn check_access(&self, queue: &QueueName) -> Result<(), BackendError> {
        let _ = queue;
        Ok(())
    }

    /// Puts messages on a queue, at most [`Capabilities::max_send`] at once.
    ///
    /// Guarantees: an `Ok` item is stored durably by the service's own measure. Not idempotent:
    /// sending again may make a second message, unless the backend deduplicates by
    /// [`Outgoing::id`]. Errors per item: [`ErrorKind::TooLarge`], [`ErrorKind::QueueNotFound`],
    /// [`ErrorKind::Invalid`] for a delay above [`Capabilities::max_delay`]; a queue is never
    /// created by a send.
    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>>;

    /// Takes up to `request.max` visible messages under a lease.
    ///
    /// Returns at once if any message is visible; else after at most `request.wait` (only where
    /// [`Capabilities::long_poll`] allows a wait) or as soon as the request's
    /// [`interrupt`](ReceiveRequest::interrupt) fires, with an empty batch. A `max` above
    /// [`Capabilities::max_receive`] and a `wait` above the longest are cut; a `max` of 0 is
    /// [`ErrorKind::Invalid`].
    ///
    /// **Not cancel-safe**: a dropped call may have leased messages that nobody hears of until
    /// their lease ends. Await it to its end.
    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError>;

    /// Returns when a message may have become visible on the queue, or after `at_most`.
    ///
    /// A hint that saves idle polls: returning early is harmless, and late costs as much time.
    /// Cancel-safe. Backends that are told of new messages override it and set
    /// [`Capabilities::wakes`]; the default waits `at_most`.
    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        let _ = queue;
        tokio::time::sleep(at_most).await;
    }

    /// Extends leases to `lease` from now, at most [`Capabilities::max_renew`] at once, and gives
    /// the receipt that is valid from here on.
    ///
    /// After an error with [`outcome_unknown`](BackendError::outcome_unknown) the caller cannot
    /// know which receipt is valid.
    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>>;

    /// Gives a message back: visible again after `delay`, its body as it was.
    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError>;

    /// Rewrites the body and hides the message for `delay` from now, in one step that either
    /// happens whole or not at all.
    ///
    /// The receipt it returns is valid until the message is received again: with a delay as long
    /// as a lease this is a renewal that also rewrites. Message id, delivery count and insertion
    /// time stay. Needs [`Capabilities::replace`], else [`ErrorKind::Unsupported`].
    /// Errors: [`ErrorKind::TooLarge`] leaves message and receipt as they were.
    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError>;

    /// Removes messages for good, at most [`Capabilities::max_delete`] at once.
    ///
    /// A retry after a lost response gives [`ErrorKind::LeaseLost`], which then means success.
    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>>;

    /// Up to `max` visible messages from the front, without a lease and without counting a
    /// delivery; at most [`Capabilities::max_peek`] are returned whatever `max` says. Where that is
    /// 0, the answer is empty or [`ErrorKind::Unsupported`].
    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError>;

    /// How many messages there are; exact only with [`Capabilities::exact_stats`].
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError>;

    /// Removes every message of the queue, hidden and leased ones too, and gives their number
    /// where the service tells it. Receipts of what was there are stale afterwards.
    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError>;
}
