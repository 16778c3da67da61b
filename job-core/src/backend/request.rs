//! What a backend is asked: messages to send, receives, queue settings.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{JobId, QueueName};

/// One message to send.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outgoing {
    /// The body: any bytes up to [`Capabilities::max_body`](super::Capabilities::max_body).
    pub body: Bytes,
    /// How long it stays hidden first. Zero by default.
    pub delay: Duration,
    /// How long until the service drops it; `None`, the default, means never.
    pub ttl: Option<Duration>,
    /// A hint for services that drop a second message with the same id.
    pub id: Option<JobId>,
}

impl Outgoing {
    /// A message that is visible at once and never expires.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), delay: Duration::ZERO, ttl: None, id: None }
    }

    /// Hides it first.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Lets the service drop it after that time. Work that must not be lost has none.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the id that a deduplicating service goes by.
    #[must_use]
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }
}

/// Bodies hold job args, so only their length is shown.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("id", &self.id)
            .field("delay", &self.delay)
            .field("ttl", &self.ttl)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A request for messages under a lease.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiveRequest {
    /// The queue to take from.
    pub queue: QueueName,
    /// The most messages to take; 1 by default. A backend may give fewer although more are
    /// there, and never gives more than [`Capabilities::max_receive`](super::Capabilities::max_receive).
    pub max: usize,
    /// How long they stay hidden from others; 60 s by default.
    pub lease: Duration,
    /// How long to wait for a first message; zero by default.
    pub wait: Duration,
    /// Ends the wait early, with an empty batch. Never ends a receive that has leased something.
    pub interrupt: Option<CancellationToken>,
}

impl ReceiveRequest {
    /// One message, under a lease of 60 s, without waiting.
    pub fn new(queue: QueueName) -> Self {
        Self {
            queue,
            max: 1,
            lease: Duration::from_secs(60),
            wait: Duration::ZERO,
            interrupt: None,
        }
    }

    /// Sets the most messages to take.
    #[must_use]
    pub fn max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Sets the lease.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long to wait for a first message, where the backend can.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Lets `token` end the wait.
    #[must_use]
    pub fn interrupt(mut self, token: CancellationToken) -> Self {
        self.interrupt = Some(token);
        self
    }
}

/// Settings of a queue that is to be made. Backends ignore what they have no use for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSpec {
    /// The lease that most receives will ask for, for services that fix it with the queue.
    pub lease: Option<Duration>,
}

impl QueueSpec {
    /// Sets the lease that most receives will ask for.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }
}
