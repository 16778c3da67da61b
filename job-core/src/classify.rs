//! Error types that say themselves what becomes of a job: what `#[derive(JobError)]` makes.
//!
//! `?` and `Into` turn every error into a [`JobError`](struct@crate::JobError) by one blanket impl, and a
//! second one for error types with a say of their own would overlap it. So they are asked at run
//! time: each derive registers its type, and an error that becomes a `JobError` is held against
//! all of them. That costs a comparison a type, and only when a job fails.

use std::error::Error;
use std::time::Duration;

/// What becomes of a job whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again, after that time or else by its backoff.
    Retry(Option<Duration>),
    /// It goes to the poison queue now.
    Permanent,
    /// It is dropped.
    Discard,
    /// It comes again later, without using up an attempt.
    Snooze(Duration),
}

impl Verdict {
    /// To come again after that time, or else to be tried again.
    pub fn snooze(delay: Option<Duration>) -> Self {
        delay.map_or(Self::Retry(None), Self::Snooze)
    }
}

/// An error that says what becomes of the job.
pub trait Classify {
    /// What becomes of it.
    fn classify(&self) -> Verdict;
}

/// What an error type must be so that `?` takes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error type",
    label = "lacks `std::error::Error`, or is not `Send + Sync`",
    note = "derive `thiserror::Error` for it, or implement `std::error::Error`"
)]
pub trait ErrorType: 'static {
    /// That type, if the error is of it.
    fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self>;
}

#[diagnostic::do_not_recommend]
impl<E: Error + Send + Sync + 'static> ErrorType for E {
    fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        error.downcast_ref()
    }
}

/// A registered type.
#[derive(Debug)]
pub struct Classifier {
    verdict: fn(&(dyn Error + 'static)) -> Option<Verdict>,
}

inventory::collect!(Classifier);

impl Classifier {
    /// Of the type that the function looks for.
    pub const fn new(verdict: fn(&(dyn Error + 'static)) -> Option<Verdict>) -> Self {
        Self { verdict }
    }
}

/// What an error says; to be tried again, if it says nothing.
pub fn verdict(error: &(dyn Error + 'static)) -> Verdict {
    inventory::iter::<Classifier>
        .into_iter()
        .find_map(|classifier| (classifier.verdict)(error))
        .unwrap_or(Verdict::Retry(None))
}

/// The error in a variant's field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error type",
    label = "lacks `std::error::Error`",
    note = "`#[transparent]` lets the error in the field decide"
)]
pub trait AsError {
    /// As one that can be asked.
    fn as_error(&self) -> &(dyn Error + 'static);
}

#[diagnostic::do_not_recommend]
impl<E: Error + 'static> AsError for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

/// What a field may be that says how long to wait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how long to wait",
    label = "neither a `Duration` nor an `Option` of one",
    note = "`#[retry_after(..)]` takes such a field, or a time such as `\"30s\"`"
)]
pub trait Delay {
    /// The time, if there is one.
    fn delay(&self) -> Option<Duration>;
}

#[diagnostic::do_not_recommend]
impl Delay for Duration {
    fn delay(&self) -> Option<Duration> {
        Some(*self)
    }
}

#[diagnostic::do_not_recommend]
impl Delay for Option<Duration> {
    fn delay(&self) -> Option<Duration> {
        *self
    }
}
