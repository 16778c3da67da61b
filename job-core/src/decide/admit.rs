//! Before a run: is this message to be run here and now, and if not, what else?

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{Gone, Later, Message, Policy, Rules, Seen, Settlement, Suspects};
use super::{expiry, final_copy, poison, put_back, put_back_as_is, rewrite};
use crate::backend::Capabilities;
use crate::envelope::{DecodeError, Envelope, Mark, PoisonState, ROOM, cut};
use crate::sabotage::{Sabotage, sabotaged};
use crate::schedule::up_to;
use crate::{Backoff, JobId, PoisonReason};

/// Without body rewriting, or without room for it, no start can be marked. There a job that kills
/// its worker is bounded by its deliveries alone, generously, since lost receives count among them.
const UNMARKED_DELIVERIES_PER_CRASH: u32 = 5;

/// With so many crashes a job is a suspect: it has been there twice when its worker went away. It is
/// one with its first crash where there may not be another: by then it was to run alone once, or it
/// could be condemned for what ran beside it.
const SUSPECT: u32 = 2;

/// How long a suspect waits that cannot be handed over: longer each time, since many may be waiting.
const FIRST_WAIT: Duration = Duration::from_secs(2);

const CRASHED: &str = "the worker running this job went away without a word, or was blocked by it \
                       for longer than its timeout, again and again; look for aborts, stack \
                       overflows, out-of-memory kills and calls that block";

const RUNS_STILL: &str = "an earlier start of it may not be over yet in another process";

const WAITS: &str = "it was there when its process went away, more than once; it waits for its turn \
                     in the process for suspects";

/// What is to happen to a message that was just received.
#[expect(clippy::large_enum_variant, reason = "nearly all are runs, and a box would cost each one")]
pub(crate) enum Admission<'a, J> {
    /// Run it, after writing `mark` in place of its body (where there is one).
    Run { envelope: Envelope<'a>, job: J, mark: Option<Bytes> },
    /// Do not run it.
    Settle(Settlement, Refusal),
    /// Do not run it here: hand it over to the process for suspects; if that is busy, settle it so.
    HandOver(Settlement, Refusal),
    /// A start is marked in it, with that count. Ask who may know whether it was survived, and then
    /// again here; if it is not over yet, settle it so.
    Ask(u32, Settlement, Refusal),
}

/// Bodies hold job args, so only their length is shown.
impl<J: fmt::Debug> fmt::Debug for Admission<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { envelope, job, mark } => f
                .debug_struct("Run")
                .field("envelope", envelope)
                .field("job", job)
                .field("mark_len", &mark.as_ref().map(Bytes::len))
                .finish(),
            Self::Settle(settlement, refusal) => {
                f.debug_tuple("Settle").field(settlement).field(refusal).finish()
            }
            Self::HandOver(settlement, refusal) => {
                f.debug_tuple("HandOver").field(settlement).field(refusal).finish()
            }
            Self::Ask(mark, settlement, refusal) => {
                f.debug_tuple("Ask").field(mark).field(settlement).field(refusal).finish()
            }
        }
    }
}

/// Who was not run and why, for the log. Holds no args.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) id: Option<JobId>,
    pub(crate) name: Option<String>,
    pub(crate) problem: Option<String>,
}

impl Refusal {
    fn of(envelope: &Envelope<'_>, problem: Option<String>) -> Self {
        // A hostile name must not fill a log.
        Self { id: Some(envelope.id), name: Some(cut(&envelope.name, 120)), problem }
    }
}

/// What the worker knows of a job by its name.
pub(crate) trait Known: Copy {
    fn policy(&self) -> Policy;
    fn version(&self) -> u32;
}

