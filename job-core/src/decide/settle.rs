//! After a run: what its outcome means for the message.

use bytes::Bytes;

use super::{Gone, Later, PUT_BACK, Policy, Rules, Seen, Settlement, poison, rewrite};
use crate::backend::Capabilities;
use crate::envelope::{Envelope, error_text, millis};
use crate::schedule::up_to;
use crate::{Outcome, PoisonReason};

/// Decides about a delivery after it was run.
pub(crate) fn decide(
    mut envelope: Envelope<'_>,
    verbatim: &Bytes,
    seen: Seen<'_>,
    outcome: &Outcome,
    policy: Policy,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Settlement {
    let expires_in = policy.expires_in;
    let attempt = envelope.history.attempt();
    match outcome {
        Outcome::Done => Settlement::Delete(Gone::Done),
        Outcome::Discard { .. } => Settlement::Delete(Gone::Discarded),
        Outcome::Retry { error, after } => {
            envelope.history.failed = envelope.history.failed.saturating_add(1);
            envelope.push_error(attempt, seen.now, error_text(error));
            if attempt >= envelope.options.max_attempts.unwrap_or(policy.max_attempts) {
                let reason = PoisonReason::AttemptsExhausted;
                return poison(envelope, verbatim, seen, reason, None, capabilities);
            }
            let delay = after.unwrap_or_else(|| policy.backoff.delay(attempt, rng));
            rewrite(envelope, seen, expires_in, delay, Later::Retry, capabilities)
        }
        Outcome::Permanent { error } => {
            envelope.history.failed = envelope.history.failed.saturating_add(1);
            envelope.push_error(attempt, seen.now, error_text(error));
            poison(envelope, verbatim, seen, PoisonReason::Permanent, None, capabilities)
        }
        Outcome::Snooze { delay } => {
            envelope.history.snoozed = envelope.history.snoozed.saturating_add(1);
            rewrite(envelope, seen, expires_in, *delay, Later::Snooze, capabilities)
        }
        Outcome::GivenBack => {
            envelope.history.given_back = envelope.history.given_back.saturating_add(1);
            // Without rewriting it takes a new message to say so. One give-back unsaid does no
            // harm; many of them would look like a job that kills its workers.
            let unreported = envelope.history.unreported(seen.message_id, seen.count);
            if !capabilities.replace && unreported.is_none_or(|n| n == 0) {
                return Settlement::Release { delay: Default::default(), why: Later::GiveBack };
            }
            rewrite(envelope, seen, expires_in, Default::default(), Later::GiveBack, capabilities)
        }
    }
}

/// Puts back a job that this worker does not know what to do with, since a newer worker may; once
/// it has been put back for long enough in sum, to the poison queue.
#[expect(
    clippy::too_many_arguments,
    reason = "all of it is needed, and a struct would be built once"
)]
pub(crate) fn put_back(
    mut envelope: Envelope<'_>,
    verbatim: &Bytes,
    seen: Seen<'_>,
    reason: PoisonReason,
    problem: String,
    rules: Rules,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Settlement {
    let history = &mut envelope.history;
    if history.put_back_sum() >= rules.put_back_limit {
        return poison(envelope, verbatim, seen, reason, Some(problem), capabilities);
    }
    history.put_back = history.put_back.saturating_add(1);
    let most = PUT_BACK.ceiling(history.put_back);
    let delay = most / 2 + up_to(most / 2, rng);
    history.put_back_millis = history.put_back_millis.saturating_add(millis::of(delay).max(1));
    rewrite(envelope, seen, None, delay, Later::PutBack, capabilities)
}
