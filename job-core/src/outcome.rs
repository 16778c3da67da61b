//! What a run of a job came to, and the error by which a handler says so.

use std::fmt;
use std::time::Duration;

use crate::BoxError;
use crate::classify::{Verdict, verdict};

/// What a run came to: the response of the worker's tower stack.
///
/// A layer that returns an error of its own counts as [`Outcome::Retry`] with that error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed and is tried again, after `after` or else by its backoff.
    Retry {
        /// Why.
        error: BoxError,
        /// When, if the handler knows better than the backoff.
        after: Option<Duration>,
    },
    /// It can never succeed: to the poison queue now.
    Permanent {
        /// Why.
        error: BoxError,
    },
    /// It need not be done any more: dropped, logged and counted.
    Discard {
        /// Why.
        reason: BoxError,
    },
    /// It is not due yet: again later, without using up an attempt.
    Snooze {
        /// How much later.
        delay: Duration,
    },
    /// It was not run to its end for a reason that is not its own, such as a shutdown: visible
    /// again at once, without using up an attempt.
    GivenBack,
}

impl From<Result<(), JobError>> for Outcome {
    fn from(result: Result<(), JobError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => error.into_outcome(),
        }
    }
}

/// Why a job is not done, and what is to happen next.
///
/// Any error becomes one with `?` and means "try again by the backoff": std errors, anyhow, eyre,
/// `String`, `&str`. The constructors say something else, and so may an error type of your own, by
/// `#[derive(JobError)]`. Like `anyhow::Error` it is not itself a `std::error::Error`, or `?` could
/// not take every error.
///
/// ```
/// use std::time::Duration;
/// use job_core::JobError;
///
/// fn charge(answer: u16) -> Result<(), JobError> {
///     let amount: u32 = "12".parse()?; // any error: retried with backoff
///     match answer {
///         200 => Ok(()),
///         429 => Err(JobError::retry_after("busy", Duration::from_secs(30))),
///         410 => Err(JobError::permanent(format!("no such account; {amount} not charged"))),
///         _ => Err("unexpected answer".into()),
///     }
/// }
/// ```
pub struct JobError {
    repr: Box<Repr>,
}

struct Repr {
    verdict: Verdict,
    error: BoxError,
}

impl JobError {
    fn with(verdict: Verdict, error: BoxError) -> Self {
        Self { repr: Box::new(Repr { verdict, error }) }
    }

    /// Tried again by the backoff: what `?` makes of any error, unless its type says otherwise
    /// by `#[derive(JobError)]`.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::with(Verdict::Retry(None), error.into())
    }

    /// Tried again after `delay`, whatever the backoff says. It uses up an attempt.
    pub fn retry_after(error: impl Into<BoxError>, delay: Duration) -> Self {
        Self::with(Verdict::Retry(Some(delay)), error.into())
    }

    /// Can never succeed: moved to the poison queue now, with this error.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self::with(Verdict::Permanent, error.into())
    }

    /// Need not be done any more: dropped, logged and counted.
    pub fn discard(reason: impl Into<BoxError>) -> Self {
        Self::with(Verdict::Discard, reason.into())
    }

    /// Not due yet: again after `delay`, without using up an attempt.
    pub fn snooze(delay: Duration) -> Self {
        Self::with(Verdict::Snooze(delay), "snoozed".into())
    }

    /// The error inside.
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.repr.error
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        let Repr { verdict, error } = *self.repr;
        match verdict {
            Verdict::Retry(after) => Outcome::Retry { error, after },
            Verdict::Permanent => Outcome::Permanent { error },
            Verdict::Discard => Outcome::Discard { reason: error },
            Verdict::Snooze(delay) => Outcome::Snooze { delay },
        }
    }
}

/// What `?` takes: std errors, anyhow's, eyre's, `String`, `&str`. A `Box<dyn Error>` is among them
/// as `Box<dyn Error + Send + Sync>`.
#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> From<E> for JobError {
    fn from(error: E) -> Self {
        let error = error.into();
        Self::with(verdict(&*error), error)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.repr.error, f)
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobError")
            .field("verdict", &self.repr.verdict)
            .field("error", &self.repr.error)
            .finish()
    }
}

/// Says on the way what is to become of a job whose step fails.
///
/// ```
/// use job_core::{JobError, ResultExt};
///
/// fn parse(text: &str) -> Result<u32, JobError> {
///     text.parse().or_permanent() // a number that is none will not become one
/// }
/// ```
pub trait ResultExt<T> {
    /// An error here is permanent.
    fn or_permanent(self) -> Result<T, JobError>;
    /// An error here is tried again after `delay`.
    fn or_retry_after(self, delay: Duration) -> Result<T, JobError>;
    /// An error here means that the job need not be done any more.
    fn or_discard(self) -> Result<T, JobError>;
}

impl<T, E: Into<BoxError>> ResultExt<T> for Result<T, E> {
    fn or_permanent(self) -> Result<T, JobError> {
        self.map_err(JobError::permanent)
    }

    fn or_retry_after(self, delay: Duration) -> Result<T, JobError> {
        self.map_err(|error| JobError::retry_after(error, delay))
    }

    fn or_discard(self) -> Result<T, JobError> {
        self.map_err(JobError::discard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_mark_takes_any_error() {
        fn text() -> Result<(), JobError> {
            Err("text")?;
            Ok(())
        }
        fn std_error() -> Result<(), JobError> {
            "x".parse::<u32>()?;
            Ok(())
        }
        fn own() -> Result<(), JobError> {
            Err(JobError::permanent("own"))?;
            Ok(())
        }
        assert!(matches!(text().into(), Outcome::Retry { after: None, .. }));
        assert!(matches!(std_error().into(), Outcome::Retry { after: None, .. }));
        assert!(matches!(own().into(), Outcome::Permanent { .. }));
    }

    #[test]
    fn the_extension_methods_choose_the_outcome() {
        let failed = || "x".parse::<u32>().map(drop);
        assert!(matches!(failed().or_permanent().into(), Outcome::Permanent { .. }));
        assert!(matches!(failed().or_discard().into(), Outcome::Discard { .. }));
        let later = Duration::from_secs(3);
        assert!(matches!(
            failed().or_retry_after(later).into(),
            Outcome::Retry { after: Some(d), .. } if d == later
        ));
        assert!(
            matches!(Err(JobError::snooze(later)).into(), Outcome::Snooze { delay } if delay == later)
        );
    }
}
