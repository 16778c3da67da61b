//! Raw queues: messages posted by anyone, whose body is never rewritten.
//!
//! All that is known of a job's past is how often it was delivered, so every delivery is an
//! attempt, those that a deploy cut short and those that snoozed included.

use std::time::Duration;

use bytes::Bytes;

use super::{Gone, Later, Message, Policy, Seen, Settlement, poison};
use crate::backend::Capabilities;
use crate::envelope::{Envelope, error_text};
use crate::{JobId, Outcome, PoisonReason};

/// The job that a message of a raw queue is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawJob {
    pub(crate) id: JobId,
    pub(crate) name: &'static str,
}

/// Which attempt this delivery is.
pub(crate) fn attempt(seen: Seen<'_>) -> u32 {
    seen.count.unwrap_or(1).max(1)
}

/// Decides before a run; `None` means run it.
pub(crate) fn admit(
    message: &Message,
    job: RawJob,
    seen: Seen<'_>,
    policy: Policy,
    capabilities: &Capabilities,
) -> Option<Settlement> {
    let expires_at = policy.expires_in.and_then(|d| seen.inserted_at.checked_add(d));
    if expires_at.is_some_and(|at| seen.now >= at) {
        return Some(Settlement::Delete(Gone::Expired));
    }
    if attempt(seen) > policy.max_attempts.max(1) {
        let error = "every attempt ended without a word: worker crashes, deploys or lost leases";
        let reason = PoisonReason::AttemptsExhausted;
        return Some(to_poison(message, job, seen, reason, error.into(), capabilities));
    }
    None
}

/// Decides after a run.
pub(crate) fn decide(
    message: &Message,
    job: RawJob,
    seen: Seen<'_>,
    outcome: &Outcome,
    policy: Policy,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Settlement {
    let later = |delay: Duration, why| Settlement::Release {
        delay: delay.min(capabilities.max_delay),
        why,
    };
    match outcome {
        Outcome::Done => Settlement::Delete(Gone::Done),
        Outcome::Discard { .. } => Settlement::Delete(Gone::Discarded),
        Outcome::Retry { error, .. } if attempt(seen) >= policy.max_attempts => {
            let reason = PoisonReason::AttemptsExhausted;
            to_poison(message, job, seen, reason, error_text(&**error), capabilities)
        }
        Outcome::Retry { after, .. } => {
            later(after.unwrap_or_else(|| policy.backoff.delay(attempt(seen), rng)), Later::Retry)
        }
        Outcome::Permanent { error } => {
            let reason = PoisonReason::Permanent;
            to_poison(message, job, seen, reason, error_text(&**error), capabilities)
        }
        Outcome::Snooze { delay } => later(*delay, Later::Snooze),
        Outcome::GivenBack => later(Duration::ZERO, Later::GiveBack),
    }
}

/// Decides about a body that does not fit the job's type.
pub(crate) fn misfit(
    message: &Message,
    job: RawJob,
    seen: Seen<'_>,
    problem: String,
    policy: Policy,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Settlement {
    if attempt(seen) >= policy.max_attempts {
        return to_poison(message, job, seen, PoisonReason::BadArgs, problem, capabilities);
    }
    let delay = policy.backoff.delay(attempt(seen), rng).min(capabilities.max_delay);
    Settlement::Release { delay, why: Later::PutBack }
}

/// Without the fence: it would rewrite the body.
fn to_poison(
    message: &Message,
    job: RawJob,
    seen: Seen<'_>,
    reason: PoisonReason,
    error: String,
    capabilities: &Capabilities,
) -> Settlement {
    let bytes: &Bytes = &message.body;
    let envelope = Envelope::wrapping(job.id, job.name, bytes, message.inserted_at);
    match poison(envelope, bytes, seen, reason, Some(error), capabilities) {
        Settlement::Poison { copy, reason, .. } => Settlement::Poison { fence: None, copy, reason },
        other => other,
    }
}