/// Decides about a delivery before it is run. `find` looks a job up by its name.
pub(crate) fn admit<'a, J: Known>(
    message: &'a Message,
    seen: Seen<'_>,
    find: impl FnOnce(&str) -> Option<J>,
    rules: Rules,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Admission<'a, J> {
    let verbatim = &message.body;
    let mut envelope = match Envelope::of(message) {
        Ok(envelope) => envelope,
        Err(error) => {
            let refusal = Refusal { id: None, name: None, problem: Some(error.to_string()) };
            let settlement = undecodable(message, seen, error, rules, capabilities, rng);
            return Admission::Settle(settlement, refusal);
        }
    };

    match envelope.poison.as_ref().map(|poison| (poison.state, poison.reason)) {
        None => {}
        Some((PoisonState::Pending, reason)) => {
            let refusal = Refusal::of(&envelope, None);
            let copy = final_copy(envelope, capabilities).unwrap_or_else(|| verbatim.clone());
            return Admission::Settle(Settlement::Poison { fence: None, copy, reason }, refusal);
        }
        // Somebody moved it back from the poison queue by hand.
        Some((PoisonState::Final, _)) => envelope.start_afresh(),
    }

    if let Some(original) = &envelope.original {
        // The same, of a message that was no job: it is taken out of its wrapper to be looked at
        // again. The wrapper itself must never run, not even where its args would fit.
        let refusal = Refusal::of(&envelope, None);
        let settlement = match original.bytes() {
            Some(body) => Settlement::Rewrite { body, delay: Duration::ZERO, why: Later::PutBack },
            None => {
                let problem = Some("the original in it is not base64".to_owned());
                let reason = PoisonReason::Undecodable;
                poison(envelope, verbatim, seen, reason, problem, capabilities)
            }
        };
        return Admission::Settle(settlement, refusal);
    }

    let open_mark = envelope.history.open_mark(seen.message_id);
    let crashed_now = open_mark.is_some();
    if let Some(mark) = open_mark.filter(|_| !rules.asked) {
        // The mark may be there although nothing started, or the lease was lost and the process is
        // well. It stays, as the body does.
        let refusal = Refusal::of(&envelope, Some(RUNS_STILL.to_owned()));
        let longest_wait = match rules.suspects {
            Suspects::Elsewhere { longest_wait } => longest_wait,
            Suspects::Here => Duration::ZERO,
        };
        let delay = longest_wait / 4 + up_to(longest_wait / 2, rng);
        return Admission::Ask(mark, Settlement::Release { delay, why: Later::GiveBack }, refusal);
    }
    if crashed_now {
        envelope.history.started = None;
        envelope.history.crashed = envelope.history.crashed.saturating_add(1);
    }

    if sabotaged(Sabotage::LostIsCrashed) {
        let lost = envelope.history.unreported(seen.message_id, seen.count).unwrap_or(0);
        envelope.history.crashed += lost;
    }

    let job = find(&envelope.name);
    let expires_in = job.and_then(|job| job.policy().expires_in);
    let expires_at = expiry(&envelope, seen, expires_in);
    if expires_at.is_some_and(|at| seen.now >= at) {
        let refusal = Refusal::of(&envelope, None);
        return Admission::Settle(Settlement::Delete(Gone::Expired), refusal);
    }
    if !capabilities.replace {
        // Whatever is written from now on goes out as a new message, with a new time of insertion.
        envelope.history.expires_at = expires_at;
    }
    if !envelope.delay_left.is_zero()
        && let Some(hop) = hop(&envelope, seen, expires_in, capabilities)
    {
        return Admission::Settle(hop, Refusal::of(&envelope, None));
    }

    let (job, newer) = match job {
        Some(job) => (Some(job), envelope.args_version > job.version()),
        None => (None, false),
    };
    let Some(job) = job.filter(|_| !newer) else {
        let (reason, problem) = if newer {
            (
                PoisonReason::NewerArgs,
                format!("the args have version {}, newer than here", envelope.args_version),
            )
        } else {
            (PoisonReason::UnknownJob, "no handler of that name is registered here".to_owned())
        };
        let refusal = Refusal::of(&envelope, Some(problem.clone()));
        let settlement =
            put_back(envelope, verbatim, seen, reason, problem, rules, capabilities, rng);
        return Admission::Settle(settlement, refusal);
    };

    if envelope.foreign {
        // Its producer knows of no versions: it posts what the job takes.
        envelope.args_version = job.version();
        if !has_room(&envelope, capabilities) {
            // Its past may be too long to be written down, so it is what was counted, as on a raw
            // queue: every delivery is an attempt.
            let Some(count) = seen.count.filter(|_| capabilities.counts) else {
                let problem = Some("it leaves no room for what retries add".to_owned());
                let reason = PoisonReason::Undecodable;
                return refuse(envelope, message, seen, reason, problem, capabilities);
            };
            let before = count.saturating_sub(1);
            envelope.history.settle(seen.message_id, Some(before));
            envelope.history.failed = before;
        }
    }
    check_crashes(envelope, crashed_now, job, message, seen, rules, capabilities, rng)
}

/// Whether what retries add fits in any case, as it does for what a client enqueued.
fn has_room(envelope: &Envelope<'_>, capabilities: &Capabilities) -> bool {
    let limit = capabilities.max_body.saturating_sub(ROOM);
    envelope.encode().is_ok_and(|body| body.len() <= limit)
}

/// The next part of a delay longer than the backend's longest; `None` if it is over.
fn hop(
    envelope: &Envelope<'_>,
    seen: Seen<'_>,
    expires_in: Option<Duration>,
    capabilities: &Capabilities,
) -> Option<Settlement> {
    let left = envelope.delay_left;
    match rewrite(envelope.clone(), seen, expires_in, left, Later::Hop, capabilities) {
        // What is left cannot be written down, so it never gets less. It was sent with the longest
        // delay, and this much left.
        Settlement::Release { delay, why } => {
            let age = seen.now.duration_since(seen.inserted_at).unwrap_or_default();
            let left = left.saturating_add(capabilities.max_delay).saturating_sub(age);
            (!left.is_zero()).then(|| Settlement::Release { delay: delay.min(left), why })
        }
        hop => Some(hop),
    }
}

