//! A span around each run.

use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;
use tracing::instrument::Instrumented;

use super::Call;

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

impl<S: Service<Call>> Service<Call> for Span<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let cx = call.context();
        let span = tracing::debug_span!(
            "job",
            name = cx.name(),
            id = %cx.id(),
            queue = %cx.queue(),
            attempt = cx.attempt(),
        );
        let entered = span.enter();
        let future = self.inner.call(call);
        drop(entered);
        future.instrument(span)
    }
}
