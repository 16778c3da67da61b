//! The one error of every backend.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::{BoxError, QueueName};

/// The longest that a service can make anybody wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// What went wrong, as far as the framework acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The service asks for less. Nothing was done. Retryable.
    Throttled,
    /// The service could not be reached or failed; whether it acted is unknown. Retryable.
    Unavailable,
    /// No answer within the time limit; whether it acted is unknown. Retryable.
    Timeout,
    /// The receipt is stale or its message is gone.
    LeaseLost,
    /// There is no such queue.
    QueueNotFound,
    /// The body is longer than the service takes.
    TooLarge,
    /// The credentials are missing, expired, or do not allow this operation.
    Unauthorized,
    /// The request itself is wrong.
    Invalid,
    /// This backend cannot do that; its capabilities say so.
    Unsupported,
    /// Anything else. Not retryable.
    Other,
}

impl ErrorKind {
    fn describe(self) -> &'static str {
        match self {
            Self::Throttled => "the service is throttling; slow down",
            Self::Unavailable => "the service is unavailable",
            Self::Timeout => "the service did not answer in time",
            Self::LeaseLost => "the lease is lost: the receipt is stale or the message is gone",
            Self::QueueNotFound => "there is no such queue; create it or check its name",
            Self::TooLarge => "the message is too large for this service",
            Self::Unauthorized => "access denied; check the credentials and their roles",
            Self::Invalid => "the request is invalid",
            Self::Unsupported => "this backend does not support the operation",
            Self::Other => "the operation failed",
        }
    }
}

/// A failed operation on a queue backend.
///
/// `Display` prints its own level only; walk [`source`](StdError::source) for the rest. None of
/// it holds credentials, receipts or bodies.
#[derive(Debug)]
pub struct BackendError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Option<Box<str>>,
    operation: Option<&'static str>,
    queue: Option<QueueName>,
    retry_after: Option<Duration>,
    outcome_unknown: bool,
    source: Option<BoxError>,
}

impl BackendError {
    /// An error of that kind. [`Unavailable`](ErrorKind::Unavailable) and
    /// [`Timeout`](ErrorKind::Timeout) start with an unknown outcome, the others without.
    pub fn new(kind: ErrorKind) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: None,
                operation: None,
                queue: None,
                retry_after: None,
                outcome_unknown: matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout),
                source: None,
            }),
        }
    }

    /// Says more than the kind does. Never put a credential, receipt or body in it.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.inner.message = Some(message.into().into_boxed_str());
        self
    }

    /// Names the operation, such as `"receive"`.
    #[must_use]
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.inner.operation = Some(operation);
        self
    }

    /// Names the queue.
    #[must_use]
    pub fn queue(mut self, queue: &QueueName) -> Self {
        self.inner.queue = Some(queue.clone());
        self
    }

    /// How long the service asks to wait before trying again. Five minutes at most are kept to:
    /// whatever made it ask for more, it is asked again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.inner.retry_after = Some(after.min(LONGEST_RETRY_AFTER));
        self
    }

    /// Whether the service may have carried the request out all the same.
    #[must_use]
    pub fn with_outcome_unknown(mut self, unknown: bool) -> Self {
        self.inner.outcome_unknown = unknown;
        self
    }

    /// The underlying error. It must be free of secrets.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the same request can succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.inner.kind,
            ErrorKind::Throttled | ErrorKind::Unavailable | ErrorKind::Timeout
        )
    }

    /// How long the service asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Whether the service may have carried the request out although it failed here: the
    /// response was lost, or never came.
    pub fn outcome_unknown(&self) -> bool {
        self.inner.outcome_unknown
    }
}

impl From<ErrorKind> for BackendError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, operation, queue, .. } = &*self.inner;
        if let Some(operation) = operation {
            write!(f, "{operation}")?;
            if let Some(queue) = queue {
                write!(f, " on queue `{queue}`")?;
            }
            f.write_str(": ")?;
        } else if let Some(queue) = queue {
            write!(f, "queue `{queue}`: ")?;
        }
        f.write_str(kind.describe())?;
        if let Some(message) = message {
            write!(f, " ({message})")?;
        }
        Ok(())
    }
}

impl StdError for BackendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_where_and_what_to_do() {
        let queue = QueueName::new("mail").unwrap();
        let error = BackendError::new(ErrorKind::QueueNotFound).operation("send").queue(&queue);
        assert_eq!(
            error.to_string(),
            "send on queue `mail`: there is no such queue; create it or check its name"
        );
        let error = BackendError::new(ErrorKind::Invalid).message("max is 0");
        assert_eq!(error.to_string(), "the request is invalid (max is 0)");
    }

    #[test]
    fn only_a_lost_response_leaves_the_outcome_open() {
        assert!(BackendError::new(ErrorKind::Timeout).outcome_unknown());
        assert!(!BackendError::new(ErrorKind::Throttled).outcome_unknown());
        assert!(BackendError::new(ErrorKind::Throttled).is_retryable());
        assert!(!BackendError::new(ErrorKind::Unauthorized).is_retryable());
    }
}
