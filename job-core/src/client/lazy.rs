//! A future that does nothing until it is polled, and can be configured until then.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is to be done, then the doing of it. `Unpin` and without the type of the future, so that
/// public futures made of it have no type parameters and can be moved about.
pub(super) enum Lazy<D, T> {
    Draft(Box<D>),
    Running(BoxFuture<T>),
    Finished,
}

impl<D, T> Lazy<D, T> {
    pub(super) fn new(draft: D) -> Self {
        Self::Draft(Box::new(draft))
    }

    pub(super) fn draft(&self) -> Option<&D> {
        match self {
            Self::Draft(draft) => Some(draft),
            _ => None,
        }
    }

    /// What was to be done, if it has not begun.
    pub(super) fn into_draft(self) -> Option<D> {
        match self {
            Self::Draft(draft) => Some(*draft),
            _ => None,
        }
    }

    /// Changes what is to be done; nothing once it has begun.
    pub(super) fn configure(mut self, change: impl FnOnce(&mut D)) -> Self {
        if let Self::Draft(draft) = &mut self {
            change(draft);
        }
        self
    }

    /// Begins with the first poll.
    ///
    /// # Panics
    /// If it is polled again after it has finished.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        start: impl FnOnce(Box<D>) -> BoxFuture<T>,
    ) -> Poll<T> {
        if let Self::Draft(_) = self {
            let Self::Draft(draft) = std::mem::replace(self, Self::Finished) else {
                unreachable!()
            };
            *self = Self::Running(start(draft));
        }
        let Self::Running(future) = self else { panic!("polled again after it has finished") };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            *self = Self::Finished;
        }
        polled
    }
}

/// Drafts hold args: only how far it has come is shown.
impl<D, T> fmt::Debug for Lazy<D, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draft(_) => "not started",
            Self::Running(_) => "running",
            Self::Finished => "finished",
        })
    }
}
