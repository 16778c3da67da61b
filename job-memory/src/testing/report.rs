//! What was run, and how it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use job_core::duration::to_text;
use job_core::{Job, JobId, PoisonReason, QueueName};

/// How one delivery of a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The job is done.
    Completed,
    /// It failed, and is tried again after the delay.
    Retried {
        /// The error, with its causes.
        error: String,
        /// The backoff, or what the handler asked for.
        delay: Duration,
    },
    /// It was moved to the poison queue.
    Poisoned {
        /// Why.
        reason: PoisonReason,
        /// What in particular, or the error of the last attempt.
        error: Option<String>,
    },
    /// Its handler dropped it.
    Discarded {
        /// Why.
        reason: String,
    },
    /// It put itself off.
    Snoozed {
        /// For how long.
        delay: Duration,
    },
    /// It came too late and was dropped, or was found to be done already.
    Expired,
    /// The worker did not know what to do with it.
    PutBack {
        /// Until it is looked at again.
        delay: Duration,
    },
    /// A layer gave it back.
    GivenBack,
    /// Its worker was killed by [`kill_mid_run`](super::TestJobs::kill_mid_run) or
    /// [`kill_before_settle`](super::TestJobs::kill_before_settle). It comes again when its lease
    /// ends.
    Killed,
    /// The worker lost its lease, or could not settle it: it comes again.
    Lost,
    /// One more part of a delay that is longer than the backend's longest is over.
    Hopped,
}

impl Ended {
    /// What it is called in a report.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retried { .. } => "retried",
            Self::Poisoned { .. } => "poisoned",
            Self::Discarded { .. } => "discarded",
            Self::Snoozed { .. } => "snoozed",
            Self::Expired => "expired",
            Self::PutBack { .. } => "put back",
            Self::GivenBack => "given back",
            Self::Killed => "killed",
            Self::Lost => "lost",
            Self::Hopped => "hopped",
        }
    }
}

/// In a few words, with the error.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Retried { error, delay } => write!(f, " in {}: {error}", to_text(*delay)),
            Self::Poisoned { reason, error: Some(error) } => write!(f, " ({reason}): {error}"),
            Self::Poisoned { reason, error: None } => write!(f, " ({reason})"),
            Self::Discarded { reason } => write!(f, ": {reason}"),
            Self::Snoozed { delay } | Self::PutBack { delay } => {
                write!(f, " for {}", to_text(*delay))
            }
            _ => Ok(()),
        }
    }
}

/// One delivery of a job, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// The name of the job.
    pub job: String,
    /// The queue it came from.
    pub queue: QueueName,
    /// The id of the job; `None` of a message that is none.
    pub id: Option<JobId>,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// How it ended.
    pub ended: Ended,
}

impl Ran {
    /// Whether it is of that kind of job.
    pub fn is<J: Job>(&self) -> bool {
        self.job == J::NAME || J::ALIASES.contains(&&*self.job)
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, attempt, ended, .. } = self;
        write!(f, "{job}, attempt {attempt}: {ended}")
    }
}

/// What a drain ran: how many deliveries of jobs ended in which way, in all and by job.
///
/// Its `Display` has a line for the sums and one for each delivery, so that
/// `assert_eq!(report.completed(), 3, "{report}")` says what happened instead.
#[derive(Clone, Debug, Default)]
pub struct DrainReport {
    pub(super) runs: Vec<Ran>,
    /// Due, but on queues that the worker does not serve: how many, by queue.
    pub(super) unserved: BTreeMap<QueueName, usize>,
}

impl DrainReport {
    /// Every delivery, in order.
    pub fn runs(&self) -> &[Ran] {
        &self.runs
    }

    /// Whether nothing was due.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The part of the report about one kind of job.
    #[must_use]
    pub fn of<J: Job>(&self) -> Self {
        let runs = self.runs.iter().filter(|ran| ran.is::<J>()).cloned().collect();
        Self { runs, unserved: BTreeMap::new() }
    }

    /// Jobs that are done.
    pub fn completed(&self) -> usize {
        self.count("completed")
    }

    /// Attempts that failed and are tried again.
    pub fn retried(&self) -> usize {
        self.count("retried")
    }

    /// Jobs that were moved to a poison queue.
    pub fn poisoned(&self) -> usize {
        self.count("poisoned")
    }

    /// Jobs that their handler dropped.
    pub fn discarded(&self) -> usize {
        self.count("discarded")
    }

    /// Times that a job put itself off.
    pub fn snoozed(&self) -> usize {
        self.count("snoozed")
    }

    /// Jobs that came too late.
    pub fn expired(&self) -> usize {
        self.count("expired")
    }

    /// Jobs that the worker did not know what to do with.
    pub fn put_back(&self) -> usize {
        self.count("put back")
    }

    /// Deliveries whose worker was killed or could not settle them. They come again.
    pub fn lost(&self) -> usize {
        self.count("lost") + self.count("killed")
    }

    /// Jobs that are due on queues that this worker does not serve: how many, by queue. They are
    /// for others, or the set-up lacks the queue.
    pub fn unserved(&self) -> impl Iterator<Item = (&QueueName, usize)> {
        self.unserved.iter().map(|(queue, count)| (queue, *count))
    }

    fn count(&self, word: &str) -> usize {
        self.runs.iter().filter(|ran| ran.ended.word() == word).count()
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sums = BTreeMap::<_, usize>::new();
        for ran in &self.runs {
            *sums.entry(ran.ended.word()).or_default() += 1;
        }
        if sums.is_empty() {
            f.write_str("nothing was due")?;
        }
        let sums: Vec<_> = sums.iter().map(|(word, count)| format!("{count} {word}")).collect();
        f.write_str(&sums.join(", "))?;
        for ran in &self.runs {
            write!(f, "\n  {ran}")?;
        }
        for (queue, count) in &self.unserved {
            write!(f, "\n  {count} due on queue `{queue}`, which this worker does not serve")?;
        }
        Ok(())
    }
}
