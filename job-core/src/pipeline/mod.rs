//! The tower stack that every run goes through: span, panic catch, timeout, then the handler.
//!
//! `Service<Call, Response = Outcome, Error = BoxError>` all the way, so any tower layer fits
//! between. An error of a layer counts as a failed attempt.

pub(crate) mod catch_panic;
pub(crate) mod span;
pub(crate) mod timeout;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use self::catch_panic::CatchPanicLayer;
use self::span::SpanLayer;
use self::timeout::TimeoutLayer;
use crate::handler::Prepared;
use crate::{BoxError, JobContext, Outcome};

/// What the stack is called with: one job about to run.
pub struct Call {
    context: JobContext,
    prepared: Prepared,
}

impl Call {
    pub(crate) fn new(context: JobContext, prepared: Prepared) -> Self {
        Self { context, prepared }
    }

    /// The run that it is about to be.
    pub fn context(&self) -> &JobContext {
        &self.context
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("context", &self.context).finish_non_exhaustive()
    }
}

/// A whole stack, without its type.
pub(crate) type JobService = BoxCloneSyncService<Call, Outcome, BoxError>;

/// The stack that a worker runs jobs through.
///
/// Span first, so that everything below logs inside it; then the panic catch, so that it also
/// covers the timeout and what users add; then the timeout, around all that may wait.
pub(crate) fn stack() -> JobService {
    let service = TimeoutLayer.layer(Dispatch);
    let service = CatchPanicLayer.layer(service);
    JobService::new(SpanLayer.layer(service))
}

/// The innermost service: calls the handler.
#[derive(Clone, Debug)]
struct Dispatch;

impl Service<Call> for Dispatch {
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let running = call.prepared.run(call.context);
        Box::pin(async move { Ok(running.await.into()) })
    }
}
