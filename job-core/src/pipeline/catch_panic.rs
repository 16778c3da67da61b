//! A panic of a handler or layer is a failed attempt, not the end of a worker.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::Call;
use crate::envelope::error_text;
use crate::{BoxError, Outcome};

/// Turns panics into errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

/// The service of [`CatchPanicLayer`].
#[derive(Clone, Debug)]
pub(crate) struct CatchPanic<S> {
    inner: S,
}

impl<S> Service<Call> for CatchPanic<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Send + Unpin + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = CatchPanicFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> CatchPanicFuture<S::Future> {
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(call)));
        CatchPanicFuture(match inner {
            Ok(future) => State::Running(future),
            Err(payload) => State::Panicked(Some(Panicked::from(payload))),
        })
    }
}

/// The future of [`CatchPanic`].
pub(crate) struct CatchPanicFuture<F>(State<F>);

enum State<F> {
    Running(F),
    Panicked(Option<Panicked>),
}

impl<F> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<Outcome, BoxError>> + Unpin,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Running(future) => {
                match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *future).poll(cx))) {
                    Ok(poll) => poll,
                    Err(payload) => {
                        self.0 = State::Panicked(None);
                        Poll::Ready(Err(Panicked::from(payload).into()))
                    }
                }
            }
            State::Panicked(panicked) => {
                let panicked = panicked.take().expect("not polled after it was ready");
                Poll::Ready(Err(panicked.into()))
            }
        }
    }
}

/// What a future holds may panic when it is dropped before its end, as at a timeout.
impl<F> Drop for CatchPanicFuture<F> {
    fn drop(&mut self) {
        if let State::Running(future) = std::mem::replace(&mut self.0, State::Panicked(None))
            && let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(future)))
        {
            let panicked = Panicked::from(payload);
            crate::telemetry::events::job_panicked_late(&panicked);
        }
    }
}

/// The error of a run that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the job panicked: {message}")]
pub(crate) struct Panicked {
    message: String,
}

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(payload) => {
                    // A payload may panic when it is dropped, too.
                    std::mem::forget(payload);
                    "with a payload that is no text".to_owned()
                }
            },
        };
        Self { message }
    }
}

/// Turns a panic of what is no job into an error.
pub(crate) async fn catch<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(Panicked::from(payload))),
    })
    .await
}

/// The error, unless it panics when it is shown.
pub(crate) fn speakable(error: BoxError) -> BoxError {
    match catch_unwind(AssertUnwindSafe(|| error_text(&*error))) {
        Ok(_) => error,
        Err(payload) => {
            let _ = Panicked::from(payload);
            "the error panics when it is shown".into()
        }
    }
}
