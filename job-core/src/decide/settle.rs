//! After a run: what its outcome means for the message.

use std::time::Duration;

use bytes::Bytes;

use super::{Gone, Later, PUT_BACK, Policy, Rules, Seen, Settlement, poison, rewrite};
use crate::backend::Capabilities;
use crate::envelope::{Envelope, error_text, millis};
use crate::sabotage::{Sabotage, sabotaged};
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
    // It was run, so it is known here: waiting for somebody who knows it begins anew.
    envelope.history.put_back = 0;
    envelope.history.put_back_millis = 0;
    match outcome {
        Outcome::Done => Settlement::Delete(Gone::Done),
        Outcome::Discard { .. } => Settlement::Delete(Gone::Discarded),
        Outcome::Retry { .. } if sabotaged(Sabotage::DropFailed) => Settlement::Delete(Gone::Done),
        Outcome::Retry { error, after } => {
            envelope.history.failed = envelope.history.failed.saturating_add(1);
            envelope.push_error(attempt, seen.now, error_text(&**error));
            if attempt >= envelope.options.max_attempts.unwrap_or(policy.max_attempts) {
                let reason = PoisonReason::AttemptsExhausted;
                return poison(envelope, verbatim, seen, reason, None, capabilities);
            }
            let delay = after.unwrap_or_else(|| policy.backoff.delay(attempt, rng));
            rewrite(envelope, seen, expires_in, delay, Later::Retry, capabilities)
        }
        Outcome::Permanent { error } => {
            envelope.history.failed = envelope.history.failed.saturating_add(1);
            envelope.push_error(attempt, seen.now, error_text(&**error));
            poison(envelope, verbatim, seen, PoisonReason::Permanent, None, capabilities)
        }
        Outcome::Snooze { delay } => {
            envelope.history.snoozed = envelope.history.snoozed.saturating_add(1);
            rewrite(envelope, seen, expires_in, *delay, Later::Snooze, capabilities)
        }
        Outcome::GivenBack => {
            envelope.history.given_back = envelope.history.given_back.saturating_add(1);
            if sabotaged(Sabotage::ChargeGiveBacks) {
                envelope.history.failed += 1;
            }
            if may_go_unsaid(&envelope, seen, capabilities) {
                return Settlement::Release { delay: Duration::ZERO, why: Later::GiveBack };
            }
            rewrite(envelope, seen, expires_in, Duration::ZERO, Later::GiveBack, capabilities)
        }
    }
}

/// Without rewriting it takes a new message to say that a job was given back. One such delivery
/// unsaid does no harm; many of them would look like a job that kills its workers.
fn may_go_unsaid(envelope: &Envelope<'_>, seen: Seen<'_>, capabilities: &Capabilities) -> bool {
    let unreported = envelope.history.unreported(seen.message_id, seen.count);
    !capabilities.replace && unreported.is_none_or(|n| n == 0)
}

/// Gives back a job that was received and not started, with its deliveries accounted for.
pub(crate) fn give_back_unstarted(
    mut envelope: Envelope<'_>,
    seen: Seen<'_>,
    capabilities: &Capabilities,
) -> Settlement {
    // Whether a marked start was a crash is for the next one to find out: there is no time to ask.
    let has_open_mark = envelope.history.open_mark(seen.message_id).is_some();
    let delay = std::mem::take(&mut envelope.delay_left);
    if has_open_mark || may_go_unsaid(&envelope, seen, capabilities) || !delay.is_zero() {
        return Settlement::Release { delay: Duration::ZERO, why: Later::GiveBack };
    }
    envelope.history.given_back = envelope.history.given_back.saturating_add(1);
    let seen = not_run(seen, &envelope);
    rewrite(envelope, seen, None, Duration::ZERO, Later::GiveBack, capabilities)
}

