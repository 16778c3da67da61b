//! What is to happen to a delivery: pure functions of the message, what is known of its delivery,
//! and what came of its run.
//!
//! [`admit`] decides before a run, [`decide`] after it, [`raw`] both for queues whose messages are
//! not envelopes. None of them does I/O or looks at a clock; the worker carries out what they say.
//!
//! Invariant: every [`Settlement`] but [`Settlement::Delete`] keeps the job, with its id and args.

mod admit;
mod fresh;
pub(crate) mod raw;
mod settle;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub(crate) use self::admit::{Admission, Known, Refusal, admit};
pub(crate) use self::fresh::admit_fresh;
use self::settle::put_back_as_is;
pub(crate) use self::settle::{decide, give_back_unstarted, put_back};
use crate::backend::{Capabilities, Delivery, MessageId, Receipt};
use crate::envelope::{Envelope, Poison, PoisonState};
use crate::{Backoff, PoisonReason, QueueName};

/// A message that was received, without its receipt: that is in the book of leases, and nobody who
/// decides has any use for it.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) message_id: MessageId,
    pub(crate) count: Option<u32>,
    pub(crate) inserted_at: SystemTime,
    pub(crate) body: Bytes,
}

impl Message {
    pub(crate) fn split(delivery: Delivery) -> (Self, Receipt) {
        let Delivery { message_id, receipt, count, inserted_at, body } = delivery;
        (Self { message_id, count, inserted_at, body }, receipt)
    }
}

/// Bodies hold job args, so only their length is shown.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("message_id", &self.message_id)
            .field("count", &self.count)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What is known of a delivery besides its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) queue: &'a QueueName,
    pub(crate) message_id: &'a MessageId,
    pub(crate) count: Option<u32>,
    pub(crate) inserted_at: SystemTime,
    /// The server's time of the receive; a run's own length is added for later decisions.
    pub(crate) now: SystemTime,
}

/// What job, queue and worker say about a job, already put in order of precedence. What the call
/// said is in the envelope and goes before all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) max_attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) expires_in: Option<Duration>,
}

/// What holds for all messages of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How many times a job may take its worker with it.
    pub(crate) crash_limit: u32,
    /// How long in sum a job is put back that this worker does not know what to do with.
    pub(crate) put_back_limit: Duration,
    /// Whether this worker runs jobs that may be about to take it with them.
    pub(crate) suspects: Suspects,
    /// Whether who may know was asked about the start that is marked in the message. Where that was
    /// survived, its mark has been taken out.
    pub(crate) asked: bool,
}

/// Where suspects run: jobs of which two starts or more ended with the worker going away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Suspects {
    /// Here, like all others.
    #[default]
    Here,
    /// In a process of their own, one at a time.
    Elsewhere {
        /// The longest that one waits before it asks again whether it is its turn.
        longest_wait: Duration,
    },
}

/// What the worker is to do with a message.
#[derive(Clone)]
pub(crate) enum Settlement {
    /// Nothing is left to do for this job.
    Delete(Gone),
    /// Later, with a new body.
    Rewrite { body: Bytes, delay: Duration, why: Later },
    /// Later, with the body as it is.
    Release { delay: Duration, why: Later },
    /// To the poison queue: first `fence` in place of the body (where there is one), so that it
    /// never runs again; then `copy` to the poison queue; then it is deleted here.
    Poison { fence: Option<Bytes>, copy: Bytes, reason: PoisonReason },
}

impl Settlement {
    /// How long until the job comes again; zero if it does not.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Rewrite { delay, .. } | Self::Release { delay, .. } => *delay,
            Self::Delete(_) | Self::Poison { .. } => Duration::ZERO,
        }
    }
}

/// Bodies hold job args, so only their length is shown.
impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(gone) => f.debug_tuple("Delete").field(gone).finish(),
            Self::Rewrite { body, delay, why } => f
                .debug_struct("Rewrite")
                .field("body_len", &body.len())
                .field("delay", delay)
                .field("why", why)
                .finish(),
            Self::Release { delay, why } => {
                f.debug_struct("Release").field("delay", delay).field("why", why).finish()
            }
            Self::Poison { fence, copy, reason } => f
                .debug_struct("Poison")
                .field("fence_len", &fence.as_ref().map(Bytes::len))
                .field("copy_len", &copy.len())
                .field("reason", reason)
                .finish(),
        }
    }
}

/// Why a job is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    Done,
    Discarded,
    Expired,
}

/// Why a job comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    Retry,
    Snooze,
    GiveBack,
    PutBack,
    Hop,
}

/// How messages that this worker does not know what to do with are put back: at first within
/// seconds, since a deploy may just be under way, then every quarter of an hour.
const PUT_BACK: Backoff =
    Backoff::exponential(Duration::from_secs(5), Duration::from_secs(15 * 60));

/// The same job later: all that happened so far accounted for, a delay longer than the backend's
/// longest cut into hops.
fn rewrite(
    mut envelope: Envelope<'_>,
    seen: Seen<'_>,
    policy_expiry: Option<Duration>,
    delay: Duration,
    why: Later,
    capabilities: &Capabilities,
) -> Settlement {
    let hop = delay.min(capabilities.max_delay);
    envelope.delay_left = delay - hop;
    envelope.history.settle(seen.message_id, seen.count);
    if !capabilities.replace {
        // The new body goes out as a new message, which has a new time of insertion.
        envelope.history.expires_at = expiry(&envelope, seen, policy_expiry);
    }
    match envelope.encode_within(capabilities.max_body) {
        Some(body) => Settlement::Rewrite { body, delay: hop, why },
        // Better to forget what happened than to lose the job or run it at once.
        None => Settlement::Release { delay: hop, why },
    }
}

/// Out of the running, with the reason.
fn poison(
    mut envelope: Envelope<'_>,
    verbatim: &Bytes,
    seen: Seen<'_>,
    reason: PoisonReason,
    error: Option<String>,
    capabilities: &Capabilities,
) -> Settlement {
    envelope.history.settle(seen.message_id, seen.count);
    envelope.delay_left = Duration::ZERO;
    envelope.poison = Some(Poison::new(reason, seen.now, seen.queue, error));
    let fence = capabilities.replace.then(|| envelope.encode_within(capabilities.max_body));
    Settlement::Poison {
        fence: fence.flatten(),
        copy: final_copy(envelope, capabilities).unwrap_or_else(|| verbatim.clone()),
        reason,
    }
}

fn final_copy(mut envelope: Envelope<'_>, capabilities: &Capabilities) -> Option<Bytes> {
    envelope.poison.as_mut()?.state = PoisonState::Final;
    envelope.encode_within(capabilities.max_body)
}

/// When the job is no longer worth running, by the server's clock.
fn expiry(envelope: &Envelope<'_>, seen: Seen<'_>, policy: Option<Duration>) -> Option<SystemTime> {
    envelope.history.expires_at.or_else(|| {
        let expires_in = envelope.options.expires_in.or(policy)?;
        seen.inserted_at.checked_add(expires_in)
    })
}
