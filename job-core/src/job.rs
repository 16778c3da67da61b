//! What a job is: a name, args, and the options that go with them.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Args, ArgsError, Backoff};

/// The args of a job, with the name that they travel under.
///
/// `#[job]` on an `async fn` makes such a type from the function's parameters. Written by hand:
///
/// ```
/// use std::time::Duration;
/// use job_core::{Job, JobOptions};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct SendWelcome {
///     user_id: u64,
/// }
///
/// impl Job for SendWelcome {
///     const NAME: &'static str = "send_welcome";
///     const OPTIONS: JobOptions =
///         JobOptions::new().queue("mail").max_attempts(8).timeout(Duration::from_secs(30));
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    label = "this is not the args type of a job",
    note = "put `#[job]` on an `async fn` and enqueue the struct it makes: `#[job] async fn send_welcome(..)` makes `SendWelcome {{ .. }}`"
)]
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The name on the wire. It must never change while messages that carry it are about.
    const NAME: &'static str;

    /// Older names that messages may still carry.
    const ALIASES: &'static [&'static str] = &[];

    /// The version of the args, from 1 on. Messages of a newer version are left for newer workers.
    const VERSION: u32 = 1;

    /// What holds for every job of this kind, unless a call overrides it.
    const OPTIONS: JobOptions = JobOptions::new();

    /// Makes the job of the args in a message of this or an older version.
    ///
    /// By default they are read as they are, whatever their version: so a field that is optional
    /// (an `Option`, or `#[serde(default)]`) can be added at any time. What an older version needs
    /// beyond that, [`Args::read_or_upgrade`] does.
    ///
    /// # Errors
    /// If they do not fit. Such a message is put back, as a deploy may be under way, and goes to
    /// the poison queue in the end.
    fn from_args(args: Args<'_>) -> Result<Self, ArgsError> {
        args.read()
    }
}

/// What holds for every job of one kind. Everything is optional; what is not set comes from the
/// queue's settings, then from the worker's.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobOptions {
    pub(crate) queue: Option<&'static str>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) expires_in: Option<Duration>,
}

impl JobOptions {
    /// Nothing set.
    pub const fn new() -> Self {
        Self { queue: None, max_attempts: None, backoff: None, timeout: None, expires_in: None }
    }

    /// The queue it goes to. Without it, the client's default queue.
    #[must_use]
    pub const fn queue(mut self, queue: &'static str) -> Self {
        self.queue = Some(queue);
        self
    }

    /// How often it is tried, the first time included; at least 1.
    #[must_use]
    pub const fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// How long to wait between attempts.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How long one attempt may take; then it is cancelled and counts as failed.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long after its enqueueing it is still worth running; later it is dropped.
    #[must_use]
    pub const fn expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }
}