/// What a delivery accounts for that was not run: itself, but not a start before it that was never
/// reported. The next start is marked still; otherwise a job that kills its worker would have one
/// start for free after every delivery to a worker that does not know it.
fn not_run<'a>(seen: Seen<'a>, envelope: &Envelope<'_>) -> Seen<'a> {
    let unreported = envelope.history.unreported(seen.message_id, seen.count).unwrap_or(0);
    Seen { count: seen.count.map(|count| count - unreported.min(1)), ..seen }
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
    if envelope.foreign {
        let put_back = put_back_as_is(seen, rules, capabilities, rng);
        return put_back_event(&envelope, verbatim, put_back, seen, reason, problem, capabilities);
    }
    let history = &mut envelope.history;
    if history.put_back_sum() >= rules.put_back_limit {
        return poison(envelope, verbatim, seen, reason, Some(problem), capabilities);
    }
    history.put_back = history.put_back.saturating_add(1);
    let most = PUT_BACK.ceiling(history.put_back);
    let delay = most / 2 + up_to(most / 2, rng);
    history.put_back_millis = history.put_back_millis.saturating_add(millis::of(delay).max(1));
    let accounted = not_run(seen, &envelope);
    match rewrite(envelope, accounted, None, delay, Later::PutBack, capabilities) {
        // No room to write down how long it has waited, nor for the reason in the poison queue.
        Settlement::Release { .. } => put_back_as_is(seen, rules, capabilities, rng)
            .unwrap_or_else(|| Settlement::Poison { fence: None, copy: verbatim.clone(), reason }),
        settlement => settlement,
    }
}

/// An event that nobody knew what to do with stays one: an envelope would have a version of the
/// args, which only a worker that knows the job can tell.
fn put_back_event(
    envelope: &Envelope<'_>,
    verbatim: &Bytes,
    put_back: Option<Settlement>,
    seen: Seen<'_>,
    reason: PoisonReason,
    problem: String,
    capabilities: &Capabilities,
) -> Settlement {
    match put_back {
        // The mark of its start, which is an envelope, goes.
        Some(Settlement::Release { delay, why }) if envelope.history.started.is_some() => {
            Settlement::Rewrite { body: verbatim.clone(), delay, why }
        }
        Some(settlement) => settlement,
        None => {
            let Envelope { id, name, .. } = envelope;
            let wrapper = Envelope::wrapping(*id, name, verbatim, seen.inserted_at);
            poison(wrapper, verbatim, seen, reason, Some(problem), capabilities)
        }
    }
}

/// Puts back a message whose body cannot say for how long that has been going on. Both its count
/// and its age are upper bounds: deliveries may have had other reasons, and it may have been
/// waiting for something else. `None` once it has waited long enough by both.
pub(super) fn put_back_as_is(
    seen: Seen<'_>,
    rules: Rules,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Option<Settlement> {
    let age = seen.now.duration_since(seen.inserted_at).unwrap_or_default();
    let mut time = (1..).find(|n| sum_of_put_backs(*n) > age || is_longest(*n)).unwrap_or(1);
    let mut long_enough = age >= rules.put_back_limit;
    if let Some(count) = seen.count {
        time = time.min(count.max(1));
        long_enough &= sum_of_put_backs(count.saturating_sub(1)) >= rules.put_back_limit;
    }
    if long_enough {
        return None;
    }
    let most = PUT_BACK.ceiling(time).min(capabilities.max_delay);
    let delay = most / 2 + up_to(most / 2, rng);
    Some(Settlement::Release { delay, why: Later::PutBack })
}

/// The longest that `times` put-backs can take in sum.
fn sum_of_put_backs(times: u32) -> Duration {
    let mut sum = Duration::ZERO;
    for time in 1..=times {
        if is_longest(time) {
            let rest = PUT_BACK.ceiling(time).saturating_mul(times - time + 1);
            return sum.saturating_add(rest);
        }
        sum += PUT_BACK.ceiling(time);
    }
    sum
}

fn is_longest(time: u32) -> bool {
    PUT_BACK.ceiling(time) == PUT_BACK.ceiling(u32::MAX)
}
