//! A panic of a handler or layer is a failed attempt, not the end of a worker.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::Call;
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

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S> Service<Call> for CatchPanic<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = CatchPanicFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> CatchPanicFuture {
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(call)));
        CatchPanicFuture(match inner {
            Ok(future) => State::Running(Box::pin(future)),
            Err(payload) => State::Panicked(Some(Panicked::from(payload))),
        })
    }
}

/// The future of [`CatchPanic`].
pub(crate) struct CatchPanicFuture(State);

enum State {
    Running(BoxFuture<Result<Outcome, BoxError>>),
    Panicked(Option<Panicked>),
}

impl Future for CatchPanicFuture {
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Running(future) => {
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
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
impl Drop for CatchPanicFuture {
    fn drop(&mut self) {
        if let State::Running(future) = std::mem::replace(&mut self.0, State::Panicked(None))
            && let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(future)))
        {
            let panicked = Panicked::from(payload);
            tracing::warn!(%panicked, "a job panicked when it was dropped");
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
