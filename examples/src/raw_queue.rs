//! A raw queue: taking the messages of a Functions app, as they are, on Azure Queue Storage.
//!
//! ```text
//! export AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true
//! cargo run --bin raw-queue
//! ```
//!
//! **The problem.** An app posts plain JSON, in base64, for a Functions app. Its queue is to be worked
//! off by a worker, and the app that posts is somebody else's, or is to stay as it is for now.
//!
//! **The answer.** A raw queue: every message on it is the args of one job. It goes the other way as
//! well: `.raw()` posts what a Functions app reads. So either side can be moved first.
//!
//! What matters in real life:
//! - Serve a queue by a worker or by a Functions app, not by both: each counts the other's deliveries
//!   as its own.
//! - Messages are never rewritten, so the service's count of deliveries is the count of attempts, and
//!   deploys count.
//! - There is no job id that producers know. Take a key of the message's own for idempotency: here
//!   the order's number. It is written down after the effect, or in one transaction with it: written
//!   before, a mail that fails would be taken for sent.
//! - Names are theirs: `#[serde(rename = "..")]` on an arg.
//! - What is no such JSON is tried as often as the rest, since a deploy may be under way, and is then
//!   in `<queue>-poison`, byte for byte, with the reason.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::HashSet;
use std::sync::Mutex;

use job_azure::AzureBackend;
use job_core::prelude::*;

const QUEUE: &str = "functions-orders";

/// What the other app posts: `{"orderId": 7, "email": "ada@example.com"}`.
/// In real life the backoff would go from seconds to minutes.
#[job(max_attempts = 3, backoff = fixed("1s"))]
async fn confirm_order(
    #[serde(rename = "orderId")] order_id: u64,
    email: String,
    confirmed: Data<Mutex<HashSet<u64>>>,
    cx: JobContext,
) -> Result<(), JobError> {
    // A table with a unique key, in an app that is more than an example.
    if confirmed.lock().expect("nobody panics with it").contains(&order_id) {
        println!("order {order_id}: confirmed already");
        return Ok(());
    }
    send_confirmation(order_id, &email, cx.attempt())?;
    // If it dies here, it sends another one, and never none.
    confirmed.lock().expect("nobody panics with it").insert(order_id);
    Ok(())
}

/// As by a mail server that is away when it is asked for the first time.
fn send_confirmation(order: u64, email: &str, attempt: u32) -> Result<(), JobError> {
    if order == 1 && attempt == 1 {
        println!("order {order}: the mail server is away");
        return Err("the mail server is away".into());
    }
    println!("order {order}: confirmed to {email}");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::new(AzureBackend::from_env()?);
    // As the other app does it: plain JSON in base64, and nothing around it.
    let order = ConfirmOrder { order_id: 1, email: "grace@example.com".to_owned() };
    client.enqueue(order).queue(QUEUE).raw().await?;

    let worker = Worker::builder(&client)
        .data(Mutex::new(HashSet::<u64>::new()))
        .queue(Queue::new(QUEUE).raw::<ConfirmOrder>().concurrency(1))
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    for job in client.poison(QUEUE)?.list(10).await? {
        println!("in {QUEUE}-poison: {}, {}", job.reason(), job.error().unwrap_or("no error"));
    }
    println!("\n{report}");
    Ok(())
}
