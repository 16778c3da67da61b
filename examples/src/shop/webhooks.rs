//! Telling other people's servers what has happened.

use job_core::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The job as the first release had it: without a key by which the other side knows repetitions.
#[job(name = "deliver_webhook")]
pub struct DeliverWebhookV1 {
    /// Where to.
    pub url: String,
    /// What has happened.
    pub event: String,
}

/// Posts an event to somebody's server, by HTTP.
#[job(
    queue = "webhooks",
    version = 2,
    upgrade = from_v1,
    max_attempts = 10,
    backoff = exponential("10s", "6h"),
    timeout = "10s"
)]
pub async fn deliver_webhook(url: String, event: String, key: String) -> Result<(), JobError> {
    match post(&url, &event, &key).await? {
        200..300 => Ok(()),
        // They do not want it any more.
        410 => Err(JobError::discard("they are gone")),
        429 => Err(JobError::retry_after("they are busy", 5 * MINUTE)),
        400..500 => Err(JobError::permanent("they do not like it")),
        status => Err(format!("they have trouble: {status}").into()),
    }
}

fn from_v1(old: DeliverWebhookV1) -> DeliverWebhook {
    let key = format!("{}-{}", old.url, old.event);
    DeliverWebhook { url: old.url, event: old.event, key }
}

/// The status that they answer with. As little HTTP as will do: an app has a client for that.
async fn post(url: &str, event: &str, key: &str) -> Result<u16, JobError> {
    let rest = url.strip_prefix("http://").ok_or("not an http URL").or_permanent()?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut socket = TcpStream::connect(host).await?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{event}",
        event.len()
    );
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let status = String::from_utf8_lossy(&answer);
    let status = status.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok(status.ok_or("they do not speak HTTP")?)
}
