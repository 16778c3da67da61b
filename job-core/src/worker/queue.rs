//! The settings of one queue of a worker.

use std::time::Duration;

use crate::{Backoff, Handler};

/// How a worker serves one queue.
///
/// ```
/// use std::time::Duration;
/// use job_core::Queue;
///
/// let queue = Queue::new("mail").concurrency(16).rate_limit(100, Duration::from_secs(1));
/// ```
///
/// Whatever is wrong with the settings is an error of
/// [`WorkerBuilder::build`](crate::WorkerBuilder::build), never of a running worker.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) rate_limit: Option<(u32, Duration)>,
    pub(crate) lease: Duration,
    pub(crate) min_poll: Duration,
    pub(crate) max_poll: Duration,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) raw: Option<&'static str>,
}

impl Queue {
    /// A queue with the default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            concurrency: 16,
            rate_limit: None,
            lease: Duration::from_secs(60),
            min_poll: Duration::from_millis(100),
            max_poll: Duration::from_secs(5),
            max_attempts: None,
            backoff: None,
            timeout: None,
            raw: None,
        }
    }

    /// How many of its jobs run at once in this worker; 16 by default. 1 means one at a time.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Lets at most `limit` of its jobs start in any window of length `per`, in this worker.
    /// No limit by default.
    #[must_use]
    pub fn rate_limit(mut self, limit: u32, per: Duration) -> Self {
        self.rate_limit = Some((limit, per));
        self
    }

    /// How long a message is hidden from other workers at a time; 60 s by default. It is renewed
    /// while its job runs, so this is not a limit on jobs: it is how long the jobs of a worker
    /// that died wait until another takes them.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long it waits after the first empty receive; 100 ms by default. Each further one
    /// doubles the wait, up to [`max_poll`](Self::max_poll).
    #[must_use]
    pub fn min_poll(mut self, min_poll: Duration) -> Self {
        self.min_poll = min_poll;
        self
    }

    /// The longest wait between two receives of an idle queue; 5 s by default.
    #[must_use]
    pub fn max_poll(mut self, max_poll: Duration) -> Self {
        self.max_poll = max_poll;
        self
    }

    /// How often jobs that say nothing themselves are tried.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// How long jobs that say nothing themselves wait between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How long an attempt of jobs that say nothing themselves may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes it a raw queue: every message, posted by whomever, is the args of `H`'s job as bare
    /// JSON.
    ///
    /// The body is never rewritten, so every delivery counts as an attempt, those that were
    /// snoozed or cut short by a deploy included; and the move to the poison queue has no fence:
    /// a crash in the middle of it can run the job once more.
    #[must_use]
    pub fn raw<H: Handler>(mut self) -> Self {
        self.raw = Some(<H::Job as crate::Job>::NAME);
        self
    }
}
