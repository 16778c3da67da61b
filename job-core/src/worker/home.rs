//! What a worker knows of the process that it is in, where that is one of a supervisor's: whom it
//! tells how it is doing, and where suspects come from or go to.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::lease::Held;
use super::report::Counters;
use crate::QueueName;
use crate::backend::{Batch, Delivery, MessageId};

/// A process under a supervisor.
#[async_trait]
pub(crate) trait Home: fmt::Debug + Send + Sync {
    /// The worker has found its queues and starts.
    fn serving(&self, queues: &[QueueName], grace: Duration, counters: &Arc<Counters>);

    /// Ends when the grace time of a worker that was asked to stop begins: at once, unless its
    /// process is replaced and nobody is in a hurry.
    async fn unhurried(&self);

    /// Its number among the processes, from 1 on; 0 is the one for suspects.
    #[cfg(feature = "http")]
    fn place(&self) -> u16;

    /// Whether this is the process that suspects are handed over to. It receives nothing else.
    fn is_for_suspects(&self) -> bool;

    /// Asks to hand one suspect over; `None` if that process has one already. Cancel-safe.
    async fn claim(&self) -> Option<Box<dyn Claim>>;

    /// A start is about to be marked in a message, with that count. If it is not over `within` that
    /// time, its job hangs.
    fn marked(&self, queue: &QueueName, message: &MessageId, mark: u32, within: Duration);

    /// That start is over. If `survived`, its mark may be there still, and is that of no crash.
    fn over(&self, queue: &QueueName, message: &MessageId, mark: u32, survived: bool);

    /// What the supervisor knows of the start that is marked so in a message. Cancel-safe.
    async fn fate(&self, queue: &QueueName, message: &MessageId, mark: u32) -> Fate;

    /// The suspect of that queue is done with.
    fn done(&self, queue: &QueueName);

    /// The next suspect of a queue; by asking for it, the one before is done with. Cancel-safe.
    async fn suspect(&self, queue: &QueueName) -> Handed;
}

/// What became of a marked start, as far as the supervisor knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// Its process lives, and has said that it is over.
    Survived,
    /// Its process lives, and has not said so.
    Open,
    /// Its process is gone, or it hangs, or it was never heard of.
    Unknown,
}

/// The right to hand one suspect over. Dropping it gives the right up.
pub(crate) trait Claim: Send {
    fn hand_over(self: Box<Self>, suspect: Handed);
}

/// A message that one process hands over to another, with its lease.
pub(crate) struct Handed {
    pub(crate) held: Held,
    pub(crate) count: Option<u32>,
    pub(crate) inserted_at: SystemTime,
    /// The server's time of the handover.
    pub(crate) server_now: SystemTime,
    pub(crate) body: Bytes,
}

impl Handed {
    /// As if it had been received, and when the request for that was sent.
    pub(crate) fn received(self, lease: Duration) -> (Batch, Instant) {
        let Self { held, count, inserted_at, server_now, body, .. } = self;
        let mut delivery = Delivery::new(held.receipt, inserted_at, body);
        delivery.count = count;
        let sent_at = held.deadline.checked_sub(lease).unwrap_or(held.deadline);
        (Batch::new(vec![delivery], server_now), sent_at)
    }
}
