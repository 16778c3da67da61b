//! The settings of one queue of a worker.

use std::time::Duration;

use super::config::{QueueConfig, RateLimit};
use crate::pipeline::{JobLayer, Layers};
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
///
/// What is not set comes from the worker's [config](crate::WorkerBuilder::config), if that says
/// anything of this queue, and else is the default.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) name: String,
    pub(super) config: QueueConfig,
    pub(super) raw: Option<&'static str>,
    pub(super) layers: Layers,
}

impl Queue {
    /// A queue with the default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            config: QueueConfig::default(),
            raw: None,
            layers: Layers::default(),
        }
    }

    /// How many of its jobs run at once in this worker; 16 by default. 1 means one at a time.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.config.concurrency = Some(concurrency);
        self
    }

    /// Lets at most `limit` of its jobs start in any window of length `per`, in this worker.
    /// No limit by default.
    #[must_use]
    pub fn rate_limit(mut self, limit: u32, per: Duration) -> Self {
        self.config.rate_limit = Some(RateLimit { limit, per });
        self
    }

    /// How long a message is hidden from other workers at a time; 60 s by default. It is renewed
    /// while its job runs, so this is not a limit on jobs: it is how long the jobs of a worker
    /// that died wait until another takes them.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = Some(lease);
        self
    }

    /// How long it waits after the first empty receive; 100 ms by default. Each further one
    /// doubles the wait, up to [`max_poll`](Self::max_poll).
    #[must_use]
    pub fn min_poll(mut self, min_poll: Duration) -> Self {
        self.config.min_poll = Some(min_poll);
        self
    }

    /// The longest wait between two receives of an idle queue; 5 s by default.
    #[must_use]
    pub fn max_poll(mut self, max_poll: Duration) -> Self {
        self.config.max_poll = Some(max_poll);
        self
    }

    /// How often jobs that say nothing themselves are tried.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.config.max_attempts = Some(max_attempts);
        self
    }

    /// How long jobs that say nothing themselves wait between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.config.backoff = Some(backoff);
        self
    }

    /// How long an attempt of jobs that say nothing themselves may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = Some(timeout);
        self
    }

    /// Makes it a raw queue: every message, posted by whomever, is the args of `H`'s job as bare
    /// JSON. A client posts such messages with [`Enqueue::raw`](crate::Enqueue::raw).
    ///
    /// Of an [event](crate#messages-from-elsewhere) whose type is the job's name or an alias of
    /// it, the data are the args and the attributes are meta. Any other event is the args as a
    /// whole, for a job that takes the events themselves. `$AzureWebJobsParentId`, which the host
    /// of a Functions app adds to an object, is taken out of the args, also where their type would
    /// refuse it, and is in [`JobContext::meta`](crate::JobContext::meta) under that name.
    ///
    /// The body is never rewritten, so every delivery counts as an attempt, those that were
    /// snoozed or cut short by a deploy included; and the move to the poison queue has no fence:
    /// a crash in the middle of it can run the job once more.
    #[must_use]
    pub fn raw<H: Handler>(mut self) -> Self {
        self.raw = Some(<H::Job as crate::Job>::NAME);
        self
    }

    /// Puts a tower layer around every job of this queue, inside the layers of the worker. The
    /// first that is added is the outermost. While it is not ready, nothing is received from this
    /// queue. See [`middleware`](crate::middleware).
    ///
    /// ```
    /// use job_core::Queue;
    /// use tower::limit::GlobalConcurrencyLimitLayer;
    ///
    /// // Both use one account, which takes 10 requests at a time.
    /// let account = GlobalConcurrencyLimitLayer::new(10);
    /// let mail = Queue::new("mail").layer(account.clone());
    /// let news = Queue::new("news").layer(account);
    /// ```
    #[must_use]
    pub fn layer(mut self, layer: impl JobLayer) -> Self {
        self.layers.add(layer);
        self
    }

    /// Its settings, defaults filled in.
    pub(super) fn settings(&self) -> Settings {
        let config = &self.config;
        Settings {
            concurrency: config.concurrency.unwrap_or(16),
            rate_limit: config.rate_limit,
            lease: config.lease.unwrap_or(Duration::from_secs(60)),
            min_poll: config.min_poll.unwrap_or(Duration::from_millis(100)),
            max_poll: config.max_poll.unwrap_or(Duration::from_secs(5)),
        }
    }
}

/// The settings of a queue in effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) concurrency: usize,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) lease: Duration,
    pub(crate) min_poll: Duration,
    pub(crate) max_poll: Duration,
}
