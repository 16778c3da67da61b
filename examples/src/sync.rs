//! Keeping a copy at somebody else's: customers are brought to a CRM whose API is not always well.
//!
//! ```text
//! cargo run --bin sync
//! ```
//!
//! **The problem.** Whenever a customer changes here, they have to change there. The API over there
//! is slow, limits its callers, and fails now and then. Who edits a customer must not notice.
//!
//! **The answer.** Each change enqueues a job that says *which* customer, and not what has changed.
//! The job reads what the customer is like when it runs, and puts all of it.
//!
//! What matters in real life:
//! - Order is not kept: a job that failed comes after later ones. If messages held the change, an old
//!   one could undo a newer one. This way the last to run puts what is true, whichever it is.
//! - PUT of everything, and not "add" or "increase": it can be done twice.
//! - Look at the status: 429 and 503 say when to come again, 400 says never, and 5xx or silence mean
//!   that nobody knows whether it was done. So it is done again.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use job_core::prelude::*;
use job_memory::MemoryBackend;

const QUEUE: &str = "crm";

/// In real life the backoff would go from seconds to an hour.
#[job(queue = "crm", max_attempts = 12, backoff = exponential("30ms", "300ms"), timeout = "30s")]
async fn sync_customer(
    customer: u32,
    customers: Data<Customers>,
    crm: Data<Crm>,
    cx: JobContext,
) -> Result<(), JobError> {
    let Some(name) = customers.name(customer) else {
        return Err(JobError::discard("they have left"));
    };
    crm.put(customer, &name).await.inspect_err(|error| {
        println!("customer {customer}, attempt {}: {error}", cx.attempt());
    })?;
    println!("customer {customer}, attempt {}: is {name} there", cx.attempt());
    Ok(())
}

// --- The client of the API -----------------------------------------------------------------------

struct Crm {
    http: reqwest::Client,
    url: String,
}

/// What can go wrong, and what it means for a job.
#[derive(Debug, thiserror::Error, JobError)]
enum CrmError {
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("it has trouble")]
    Trouble,
    #[error("it wants us to wait")]
    #[retry_after(wait)]
    Busy { wait: Duration },
    #[error("it does not like this customer")]
    #[permanent]
    Refused,
}

impl Crm {
    async fn put(&self, customer: u32, name: &str) -> Result<(), CrmError> {
        let url = format!("{}/customers/{customer}", self.url);
        let sent = self.http.put(url).body(name.to_owned()).send().await;
        let response = sent.map_err(|error| CrmError::Unreachable(error.without_url()))?;
        let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
        let wait = wait.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        match (response.status().as_u16(), wait) {
            (200..300, _) => Ok(()),
            (429 | 503, Some(wait)) => Err(CrmError::Busy { wait: wait.min(HOUR) }),
            (400..500, _) => Err(CrmError::Refused),
            _ => Err(CrmError::Trouble),
        }
    }
}

// --- The app -------------------------------------------------------------------------------------

/// A table, in an app that is more than an example.
struct Customers(Mutex<BTreeMap<u32, String>>);

impl Customers {
    fn name(&self, id: u32) -> Option<String> {
        self.0.lock().expect("nobody panics with it").get(&id).cloned()
    }

    /// A change, and the job for it.
    async fn set(&self, client: &Client, id: u32, name: &str) -> anyhow::Result<()> {
        self.0.lock().expect("nobody panics with it").insert(id, name.to_owned());
        client.enqueue(SyncCustomer { customer: id }).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let there = FlakyCrm::default();
    let http = reqwest::Client::builder().timeout(Duration::from_millis(500)).no_proxy().build()?;
    let crm = Crm { http, url: there.start().await? };

    let client = Client::new(MemoryBackend::new());
    let customers = Arc::new(Customers(Mutex::default()));
    for (id, name) in [(1, "Ada"), (2, "Grace"), (3, "Edsger"), (4, ""), (1, "Ada Lovelace")] {
        customers.set(&client, id, name).await?;
    }

    let worker = Worker::builder(&client)
        .data_arc(customers)
        .data(crm)
        .queue(Queue::new(QUEUE).concurrency(4))
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    println!("\nover there: {:?}", there.state.lock().expect("nobody panics with it").customers);
    println!("{report}");
    Ok(())
}

// --- The other side ------------------------------------------------------------------------------

/// It has a mishap with each customer, the first time or two, and wants no empty names.
#[derive(Clone, Default)]
struct FlakyCrm {
    state: Arc<Mutex<CrmState>>,
}

#[derive(Default)]
struct CrmState {
    customers: BTreeMap<u32, String>,
    requests: BTreeMap<u32, u32>,
}

impl FlakyCrm {
    async fn start(&self) -> anyhow::Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router =
            Router::new().route("/customers/{id}", put(Self::put)).with_state(self.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(url)
    }

    async fn put(State(this): State<Self>, Path(id): Path<u32>, name: String) -> Response {
        let request = {
            let mut state = this.state.lock().expect("nobody panics with it");
            let requests = state.requests.entry(id).or_default();
            *requests += 1;
            let request = *requests;
            if request > 2 || matches!((id, request), (1, _) | (3, 1) | (2, 2)) && !name.is_empty()
            {
                state.customers.insert(id, name.clone());
            }
            request
        };
        match (id, request) {
            _ if name.is_empty() => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            (1, 1 | 2) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (2, 1) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
            // It has done it, and does not say so.
            (3, 1) => std::future::pending().await,
            _ => StatusCode::NO_CONTENT.into_response(),
        }
    }
}
