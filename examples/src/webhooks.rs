//! Webhooks: telling other people's servers what has happened, however they behave.
//!
//! ```text
//! cargo run --bin webhooks
//! ```
//!
//! **The problem.** They are slow, busy, broken or gone, and they are many. One that hangs must not
//! hold up the others, or the request in which the thing happened.
//!
//! **The answer.** One job for each delivery. What they answer decides what becomes of it.
//!
//! What matters in real life:
//! - The message says which subscription, not its URL and secret: neither belongs on a queue, and
//!   both may change while the job waits.
//! - The event has one id in all attempts, so receivers can tell repetitions. They come: a receiver
//!   that dies after it took an event cannot say that it did.
//! - The signature covers id, time and body (<https://www.standardwebhooks.com>), so nobody else can
//!   send one, change one, or send an old one again.
//! - `Retry-After` of theirs goes before the backoff of ours; 410 ends the subscription.
//! - Every request has a time limit and follows no redirect. Who lets users enter URLs must also
//!   refuse those that lead into their own network.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use job_core::prelude::*;
use job_memory::MemoryBackend;
use sha2::Sha256;

const QUEUE: &str = "webhooks";

// --- The job -------------------------------------------------------------------------------------

/// In real life the backoff would go from seconds to hours.
#[job(queue = "webhooks", max_attempts = 8, backoff = exponential("50ms", "400ms"), timeout = "10s")]
async fn deliver_webhook(
    subscription: String,
    event: String,
    body: String,
    subscriptions: Data<Subscriptions>,
    http: Data<reqwest::Client>,
    cx: JobContext,
) -> Result<(), JobError> {
    let Some(Subscription { url, secret }) = subscriptions.find(&subscription) else {
        return Err(JobError::discard("they have unsubscribed"));
    };
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string();
    let signature = BASE64.encode(mac(&secret, &event, &time, &body).finalize().into_bytes());
    let response = http
        .post(url)
        .header("webhook-id", &event)
        .header("webhook-timestamp", time)
        .header("webhook-signature", format!("v1,{signature}"))
        .body(body)
        .send()
        .await
        // Its errors tell the URL, which may hold a password.
        .map_err(reqwest::Error::without_url);

    let attempt = cx.attempt();
    let response = response.inspect_err(|error| {
        let why = if error.is_timeout() { "no answer in time" } else { "no answer" };
        println!("{subscription:<9} attempt {attempt}: {why}");
    })?;
    let status = response.status();
    println!("{subscription:<9} attempt {attempt}: {}", status.as_u16());
    if status.is_success() {
        return Ok(());
    }
    if status == StatusCode::GONE {
        subscriptions.end(&subscription);
        return Err(JobError::permanent("they are gone"));
    }
    let error = format!("they answered {status}");
    match retry_after(&response) {
        Some(wait) => Err(JobError::retry_after(error, wait)),
        None => Err(error.into()),
    }
}

/// In seconds; it can also be a date, which few send. They may not put us off for ever.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(HOUR))
}

fn mac(secret: &[u8], event: &str, time: &str, body: &str) -> Hmac<Sha256> {
    let mac = Hmac::new_from_slice(secret).expect("a key of any length");
    mac.chain_update(format!("{event}.{time}.{body}"))
}

// --- The app -------------------------------------------------------------------------------------

/// Who wants to hear of things. A table, in an app that is more than an example.
struct Subscriptions(Mutex<BTreeMap<String, Subscription>>);

#[derive(Clone)]
struct Subscription {
    url: String,
    secret: Vec<u8>,
}

impl Subscriptions {
    fn find(&self, name: &str) -> Option<Subscription> {
        self.0.lock().expect("nobody panics with it").get(name).cloned()
    }

    fn end(&self, name: &str) {
        self.0.lock().expect("nobody panics with it").remove(name);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let receivers = Receivers::start().await?;
    let names = ["good", "busy", "flaky", "hanging", "forgetful", "gone"];
    let subscriptions = names.map(|name| {
        let url = format!("{}/{name}", receivers.url);
        (name.to_owned(), Subscription { url, secret: SECRET.to_vec() })
    });

    let client = Client::new(MemoryBackend::new());
    // Something happens, and all who want to hear of it will.
    client
        .enqueue_all(names.map(|name| DeliverWebhook {
            subscription: name.to_owned(),
            event: "evt-1".to_owned(),
            body: r#"{"type":"order.paid","order":42}"#.to_owned(),
        }))
        .await?;

    let http = reqwest::Client::builder()
        .timeout(Duration::from_millis(500)) // in real life some seconds
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let worker = Worker::builder(&client)
        .data(Subscriptions(Mutex::new(subscriptions.into())))
        .data(http)
        .queue(Queue::new(QUEUE).concurrency(32))
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    println!("\nthe receivers have");
    for (name, inbox) in receivers.inboxes() {
        println!("{name:<9} {} events in {} requests", inbox.events.len(), inbox.requests);
    }
    println!("\n{report}");
    Ok(())
}

// --- The other side: servers of other people -----------------------------------------------------

const SECRET: &[u8] = b"shared with nobody else";

#[derive(Clone)]
struct Receivers {
    url: String,
    inboxes: Arc<Mutex<BTreeMap<String, Inbox>>>,
}

#[derive(Clone, Default)]
struct Inbox {
    requests: u32,
    /// The ids of events that it has: one that comes again is no news.
    events: HashSet<String>,
    /// When it has first told somebody to wait.
    told_to_wait: Option<Instant>,
}

impl Receivers {
    async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let this = Self { url, inboxes: Arc::default() };
        let router = Router::new().route("/{name}", post(receive)).with_state(this.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(this)
    }

    fn inboxes(&self) -> BTreeMap<String, Inbox> {
        self.inboxes.lock().expect("nobody panics with it").clone()
    }
}

async fn receive(
    State(receivers): State<Receivers>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (event, time) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap_or_default();
    // It would also refuse a time that is long ago.
    let signature = BASE64.decode(signature).unwrap_or_default();
    if mac(SECRET, event, time, &body).verify_slice(&signature).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }

    let (request, refuses) = {
        let mut inboxes = receivers.inboxes.lock().expect("nobody panics with it");
        let inbox = inboxes.entry(name.clone()).or_default();
        inbox.requests += 1;
        let refuses = match name.as_str() {
            // For a second, whoever comes how often.
            "busy" => inbox.told_to_wait.get_or_insert_with(Instant::now).elapsed() < SECOND,
            "hanging" => inbox.requests == 1,
            "flaky" => inbox.requests <= 2,
            "gone" => true,
            _ => false,
        };
        if !refuses {
            inbox.events.insert(event.to_owned());
        }
        (inbox.requests, refuses)
    };
    match (name.as_str(), request) {
        ("busy", _) if refuses => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response()
        }
        ("flaky", 1 | 2) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        ("gone", _) => StatusCode::GONE.into_response(),
        // The one is stuck; the other has taken the event, and dies before it can say so.
        ("hanging" | "forgetful", 1) => std::future::pending().await,
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}