/// How many deliveries a delay took that could not be written down.
fn unwritten_hops(waited: Duration, capabilities: &Capabilities) -> u32 {
    if waited.is_zero() {
        return 0;
    }
    let hops = waited.as_millis() / capabilities.max_delay.as_millis().max(1);
    u32::try_from(hops).unwrap_or(u32::MAX).saturating_add(2)
}

/// A delivery whose predecessor was never reported may be one that its job has killed. Before it
/// runs, its start is written into the message; only a start that is found there by the next
/// delivery counts as a crash.
#[expect(
    clippy::too_many_arguments,
    reason = "all of it is needed, and a struct would be built once"
)]
fn check_crashes<'a, J: Known>(
    mut envelope: Envelope<'a>,
    crashed_now: bool,
    job: J,
    message: &Message,
    seen: Seen<'_>,
    rules: Rules,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Admission<'a, J> {
    let waited = std::mem::take(&mut envelope.delay_left);
    if sabotaged(Sabotage::NoCrashCheck) {
        return Admission::Run { envelope, job, mark: None };
    }
    let history = &envelope.history;
    let crash_limit = rules.crash_limit.max(1);
    let max_attempts = envelope.options.max_attempts.unwrap_or(job.policy().max_attempts);
    let unreported = history.unreported(seen.message_id, seen.count);

    let crashed_out = history.crashed >= crash_limit;
    if crashed_out || history.attempt() > max_attempts.max(1) {
        // A crash that was found by a worker that only put the job back is the reason still.
        let (reason, problem) = if crashed_out || crashed_now || history.failed == 0 {
            (PoisonReason::Crashed, Some(CRASHED.to_owned()))
        } else {
            (PoisonReason::AttemptsExhausted, None)
        };
        return refuse(envelope, message, seen, reason, problem, capabilities);
    }

    let is_last = history.crashed + 1 >= crash_limit || history.attempt() >= max_attempts;
    let suspect = history.crashed >= SUSPECT || (history.crashed > 0 && is_last);
    if suspect && let Suspects::Elsewhere { longest_wait } = rules.suspects {
        let refusal = Refusal::of(&envelope, Some(WAITS.to_owned()));
        let expires_in = job.policy().expires_in;
        let wait = Backoff::exponential(FIRST_WAIT.min(longest_wait), longest_wait);
        let settlement = make_wait(envelope, seen, expires_in, wait, capabilities, rng);
        return Admission::HandOver(settlement, refusal);
    }

    // Where nobody can tell, every start is marked.
    let unsure = suspect || crashed_now || !capabilities.counts || unreported.is_none_or(|n| n > 0);
    let mut mark = None;
    if unsure && capabilities.replace {
        // Where nobody counts, any number will do that tells this start from the others.
        let count = seen.count.unwrap_or_else(|| rng.u32(..));
        envelope.history.started = Some(Mark { message_id: seen.message_id.to_string(), count });
        mark = envelope.encode_within(capabilities.max_body);
    }
    let unmarked_limit = UNMARKED_DELIVERIES_PER_CRASH
        .saturating_mul(crash_limit)
        .saturating_add(unwritten_hops(waited, capabilities));
    if mark.is_none() && unreported.is_some_and(|n| n >= unmarked_limit) {
        let (reason, problem) = (PoisonReason::Crashed, Some(CRASHED.to_owned()));
        return refuse(envelope, message, seen, reason, problem, capabilities);
    }
    Admission::Run { envelope, job, mark }
}

/// Gives a suspect back, not charged, with all that is known of it written down.
fn make_wait(
    mut envelope: Envelope<'_>,
    seen: Seen<'_>,
    expires_in: Option<Duration>,
    wait: Backoff,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Settlement {
    envelope.history.given_back = envelope.history.given_back.saturating_add(1);
    let most = wait.ceiling(envelope.history.given_back);
    let delay = most / 2 + up_to(most / 2, rng);
    rewrite(envelope, seen, expires_in, delay, Later::GiveBack, capabilities)
}

fn refuse<'a, J>(
    envelope: Envelope<'a>,
    message: &Message,
    seen: Seen<'_>,
    reason: PoisonReason,
    problem: Option<String>,
    capabilities: &Capabilities,
) -> Admission<'a, J> {
    let refusal = Refusal::of(&envelope, problem.clone());
    let settlement = poison(envelope, &message.body, seen, reason, problem, capabilities);
    Admission::Settle(settlement, refusal)
}

/// Not an envelope of ours. One of a newer format is put back, but never rewritten.
fn undecodable(
    message: &Message,
    seen: Seen<'_>,
    error: DecodeError,
    rules: Rules,
    capabilities: &Capabilities,
    rng: &mut fastrand::Rng,
) -> Settlement {
    let newer = matches!(error, DecodeError::NewerFormat(_));
    if newer && let Some(settlement) = put_back_as_is(seen, rules, capabilities, rng) {
        return settlement;
    }
    let reason = if newer { PoisonReason::NewerFormat } else { PoisonReason::Undecodable };
    let envelope = Envelope::around(message, seen.queue);
    poison(envelope, &message.body, seen, reason, Some(error.to_string()), capabilities)
}
