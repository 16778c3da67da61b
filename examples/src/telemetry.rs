//! What a worker shows of itself: log lines, traces, metrics, health and scaling figures.
//!
//! ```text
//! cargo run --bin telemetry               # takes an order, shows what is seen of it, and ends
//! cargo run --bin telemetry -- --stay     # goes on until ctrl-c, for a browser or curl
//! ```
//!
//! Log lines go to stderr: one at `info` for the attempt that fails, none for those that do well
//! (`RUST_LOG=job_core=debug` shows more). Traces go to stdout; a program that has a collector takes
//! `opentelemetry_otlp::SpanExporter` in place of the one here, and a batch exporter. The worker
//! itself serves `/livez`, `/readyz`, `/metrics` and `/scale`.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use job_core::prelude::*;
use job_memory::MemoryBackend;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Takes the money, which the bank refuses at first, and has the receipt sent.
#[job(queue = "orders", backoff = fixed("50ms"))]
async fn charge_order(order: u64, cx: JobContext) -> Result<(), JobError> {
    if cx.attempt() == 1 {
        return Err("the bank cannot be reached".into());
    }
    cx.client().enqueue(SendReceipt { order }).await.map_err(JobError::retry)?;
    Ok(())
}

/// Sends the receipt.
#[job(queue = "mail")]
async fn send_receipt(order: u64) -> Result<(), JobError> {
    // In the span of the run, which says which job it is.
    tracing::debug!(order, "the receipt is on its way");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tracer = SdkTracerProvider::builder()
        .with_simple_exporter(opentelemetry_stdout::SpanExporter::default())
        .build();
    let filter = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter());
    let traces = tracing_opentelemetry::layer().with_tracer(tracer.tracer("telemetry"));
    tracing_subscriber::registry().with(lines).with(traces.with_filter(filter())).init();

    let stay = std::env::args().nth(1).as_deref() == Some("--stay");
    let client = Client::new(MemoryBackend::new());
    let worker = Worker::builder(&client)
        .queue(Queue::new("orders"))
        .queue(Queue::new("mail"))
        // On loopback, on a port that is free; a deployed worker has `([0, 0, 0, 0], 9090)`.
        .http(([127, 0, 0, 1], 0))
        .sample_every(Duration::from_millis(100))
        .build()?;
    let handle = worker.handle();
    let running = tokio::spawn(worker.run_until_shutdown_signal());
    let address = handle.http_address().await;
    until(address, "/readyz").await?;

    // What a web server does when somebody orders something.
    let request = tracing::info_span!("POST /orders");
    client.enqueue(ChargeOrder { order: 7 }).instrument(request).await?;
    until_completed(address).await?;

    println!("\n== GET http://{address}/scale");
    println!("{}", until(address, "/scale").await?.trim_end());
    println!("\n== GET http://{address}/metrics, counters alone");
    let (_, metrics) = get(address, "/metrics").await?;
    let counters =
        metrics.lines().filter(|line| line.starts_with("job_") && line.contains("_total"));
    for line in counters.filter(|line| !line.ends_with(" 0") && !line.contains("requests")) {
        println!("{line}");
    }
    if stay {
        println!("\n== serving http://{address} until ctrl-c");
    } else {
        handle.shutdown();
    }
    let report = running.await??;
    tracer.shutdown()?;
    println!("\nthe worker's report: {report}");
    Ok(())
}

/// Both jobs are done.
async fn until_completed(address: SocketAddr) -> anyhow::Result<()> {
    for queue in ["orders", "mail"] {
        let done = format!("job_completed_total{{queue=\"{queue}\"");
        let is_done = |line: &str| line.starts_with(&done) && line.ends_with(" 1");
        while !get(address, "/metrics").await?.1.lines().any(is_done) {
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Asks until the answer is 200, as a probe does.
async fn until(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    loop {
        let (status, body) = get(address, path).await?;
        if status == 200 {
            return Ok(body);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What `curl` does.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    ensure!(head.starts_with("HTTP/1.1 "), "it answers something else than HTTP");
    Ok((status, body.to_owned()))
}
