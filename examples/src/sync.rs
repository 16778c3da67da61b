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
//! The job reads what the customer is like when it runs, puts all of it, and looks once more.
//!
//! What matters in real life:
//! - Order is not kept: a job that failed comes after later ones. If messages held the change, an old
//!   one could undo a newer one.
//! - Two jobs for one customer may run at the same time, and the one that has read first may put last.
//!   So each looks again after its put, and puts again if the customer has changed meanwhile. Only a
//!   request that is given up and arrives all the same, later, can still undo something: if the API
//!   knows versions (`If-Match`), send one along.
//! - PUT of everything, and not "add" or "increase": it can be done twice.
//! - Look at the status: 429 and 503 say when to come again, 400 says never, and 5xx or silence mean
//!   that nobody knows whether it was done. So it is done again. 401 and 403 are about your own token
//!   and 408 and 429 about the moment: none of them means that this customer can never be put.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use job_core::prelude::*;
use job_memory::MemoryBackend;
use tokio::sync::Notify;

const QUEUE: &str = "crm";

/// In real life the backoff would go from seconds to an hour.
#[job(queue = "crm", max_attempts = 12, backoff = exponential("30ms", "300ms"), timeout = "30s")]
async fn sync_customer(
    customer: u32,
    customers: Data<Customers>,
    crm: Data<Crm>,
    cx: JobContext,
) -> Result<(), JobError> {
    let attempt = cx.attempt();
    loop {
        let Some(name) = customers.name(customer) else {
            return Err(JobError::discard("they have left"));
        };
        crm.put(customer, &name).await.inspect_err(|error| {
            println!("customer {customer}, attempt {attempt}: {error}");
        })?;
        if customers.name(customer).as_ref() == Some(&name) {
            println!("customer {customer}, attempt {attempt}: is {name} there");
            return Ok(());
        }
        println!("customer {customer}, attempt {attempt}: has changed meanwhile");
    }
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
            (401 | 403 | 408 | 429, _) => Err(CrmError::Trouble),
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
    let http = reqwest::Client::builder().timeout(SECOND).no_proxy().build()?;
    let crm = Crm { http, url: there.start().await? };

    let client = Client::new(MemoryBackend::new());
    let customers = Arc::new(Customers(Mutex::default()));
    let names = ["Ada", "Grace", "Edsger", "", "Barbara", "Tony"];
    for (id, name) in (1..).zip(names).chain([(1, "Ada Lovelace")]) {
        customers.set(&client, id, name).await?;
    }

    let worker = Worker::builder(&client)
        .data_arc(customers.clone())
        .data(crm)
        .queue(Queue::new(QUEUE).concurrency(8))
        .build()?;
    // One more change, while a job is about to put what was before it.
    let change = async {
        there.on_its_way.notified().await;
        customers.set(&client, 6, "Tony Hoare").await
    };
    let work = worker.run_until(support::until_empty(&client, &[QUEUE]));
    let work = async { anyhow::Ok(work.await?) };
    let (report, ()) = tokio::try_join!(work, change)?;

    println!("\nover there: {:?}", there.state().customers);
    println!("{report}");
    Ok(())
}

// --- The other side ------------------------------------------------------------------------------

/// It has a mishap with each customer, the first time or two, and wants no empty names.
#[derive(Clone, Default)]
struct FlakyCrm {
    state: Arc<Mutex<CrmState>>,
    /// Customer 6 is on its way here, as it was; and has come, as it is.
    on_its_way: Arc<Notify>,
    newer: Arc<Notify>,
}

#[derive(Default)]
struct CrmState {
    customers: BTreeMap<u32, String>,
    requests: BTreeMap<u32, u32>,
    /// When it has told somebody to wait.
    told_to_wait: Option<Instant>,
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

    fn state(&self) -> MutexGuard<'_, CrmState> {
        self.state.lock().expect("nobody panics with it")
    }

    async fn put(State(this): State<Self>, Path(id): Path<u32>, name: String) -> Response {
        let request = this.count(id);
        let wait = || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response();
        match (id, request) {
            _ if name.is_empty() => return StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            (2, _) if this.is_busy() => return wait(),
            // A limit that does not say for how long.
            (5, 1) => return StatusCode::TOO_MANY_REQUESTS.into_response(),
            // A slow wire: what was sent later comes first.
            (6, 1) => {
                this.on_its_way.notify_one();
                this.newer.notified().await;
            }
            _ => {}
        }
        this.state().customers.insert(id, name);
        match (id, request) {
            // It has done it, and does not say so.
            (1, 1 | 2) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (3, 1) => std::future::pending().await,
            (6, 2) => {
                this.newer.notify_one();
                StatusCode::NO_CONTENT.into_response()
            }
            _ => StatusCode::NO_CONTENT.into_response(),
        }
    }

    fn count(&self, id: u32) -> u32 {
        let mut state = self.state();
        let requests = state.requests.entry(id).or_default();
        *requests += 1;
        *requests
    }

    /// For a second from the first time that somebody asks.
    fn is_busy(&self) -> bool {
        self.state().told_to_wait.get_or_insert_with(Instant::now).elapsed() < SECOND
    }
}
