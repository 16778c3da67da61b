//! Why something could not be done with a poison queue.

use std::error::Error as StdError;
use std::fmt;

use super::ReplayReport;
use crate::backend::BackendError;
use crate::{JobId, QueueName};

/// At which step something went wrong with a poison queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoisonErrorKind {
    /// The call is wrong: nothing was done.
    Invalid,
    /// The queue could not be read.
    Read,
    /// A job could not be sent back to its queue; it is still in the poison queue.
    Send,
    /// Something could not be removed from the poison queue.
    Delete,
}

/// Something that could not be done with a poison queue. Nothing is lost by it.
///
/// `Display` prints its own level only; walk [`source`](StdError::source) for what the backend
/// said.
#[derive(Debug)]
pub struct PoisonError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: QueueName,
    step: Step,
    report: Option<ReplayReport>,
    source: Option<BackendError>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Rate,
    Read,
    Purge,
    Send { id: JobId, to: QueueName },
    Delete { id: JobId, to: QueueName },
}

impl PoisonError {
    pub(super) fn new(queue: QueueName, step: Step, source: Option<BackendError>) -> Self {
        Self { inner: Box::new(Inner { queue, step, report: None, source }) }
    }

    pub(super) fn with_report(mut self, report: ReplayReport) -> Self {
        self.inner.report = Some(report);
        self
    }

    /// At which step it went wrong.
    pub fn kind(&self) -> PoisonErrorKind {
        match self.inner.step {
            Step::Rate => PoisonErrorKind::Invalid,
            Step::Read => PoisonErrorKind::Read,
            Step::Send { .. } => PoisonErrorKind::Send,
            Step::Delete { .. } | Step::Purge => PoisonErrorKind::Delete,
        }
    }

    /// Whether the same call can succeed a little later.
    pub fn is_retryable(&self) -> bool {
        self.inner.source.as_ref().is_some_and(BackendError::is_retryable)
    }

    /// What a replay had done until then.
    pub fn report(&self) -> Option<&ReplayReport> {
        self.inner.report.as_ref()
    }
}

impl fmt::Display for PoisonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { queue, step, report, source } = &*self.inner;
        match step {
            Step::Rate => write!(
                f,
                "`{queue}` was not replayed: the rate is zero; give it at least one job and a \
                 time that is not zero, or leave it out"
            )?,
            Step::Read => write!(
                f,
                "poison queue `{queue}` cannot be read; nothing was changed by that, so try again \
                 once the cause is gone"
            )?,
            Step::Purge => write!(
                f,
                "poison queue `{queue}` could not be purged; some of it may be gone; purge again \
                 once the cause is gone"
            )?,
            Step::Send { id, to } => {
                write!(f, "job {id} is still in `{queue}`: it could not be sent back to `{to}`")?;
                if source.as_ref().is_some_and(BackendError::outcome_unknown) {
                    write!(f, ", or is there too, for the answer was lost")?;
                }
                write!(f, "; replay again once the cause is gone")?;
            }
            Step::Delete { id, to } => write!(
                f,
                "job {id} was sent back to `{to}`, but could not be removed from `{queue}`: a \
                 duplicate with the same id is left there; replaying that runs it once more"
            )?,
        }
        if let Some(report) = report {
            write!(f, " (so far: {report})")?;
        }
        Ok(())
    }
}

impl StdError for PoisonError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_ref().map(|source| source as _)
    }
}
