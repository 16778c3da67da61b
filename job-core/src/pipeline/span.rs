//! A span around each run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;
use tracing::instrument::Instrumented;

use super::Call;
use crate::telemetry::spans;
use crate::{BoxError, Outcome};

/// Runs each job in a span of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanLayer;

impl<S> Layer<S> for SpanLayer {
    type Service = Span<S>;

    fn layer(&self, inner: S) -> Span<S> {
        Span { inner }
    }
}

/// The service of [`SpanLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Span<S> {
    inner: S,
}

impl<S> Service<Call> for Span<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Unpin,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = SpanFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let timed = spans::run(&call);
        let entered = timed.span().enter();
        let future = self.inner.call(call);
        drop(entered);
        let (span, began) = timed.into_parts();
        SpanFuture { inner: future.instrument(span), began }
    }
}

/// The future of [`Span`]: says in the span how the run ended.
pub(crate) struct SpanFuture<F> {
    inner: Instrumented<F>,
    /// Unless nobody wants the span, or it has said so already.
    began: Option<Instant>,
}

impl<F> Future for SpanFuture<F>
where
    F: Future<Output = Result<Outcome, BoxError>> + Unpin,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll(cx);
        if let Poll::Ready(result) = &polled {
            spans::ran(this.inner.span(), &mut this.began, result);
        }
        polled
    }
}

impl<F> Drop for SpanFuture<F> {
    fn drop(&mut self) {
        spans::cancelled(self.inner.span(), &mut self.began);
    }
}
