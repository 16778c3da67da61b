//! Layers around jobs: tower's own, and some that only a test would write.

mod answers;
mod breaker;
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod failing;
mod limits;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use common::*;
use job_core::middleware::{Call, JobFuture, JobLayer, JobService};
use job_core::{Backoff, BoxError, JobError, Outcome, Queue};
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::PollSemaphore;
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::TimeoutLayer;
use tower::util::{MapRequestLayer, MapResultLayer};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

/// Takes a second.
fn busy(gauge: &Gauge) -> (Arc<Script>, Heard) {
    let gauge = gauge.clone();
    told(move |_, _| {
        let gauge = gauge.clone();
        async move {
            let _inside = gauge.enter();
            sleep(SECOND).await;
            Ok(())
        }
    })
}

fn numbers(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| n.to_string())
}

fn queue() -> Queue {
    Queue::new(WORK).concurrency(16).backoff(Backoff::fixed(10 * SECOND))
}

/// A layer made of a function from the inner service and a call to a future.
fn around<F, Fut>(act: F) -> impl JobLayer
where
    F: Fn(JobService, Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, BoxError>> + Send + 'static,
{
    layer_fn(move |inner: JobService| {
        let act = act.clone();
        let ready = inner.clone();
        Around { inner, ready, act }
    })
}

/// Its service: ready when the inner one is, which it then hands to the function.
#[derive(Clone)]
struct Around<F> {
    inner: JobService,
    ready: JobService,
    act: F,
}

impl<F, Fut> Service<Call> for Around<F>
where
    F: Fn(JobService, Call) -> Fut,
    Fut: Future<Output = Result<Outcome, BoxError>>,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Fut;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Fut {
        let ready = std::mem::replace(&mut self.ready, self.inner.clone());
        (self.act)(ready, call)
    }
}
