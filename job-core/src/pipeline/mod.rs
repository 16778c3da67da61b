//! The tower stack that every run goes through: span, panic catch, timeout, the layers of worker,
//! queue and job, then the handler.
//!
//! `Service<Call, Response = Outcome, Error = BoxError>` all the way, so any tower layer fits
//! between. An error of a layer counts as a failed attempt.
//!
//! It is three stacks, one for each kind of layer, because each is made once: that of the worker
//! for all its queues, that of a queue for all its jobs, that of a job for all queues it comes
//! from. So a limit in a worker's layer is one limit. What joins them is [`Dispatch`], the
//! innermost service of each, which goes on to the next by what it finds in the [`Call`].

mod call;
pub(crate) mod catch_panic;
mod service;
pub(crate) mod span;
pub(crate) mod timeout;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

pub use self::call::Call;
use self::catch_panic::{CatchPanicLayer, Panicked};
pub use self::service::{JobFuture, JobLayer, JobService};
pub(crate) use self::service::{Layers, without_paths};
use self::span::SpanLayer;
use self::timeout::TimeoutLayer;
use crate::{BoxError, Outcome};

/// The stack of a worker.
///
/// Span first, so that everything below logs inside it; then the panic catch, so that it also
/// covers the timeout and what users add; then the timeout, around all that may wait.
pub(crate) fn worker_stack(layers: &Layers) -> JobService {
    if layers.is_empty() {
        // What most workers have, without a box in between.
        return built_in(Dispatch);
    }
    built_in(layers.around(JobService::innermost()))
}

fn built_in<S>(inner: S) -> JobService
where
    S: Service<Call, Response = Outcome, Error = BoxError, Future = JobFuture>,
    S: Clone + Send + Sync + 'static,
{
    let service = TimeoutLayer.layer(inner);
    let service = CatchPanicLayer.layer(service);
    JobService::new(SpanLayer.layer(service))
}

/// The stack of a queue or a job, if it has any layers.
pub(crate) fn inner_stack(layers: &Layers) -> Option<JobService> {
    (!layers.is_empty()).then(|| layers.around(JobService::innermost()))
}

/// The stacks of a worker and a queue, both ready for one call.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) worker: JobService,
    pub(crate) queue: Option<JobService>,
}

/// Waits until a service is ready. One that fails, or panics, is of no more use.
pub(crate) async fn ready(mut service: JobService) -> Result<JobService, BoxError> {
    poll_fn(|cx| poll_ready(&mut service, cx)).await?;
    Ok(service)
}

/// The service, if it is ready now.
#[inline]
pub(crate) fn ready_now(mut service: JobService, cx: &mut Context<'_>) -> Option<JobService> {
    matches!(poll_ready(&mut service, cx), Poll::Ready(Ok(()))).then_some(service)
}

#[inline]
fn poll_ready(service: &mut JobService, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
    match catch_unwind(AssertUnwindSafe(|| service.poll_ready(cx))) {
        Ok(poll) => poll,
        Err(payload) => Poll::Ready(Err(Panicked::from(payload).into())),
    }
}

/// The innermost service of each stack: goes on to the next, and in the end to the handler.
#[derive(Clone, Debug)]
struct Dispatch;

impl Service<Call> for Dispatch {
    type Response = Outcome;
    type Error = BoxError;
    type Future = JobFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call) -> JobFuture {
        if let Some(mut queue) = call.take_queue() {
            // It was made ready before the message was received.
            return queue.call(call);
        }
        if let Some(job) = call.take_job() {
            // Which job it would be nobody knew before, so only now can it be waited for.
            return Box::pin(job.oneshot(call));
        }
        call.run()
    }
}
