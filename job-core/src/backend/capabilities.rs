//! What a backend can do, as data.

use std::time::Duration;

/// What a backend can and cannot do.
///
/// Worker, client and conformance suite decide by these values and never by a backend's name.
/// Start from [`Capabilities::minimal`] and set what is better:
///
/// ```
/// use std::time::Duration;
/// use job_core::backend::Capabilities;
///
/// let mut capabilities = Capabilities::minimal();
/// capabilities.max_receive = 32;
/// capabilities.max_delay = Duration::from_secs(7 * 24 * 3600);
/// capabilities.replace = true;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The longest wait that a receive honours; `None` if it always returns at once.
    pub long_poll: Option<Duration>,
    /// Whether [`wait_visible`](super::Backend::wait_visible) really is told of new messages, and
    /// returns at once if one is there already. Of a backend that says so and is not
    /// [`remote`](Self::remote), a worker hears of new messages in no other way: what wraps it
    /// passes that call on.
    pub wakes: bool,
    /// The longest delay of a send, release or replace. Longer ones are made of hops.
    pub max_delay: Duration,
    /// Delays and leases are rounded up to a multiple of this.
    pub granularity: Duration,
    /// The shortest lease.
    pub min_lease: Duration,
    /// The longest lease.
    pub max_lease: Duration,
    /// The longest body in bytes, as given to `send` and `replace`, that is accepted whatever it holds.
    pub max_body: usize,
    /// The most messages in one send.
    pub max_send: usize,
    /// The most messages that one receive gives.
    pub max_receive: usize,
    /// The most receipts in one delete.
    pub max_delete: usize,
    /// The most receipts in one renew.
    pub max_renew: usize,
    /// The most messages that a peek gives; 0 if it cannot peek.
    pub max_peek: usize,
    /// Whether `replace` works: the body rewritten and the message hidden in one step.
    pub replace: bool,
    /// Whether every delivery carries a count that rises by one with each delivery.
    pub counts: bool,
    /// Whether `stats` is exact rather than an estimate.
    pub exact_stats: bool,
    /// Whether a message's TTL is honoured. Without it messages stay for ever.
    pub ttl: bool,
    /// Whether a second send of the same [`Outgoing::id`](super::Outgoing::id) is dropped.
    pub deduplicates: bool,
    /// Whether a call leaves the process.
    pub remote: bool,
}

impl Capabilities {
    /// The least that a backend can offer: one message at a time, no rewriting, no counts.
    pub const fn minimal() -> Self {
        Self {
            long_poll: None,
            wakes: false,
            max_delay: Duration::from_secs(15 * 60),
            granularity: Duration::from_secs(1),
            min_lease: Duration::from_secs(1),
            max_lease: Duration::from_secs(12 * 60 * 60),
            max_body: 48 * 1024,
            max_send: 1,
            max_receive: 1,
            max_delete: 1,
            max_renew: 1,
            max_peek: 0,
            replace: false,
            counts: false,
            exact_stats: false,
            ttl: false,
            deduplicates: false,
            remote: true,
        }
    }
}
