//! An attempt that takes too long is cancelled and counts as failed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use super::Call;
use crate::duration::to_text;
use crate::{BoxError, JobContext, Outcome};

/// Ends each run at its deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeoutLayer;

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner }
    }
}

/// The service of [`TimeoutLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Timeout<S> {
    inner: S,
}

impl<S> Service<Call> for Timeout<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Send + Unpin + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let context = call.context().clone();
        TimeoutFuture { inner: self.inner.call(call), context, timer: None }
    }
}

/// The future of [`Timeout`]. Its timer is made when the job first waits: most are done before.
pub(crate) struct TimeoutFuture<F> {
    inner: F,
    context: JobContext,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<Outcome, BoxError>> + Unpin,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.inner).poll(cx) {
            return Poll::Ready(result);
        }
        let deadline = this.context.deadline();
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().poll(cx).map(|()| {
            // What the handler started elsewhere learns of it by the token.
            this.context.cancel();
            Err(TimedOut { after: this.context.timeout() }.into())
        })
    }
}

/// The error of a run that took too long.
#[derive(Debug, thiserror::Error)]
#[error("the job timed out after {}; give it a longer timeout or less to do", to_text(*after))]
pub(crate) struct TimedOut {
    after: Duration,
}
