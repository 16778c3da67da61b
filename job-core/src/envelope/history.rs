//! What a job has been through: the part of the envelope that retries rewrite.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::millis;
use crate::backend::MessageId;
use crate::{PoisonReason, QueueName};

/// What a job has been through so far. All zero until the first attempt fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    /// Attempts that ended in an error, a panic or a timeout.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) failed: u32,
    /// Attempts that took their worker with them.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) crashed: u32,
    /// Times it put itself off.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) snoozed: u32,
    /// Times a shutdown gave it back.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) given_back: u32,
    /// Times it was put back because this worker did not know what to do with it.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) put_back: u32,
    /// The sum of the delays of those times.
    #[serde(rename = "put_back_ms", skip_serializing_if = "is_zero_u64")]
    pub(crate) put_back_millis: u64,
    /// The end of its life, once a rewrite had to fix it. By the server's clock.
    #[serde(with = "millis::option_time", skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<SystemTime>,
    /// A start that was announced and not yet reported on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Mark>,
    /// The last delivery that was accounted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<Mark>,
}

impl History {
    /// How many deliveries of this message are accounted for. Those of another message, of which
    /// this may be a copy, do not count.
    pub(crate) fn settled_count(&self, message: &MessageId) -> u32 {
        self.settled.as_ref().filter(|mark| mark.is_of(message)).map_or(0, |mark| mark.count)
    }

    /// How many deliveries of this message before this one, its `count`-th, were never reported
    /// on; `None` where nobody counts.
    pub(crate) fn unreported(&self, message: &MessageId, count: Option<u32>) -> Option<u32> {
        Some(count?.saturating_sub(self.settled_count(message)).saturating_sub(1))
    }

    /// The count of the mark, if a start of this message was announced and never reported on.
    pub(crate) fn open_mark(&self, message: &MessageId) -> Option<u32> {
        self.started.as_ref().filter(|mark| mark.is_of(message)).map(|mark| mark.count)
    }

    /// Accounts for this delivery and all before it.
    pub(crate) fn settle(&mut self, message: &MessageId, count: Option<u32>) {
        self.started = None;
        self.settled = count.map(|count| Mark { message_id: message.to_string(), count });
    }

    pub(crate) fn put_back_sum(&self) -> Duration {
        Duration::from_millis(self.put_back_millis)
    }

    /// Which attempt the next start is, counted from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.failed.saturating_add(self.crashed).saturating_add(1)
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_zero_u64(n: &u64) -> bool {
    *n == 0
}

/// One delivery of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) message_id: String,
    pub(crate) count: u32,
}

impl Mark {
    fn is_of(&self, message: &MessageId) -> bool {
        message.is_written(&self.message_id)
    }
}

/// The error of one attempt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptError {
    pub(crate) attempt: u32,
    #[serde(with = "millis::time")]
    pub(crate) at: SystemTime,
    pub(crate) error: String,
}

impl fmt::Debug for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptError").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// Why and since when a job is out of the running.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Poison {
    pub(crate) state: PoisonState,
    pub(crate) reason: PoisonReason,
    /// By the server's clock.
    #[serde(with = "millis::time")]
    pub(crate) at: SystemTime,
    /// The queue it comes from.
    pub(crate) queue: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Poison {
    pub(crate) fn new(
        reason: PoisonReason,
        at: SystemTime,
        queue: &QueueName,
        error: Option<String>,
    ) -> Self {
        Self { state: PoisonState::Pending, reason, at, queue: queue.to_string(), error }
    }
}

impl fmt::Debug for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poison")
            .field("state", &self.state)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// How far the move to the poison queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PoisonState {
    /// Decided: still on its queue, to be moved and never to be run again.
    Pending,
    /// In the poison queue.
    Final,
}
