//! One delivery under way: what was seen of it, and what that comes to. Pure, too.

use std::time::Duration;

use bytes::Bytes;
use job_core::backend::{MessageId, Receipt};
use job_core::{JobId, Outcome, QueueName};

use super::report::{Ended, Ran};
use super::wire::Wire;

/// One delivery, from the receive to the settlement.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) queue: QueueName,
    pub(super) receipt: Receipt,
    /// The message as it was when it was received, or rewritten while it was held.
    before: Wire,
    run: Option<Run>,
    ended: Option<Ended>,
    /// Every settlement of it is to fail.
    pub(super) refused: bool,
    /// What this worker remembers of it must not help the next delivery.
    pub(super) spoilt: bool,
}

/// The run of its handler.
#[derive(Debug)]
struct Run {
    job: String,
    id: JobId,
    attempt: u32,
    result: Option<Told>,
}

/// What the handler came to, before the worker has decided anything.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Done,
    Failed(String),
    Discarded(String),
    Snoozed,
    GivenBack,
}

impl Told {
    pub(super) fn of(result: &Result<Outcome, job_core::BoxError>) -> Self {
        match result {
            Ok(Outcome::Done) => Self::Done,
            Ok(Outcome::Retry { error, .. } | Outcome::Permanent { error }) => {
                Self::Failed(error.to_string())
            }
            Ok(Outcome::Discard { reason }) => Self::Discarded(reason.to_string()),
            Ok(Outcome::Snooze { .. }) => Self::Snoozed,
            Ok(_) => Self::GivenBack,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

impl Step {
    pub(super) fn new(receipt: Receipt, body: &Bytes) -> Self {
        Self {
            queue: receipt.queue().clone(),
            receipt,
            before: Wire::read(body),
            run: None,
            ended: None,
            refused: false,
            spoilt: false,
        }
    }

    pub(super) fn is_of(&self, receipt: &Receipt) -> bool {
        self.is_of_message(receipt.queue(), receipt.message_id())
    }

    fn is_of_message(&self, queue: &QueueName, message: &MessageId) -> bool {
        self.queue == *queue && self.receipt.message_id() == message
    }

    /// The job whose handler was started.
    pub(super) fn started_job(&self) -> Option<&str> {
        self.run.as_ref().map(|run| &*run.job)
    }

    pub(super) fn start(&mut self, job: &str, id: JobId, attempt: u32) {
        self.run = Some(Run { job: job.to_owned(), id, attempt, result: None });
    }

    pub(super) fn result(&mut self, told: Told) {
        if let Some(run) = &mut self.run {
            run.result = Some(told);
        }
    }

    /// Its message was deleted: how it ended, unless something else came before.
    pub(super) fn deleted(&mut self) -> &'static str {
        if self.ended.is_none() {
            self.ended = Some(match self.run.as_ref().map(|run| &run.result) {
                Some(Some(Told::Discarded(reason))) => Ended::Discarded { reason: reason.clone() },
                // Who was never started was too late, or done by an earlier delivery.
                None => Ended::Expired,
                Some(_) => Ended::Completed,
            });
        }
        self.ended.as_ref().map_or("", Ended::word)
    }

    /// Something was sent, perhaps in its place.
    pub(super) fn sent(&mut self, queue: &QueueName, body: &Bytes, delay: Duration) {
        let wire = Wire::read(body);
        if queue.is_poison() && self.queue.poison().is_ok_and(|own| own == *queue) {
            let reason = wire.poison.as_ref().map(|poison| poison.reason);
            let error = wire.poison.and_then(|poison| poison.error).or(wire.last_error);
            let reason = reason.unwrap_or(job_core::PoisonReason::Other);
            self.ended = Some(Ended::Poisoned { reason, error });
        } else if *queue == self.queue
            && wire.id.is_some()
            && wire.id == self.before.id
            && wire.history != self.before.history
        {
            self.ended = Some(self.later(&wire, delay));
        }
    }

    /// Its message was rewritten; whether the worker goes on holding it.
    pub(super) fn replaced(&mut self, receipt: Receipt, body: &Bytes, delay: Duration) -> bool {
        self.receipt = receipt;
        let wire = Wire::read(body);
        let fence = wire.poison.as_ref().is_some_and(super::wire::Poison::is_pending);
        let holds = fence || wire.history.started;
        if !holds {
            self.ended = Some(self.later(&wire, delay));
        }
        self.before = wire;
        holds
    }

    /// Its message was given back as it was.
    pub(super) fn released(&mut self, delay: Duration) {
        let ended = match self.run.as_ref().map(|run| &run.result) {
            None if self.before.delay_left > 0 => Ended::Hopped,
            None => Ended::PutBack { delay },
            Some(Some(Told::Snoozed)) => Ended::Snoozed { delay },
            Some(Some(Told::GivenBack)) => Ended::GivenBack,
            Some(Some(Told::Failed(error))) => Ended::Retried { error: error.clone(), delay },
            Some(_) => Ended::Retried { error: "it panicked or timed out".to_owned(), delay },
        };
        self.ended = Some(ended);
    }

    fn later(&self, after: &Wire, delay: Duration) -> Ended {
        let (was, is) = (self.before.history, after.history);
        if is.failed > was.failed {
            let error = after.last_error.clone().unwrap_or_default();
            Ended::Retried { error, delay }
        } else if is.snoozed > was.snoozed {
            Ended::Snoozed { delay: delay + Duration::from_millis(after.delay_left) }
        } else if is.put_back > was.put_back {
            Ended::PutBack { delay }
        } else if is.given_back > was.given_back {
            Ended::GivenBack
        } else {
            Ended::Hopped
        }
    }

    /// What it all came to. Nothing settled is a lost delivery.
    pub(super) fn finish(self, killed: bool) -> Ran {
        let Self { queue, before, run, ended, .. } = self;
        let (job, id, attempt) = match run {
            Some(Run { job, id, attempt, .. }) => (job, Some(id), attempt),
            None => (before.name().to_owned(), before.id, before.attempt()),
        };
        let ended = match ended {
            Some(ended) => ended,
            None if killed => Ended::Killed,
            None => Ended::Lost,
        };
        Ran { job, queue, id, attempt, ended }
    }

    /// The error of the handler, if it had its say and was not done.
    pub(super) fn failure(&self) -> Option<String> {
        match self.run.as_ref()?.result.as_ref()? {
            Told::Done => None,
            Told::Failed(error) => Some(error.clone()),
            Told::Discarded(reason) => Some(format!("it was discarded: {reason}")),
            Told::Snoozed => Some("it snoozed".to_owned()),
            Told::GivenBack => Some("it was given back".to_owned()),
        }
    }
}
