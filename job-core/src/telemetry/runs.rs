//! What became of a message: one log line, and one count.

use tokio::time::Instant;

use super::events::{self, Since};
use super::meters::{Deferred, JobMeters, QueueMeters, RunOutcome};
use crate::backend::MessageId;
use crate::decide::{Gone, Later, Refusal, Settlement};
use crate::{JobId, Outcome, QueueName};

/// A job by its id and its name.
pub(crate) type JobName = (JobId, &'static str);

/// Whose message it is, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) message_id: &'a MessageId,
    pub(crate) id: Option<JobId>,
    pub(crate) job: Option<&'static str>,
}

/// The same, for what outlives the message.
#[derive(Clone, Debug)]
pub(crate) struct OwnedWhose {
    message_id: MessageId,
    id: Option<JobId>,
    job: Option<&'static str>,
}

impl Whose<'_> {
    pub(crate) fn into_owned(self) -> OwnedWhose {
        let Self { message_id, id, job } = self;
        OwnedWhose { message_id: message_id.clone(), id, job }
    }
}

impl OwnedWhose {
    pub(crate) fn whose(&self) -> Whose<'_> {
        let Self { message_id, id, job } = self;
        Whose { message_id, id: *id, job: *job }
    }
}

/// A job that was started, or was to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) queue: &'a QueueName,
    pub(crate) id: JobId,
    pub(crate) job: &'static str,
    pub(crate) attempt: u32,
    pub(crate) began: Option<Instant>,
    pub(crate) meters: &'a JobMeters,
}

impl Told<'_> {
    /// Its run came to an end.
    pub(crate) fn ended(self, outcome: &Outcome, settlement: &Settlement) {
        let Self { queue, id, job, attempt, meters, began } = self;
        let duration = Since(began);
        match (outcome, settlement) {
            (Outcome::Done, _) => {
                meters.ran(began, RunOutcome::Done);
                events::job_done(queue, id, job, attempt, duration);
            }
            (
                Outcome::Retry { error, .. } | Outcome::Permanent { error },
                Settlement::Poison { reason, .. },
            ) => {
                meters.ran(began, RunOutcome::Failed);
                meters.poisoned(*reason);
                events::job_poisoned(queue, id, job, attempt, error, *reason, duration);
            }
            (Outcome::Retry { error, .. } | Outcome::Permanent { error }, settlement) => {
                meters.ran(began, RunOutcome::Failed);
                meters.retried();
                let delay = settlement.delay();
                events::job_retried(queue, id, job, attempt, error, delay, duration);
            }
            (Outcome::Discard { reason }, _) => {
                meters.ran(began, RunOutcome::Discarded);
                events::job_discarded(queue, id, job, attempt, reason);
            }
            (Outcome::Snooze { delay }, _) => {
                meters.ran(began, RunOutcome::Snoozed);
                events::job_snoozed(queue, id, job, *delay);
            }
            (Outcome::GivenBack, _) => {
                meters.ran(began, RunOutcome::GivenBack);
                events::job_given_back(queue, id, job, attempt);
            }
        }
    }

    /// Its args are not what the job takes.
    pub(crate) fn misfit(self, problem: &str, settlement: &Settlement) {
        let Self { queue, id, job, attempt, meters, .. } = self;
        match settlement {
            Settlement::Poison { reason, .. } => {
                meters.poisoned(*reason);
                events::args_poisoned(queue, id, job, attempt, problem, *reason);
            }
            later => {
                meters.deferred(Deferred::Args);
                events::args_put_back(queue, id, job, attempt, problem, later.delay());
            }
        }
    }
}

/// A message was not run at all.
pub(crate) fn refused(
    queue: &QueueName,
    message_id: &MessageId,
    meters: &QueueMeters,
    job_meters: Option<&JobMeters>,
    settlement: &Settlement,
    refusal: &Refusal,
) {
    let Refusal { id, name, problem } = refusal;
    let (id, job, problem) = (*id, name.as_deref(), problem.as_deref());
    // A name that nobody here knows is no label: there is no end to those.
    let meters = job_meters.unwrap_or_else(|| meters.unknown_job());
    match settlement {
        Settlement::Poison { reason, .. } => {
            meters.poisoned(*reason);
            events::message_poisoned(queue, message_id, id, job, *reason, problem);
        }
        Settlement::Delete(Gone::Expired) => {
            meters.expired();
            events::job_expired(queue, id, job);
        }
        // That takes a run.
        Settlement::Delete(Gone::Done | Gone::Discarded) => {}
        Settlement::Rewrite { why, delay, .. } | Settlement::Release { why, delay } => {
            if *why == Later::Hop {
                meters.deferred(Deferred::NotDue);
                return events::job_not_due(queue, id, job, *delay);
            }
            let suspect = *why == Later::GiveBack;
            meters.deferred(if suspect { Deferred::Suspect } else { Deferred::Unknown });
            events::job_put_back(queue, message_id, id, job, problem, *delay);
        }
    }
}
