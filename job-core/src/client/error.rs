//! Why a job was not enqueued.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::backend::BackendError;
use crate::{InvalidQueueName, JobId, QueueName};

/// What can be said about a job that failed to be enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnqueueErrorKind {
    /// The call is wrong: nothing was sent. The same call fails again.
    Invalid,
    /// The job is too large for its queue: nothing was sent. The same call fails again.
    TooLarge,
    /// It is certain that the job is not on its queue. Enqueueing it again is safe.
    Rejected,
    /// The answer was lost: the job may or may not be on its queue, and may run.
    Unknown,
}

/// A job that was not enqueued, or of which nobody knows.
///
/// It holds nothing of the job but its name and id. `Display` prints its own level only; walk
/// [`source`](StdError::source) for what the backend said.
///
/// ```
/// use job_core::{Client, EnqueueErrorKind, Job};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct SendWelcome { user_id: u64 }
/// # impl Job for SendWelcome { const NAME: &'static str = "send_welcome"; }
///
/// async fn sign_up(client: &Client) {
///     if let Err(error) = client.enqueue(SendWelcome { user_id: 42 }).await {
///         match error.kind() {
///             EnqueueErrorKind::Unknown => println!("{} may run all the same", error.id()),
///             _ => println!("{error}"),
///         }
///     }
/// }
/// ```
pub struct EnqueueError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: JobId,
    job: &'static str,
    queue: Option<QueueName>,
    cause: Cause,
}

/// What a call can get wrong.
#[derive(Clone, Debug)]
pub(super) enum Invalid {
    /// What serde says about it may repeat values, so it is not kept.
    Args,
    TooDeep,
    QueueName(InvalidQueueName),
    PoisonQueue(QueueName),
    MaxAttempts,
    ExpiresIn,
    ExpiresBeforeDue,
    /// A setting of the call that only an envelope carries.
    Raw(&'static str),
    RawDelay {
        longest: Duration,
    },
}

#[derive(Debug)]
pub(super) enum Cause {
    Invalid(Invalid),
    TooLarge { size: usize, limit: usize },
    Send(SendError),
    NotTried,
}

/// A send that failed, and what is known about its queue.
#[derive(Debug)]
pub(super) struct SendError {
    pub(super) error: BackendError,
    pub(super) about: About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Message,
    /// The queue is not there; the client asked for it to be made, and may not.
    MayNotCreate,
    /// The queue is not there, and making it failed.
    CreateFailed,
    /// The queue was there before.
    Vanished,
}

impl SendError {
    fn outcome_unknown(&self) -> bool {
        // A queue that may have been made holds no job yet.
        self.about == About::Message && self.error.outcome_unknown()
    }
}

impl From<Invalid> for Cause {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl EnqueueError {
    pub(super) fn new(
        id: JobId,
        job: &'static str,
        queue: Option<QueueName>,
        cause: impl Into<Cause>,
    ) -> Self {
        Self { inner: Box::new(Inner { id, job, queue, cause: cause.into() }) }
    }

    /// What can be said about the job.
    pub fn kind(&self) -> EnqueueErrorKind {
        match &self.inner.cause {
            Cause::Invalid(_) => EnqueueErrorKind::Invalid,
            Cause::TooLarge { .. } => EnqueueErrorKind::TooLarge,
            Cause::Send(send) if send.outcome_unknown() => EnqueueErrorKind::Unknown,
            Cause::Send(_) | Cause::NotTried => EnqueueErrorKind::Rejected,
        }
    }

    /// The id that the job has, if it is on its queue after all.
    pub fn id(&self) -> JobId {
        self.inner.id
    }

    /// The name of the job.
    pub fn job(&self) -> &'static str {
        self.inner.job
    }

    /// The queue that it was to go to; `None` if the call named none that can be.
    pub fn queue(&self) -> Option<&QueueName> {
        self.inner.queue.as_ref()
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, job, queue, cause } = &*self.inner;
        let queue = queue.as_ref().map_or("", QueueName::as_str);
        if self.kind() == EnqueueErrorKind::Unknown {
            return write!(
                f,
                "whether job `{job}` ({id}) is on queue `{queue}` is unknown: the answer was lost; \
                 it may run; enqueue it again only if the job is idempotent"
            );
        }
        write!(f, "job `{job}` ({id}) was not enqueued: ")?;
        match cause {
            Cause::Invalid(invalid) => fmt::Display::fmt(invalid, f),
            Cause::TooLarge { size, limit } => write!(
                f,
                "it is {size} bytes long, and queue `{queue}` takes {limit} at most; store the \
                 payload elsewhere and enqueue a reference to it"
            ),
            Cause::NotTried => f.write_str(
                "it was not tried after those before it had all failed; enqueue it again once \
                 the cause of theirs is gone",
            ),
            Cause::Send(SendError { error, about }) => match about {
                About::MayNotCreate => write!(
                    f,
                    "queue `{queue}` does not exist, and this client may not create it; create \
                     the queue, or give the client a role that may"
                ),
                About::CreateFailed => write!(
                    f,
                    "queue `{queue}` does not exist, and creating it failed; enqueue the job \
                     again once the cause is gone"
                ),
                About::Vanished => write!(
                    f,
                    "queue `{queue}` has vanished, and making it again would hide the loss of \
                     what was on it; find out what removed it, then create it"
                ),
                About::Message if error.is_retryable() => {
                    write!(f, "queue `{queue}` cannot take it now; enqueue it again a little later")
                }
                About::Message => write!(
                    f,
                    "queue `{queue}` rejected it; enqueue it again once the cause is gone"
                ),
            },
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Args => f.write_str(
                "its args cannot be serialised to JSON; map keys must be strings or numbers, and \
                 a `Serialize` written by hand must not fail",
            ),
            Self::TooDeep => f.write_str(
                "its args are nested deeper than 127 levels, which no worker would read; make \
                 them flatter, or enqueue a reference to them",
            ),
            Self::QueueName(error) => write!(f, "no queue can have its queue's name: {error}"),
            Self::PoisonQueue(queue) => write!(
                f,
                "`{queue}` is a poison queue, and no job is run from there; enqueue it to the \
                 queue itself, or choose a name that does not end in `-poison`"
            ),
            Self::MaxAttempts => f.write_str("max_attempts is 0; allow at least 1"),
            Self::ExpiresIn => f.write_str("expires_in is zero; leave it out for no expiry"),
            Self::ExpiresBeforeDue => f.write_str(
                "it expires before its delay is over, so it would never run; let it expire \
                 later, or delay it less",
            ),
            Self::Raw(setting) => write!(
                f,
                "`{setting}` cannot travel in a raw message, which is bare args; leave it out, or \
                 leave `.raw()` out if the queue is one of job envelopes"
            ),
            Self::RawDelay { longest } => write!(
                f,
                "a raw message can be delayed by {longest:?} at most; delay it less, or leave \
                 `.raw()` out if the queue is one of job envelopes"
            ),
        }
    }
}

impl StdError for EnqueueError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.inner.cause {
            Cause::Invalid(Invalid::QueueName(error)) => Some(error),
            Cause::Send(send) => Some(&send.error),
            _ => None,
        }
    }
}

impl fmt::Debug for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, job, queue, cause } = &*self.inner;
        f.debug_struct("EnqueueError")
            .field("kind", &self.kind())
            .field("id", id)
            .field("job", job)
            .field("queue", queue)
            .field("cause", cause)
            .finish()
    }
}
