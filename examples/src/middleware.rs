//! Middleware: what every job needs is written once, as a tower layer, and not in every handler.
//!
//! ```text
//! cargo run --bin middleware
//! ```
//!
//! **The problem.** Every job is to be measured; every job is for a tenant, whom its handler has to
//! know; and the jobs of a tenant who has not paid are to wait. None of it is a handler's business.
//!
//! **The answer.** A layer around all of them. It sees each run before and after, can tell the handler
//! something, and can answer in its place.
//!
//! What matters in real life:
//! - A failed job is **not** an `Err` of the service: it is `Ok(Outcome::Retry { .. })` and so on. An
//!   `Err` is a layer's own.
//! - Who turns a job away answers `Snooze`: later, and no attempt is used up.
//! - "Not now, for anybody" is said by `poll_ready`: then nothing is taken off the queue.
//! - Layers that exist fit, too: `tower::limit::ConcurrencyLimitLayer` is around the queue below.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use job_core::middleware::Call;
use job_core::prelude::*;
use job_core::{BoxError, Outcome};
use job_memory::MemoryBackend;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service};

const QUEUE: &str = "reports";

/// It finds its tenant, and knows nothing of all the rest.
#[job(queue = "reports", max_attempts = 3, backoff = fixed("10ms"))]
async fn report(number: u32, cx: JobContext) -> Result<(), JobError> {
    let Tenant(tenant) = cx.extension().ok_or("no tenant").or_permanent()?;
    if number == 13 {
        return Err(JobError::permanent("there is no such report"));
    }
    if number == 7 && cx.attempt() == 1 {
        return Err("the printer is out of paper".into());
    }
    println!("report {number} for {tenant}");
    Ok(())
}

// --- The layer -----------------------------------------------------------------------------------

/// Whose job it is, for handlers.
#[derive(Clone)]
struct Tenant(String);

/// Counts runs by tenant and by what they come to, and lets those wait who have not paid.
#[derive(Clone, Default)]
struct TenantLayer {
    accounts: Arc<Mutex<Accounts>>,
}

#[derive(Default)]
struct Accounts {
    unpaid: Vec<String>,
    runs: BTreeMap<(String, &'static str), u32>,
}

impl<S> Layer<S> for TenantLayer {
    type Service = TenantService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TenantService { inner, accounts: self.accounts.clone() }
    }
}

#[derive(Clone)]
struct TenantService<S> {
    inner: S,
    accounts: Arc<Mutex<Accounts>>,
}

impl<S> Service<Call> for TenantService<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    /// Passing this on lets the layers inside hold back receiving.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        // Whoever enqueued it has said so.
        let tenant = call.meta("tenant").unwrap_or("nobody").to_owned();
        let accounts = self.accounts.clone();
        if accounts.lock().expect("nobody panics with it").pays_now(&tenant) {
            call.insert_extension(Tenant(tenant.clone()));
            let run = self.inner.call(call);
            Box::pin(async move {
                let result = run.await;
                let mut accounts = accounts.lock().expect("nobody panics with it");
                *accounts.runs.entry((tenant, name(&result))).or_default() += 1;
                result
            })
        } else {
            println!("a report has to wait: {tenant} has not paid");
            Box::pin(async { Ok(Outcome::Snooze { delay: Duration::from_millis(50) }) })
        }
    }
}

fn name(result: &Result<Outcome, BoxError>) -> &'static str {
    match result {
        Ok(Outcome::Done) => "done",
        Ok(Outcome::Retry { .. }) => "to be tried again",
        Ok(Outcome::Permanent { .. }) => "failed for good",
        Ok(_) => "put off",
        Err(_) => "failed in a layer",
    }
}

impl Accounts {
    /// Who has not is reminded, and pays.
    fn pays_now(&mut self, tenant: &str) -> bool {
        let paid = !self.unpaid.iter().any(|name| name == tenant);
        self.unpaid.retain(|name| name != tenant);
        paid
    }
}

// --- The app -------------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let layer = TenantLayer::default();
    layer.accounts.lock().expect("nobody panics with it").unpaid.push("umbrella".to_owned());

    let client = Client::new(MemoryBackend::new());
    for (number, tenant) in [(1, "acme"), (2, "umbrella"), (7, "acme"), (13, "initech")] {
        client.enqueue(Report { number }).meta("tenant", tenant).await?;
    }

    let worker = Worker::builder(&client)
        .layer(layer.clone()) // around all queues
        .queue(Queue::new(QUEUE).layer(ConcurrencyLimitLayer::new(2)))
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    println!();
    for ((tenant, outcome), runs) in &layer.accounts.lock().expect("nobody panics with it").runs {
        println!("{tenant:<8} {outcome}: {runs}");
    }
    println!("{report}");
    Ok(())
}
