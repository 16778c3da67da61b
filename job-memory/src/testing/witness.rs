//! The layer that sees every run, and in which runs meet their faults.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use job_core::middleware::{Call, JobFuture, JobService};
use job_core::{BoxError, Outcome};
use tower_layer::Layer;
use tower_service::Service;

use super::fault::Kind;
use super::stage::Stage;
use super::step::Told;

/// The outermost of the layers that are not the worker's own.
#[derive(Clone, Debug)]
pub(super) struct WitnessLayer(pub(super) Arc<Stage>);

impl Layer<JobService> for WitnessLayer {
    type Service = Witness;

    fn layer(&self, inner: JobService) -> Witness {
        Witness { inner, stage: Arc::clone(&self.0) }
    }
}

/// The service of [`WitnessLayer`].
#[derive(Clone, Debug)]
pub(super) struct Witness {
    inner: JobService,
    stage: Arc<Stage>,
}

impl Service<Call> for Witness {
    type Response = Outcome;
    type Error = BoxError;
    type Future = JobFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> JobFuture {
        // The first run after a receive is what was received. Others are performed by hand.
        let is_first = match &mut *self.stage.step() {
            Some(step) if step.started_job().is_none() => {
                step.start(call.name(), call.id(), call.attempt());
                true
            }
            _ => false,
        };
        if !is_first {
            if let Some(tries) = self.stage.tries().get_mut(&call.id()) {
                *tries = (call.attempt(), call.context().max_attempts());
            }
            return self.inner.call(call);
        }
        let kinds = [Kind::KillMidRun, Kind::KillBeforeSettle, Kind::LoseLease];
        let fault = self.stage.faults().job(call.name(), &kinds);
        let (stage, running) = (Arc::clone(&self.stage), self.stage.run());
        let run = self.inner.call(call);
        Box::pin(async move {
            let _running = running;
            run_under(&stage, run, fault).await
        })
    }
}

async fn run_under(
    stage: &Stage,
    mut run: JobFuture,
    fault: Option<Kind>,
) -> Result<Outcome, BoxError> {
    match fault {
        Some(Kind::KillMidRun) => {
            let polled = poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx))).await;
            if let Poll::Ready(result) = &polled {
                note(stage, result);
            }
            die(stage).await
        }
        Some(Kind::KillBeforeSettle) => {
            note(stage, &run.await);
            die(stage).await
        }
        Some(_) => {
            steal_lease(stage).await;
            end(stage, run.await)
        }
        None => end(stage, run.await),
    }
}

fn end(stage: &Stage, result: Result<Outcome, BoxError>) -> Result<Outcome, BoxError> {
    note(stage, &result);
    result
}

fn note(stage: &Stage, result: &Result<Outcome, BoxError>) {
    if let Some(step) = &mut *stage.step() {
        step.result(Told::of(result));
    }
}

/// Asks for the end of the worker, and is gone with it.
async fn die<T>(stage: &Stage) -> T {
    stage.killed.notify_one();
    pending().await
}

/// The message is visible to others from now on, and the worker's receipt is worth nothing.
async fn steal_lease(stage: &Stage) {
    let receipt = match &mut *stage.step() {
        Some(step) => {
            step.spoilt = true;
            step.receipt.clone()
        }
        None => return,
    };
    if stage.inner.release(&stage.receipt_inward(&receipt), Duration::ZERO).await.is_ok() {
        let (queue, message) = (receipt.queue(), receipt.message_id());
        stage.book().put_off(queue, message, Duration::ZERO, stage.now());
    }
}
