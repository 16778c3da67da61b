//! A worker to deploy, and a sender of jobs for it, in one program: see `examples/deploy`.
//!
//! ```text
//! export AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true
//! cargo run --bin worker -- serve                 # until SIGTERM or ctrl-c
//! cargo run --bin worker -- serve --processes 4   # the same in four processes (Unix)
//! cargo run --bin worker -- enqueue ada grace     # a job for each name
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use job_azure::AzureBackend;
use job_core::BuildError;
use job_core::prelude::*;
use tracing_subscriber::EnvFilter;

/// The queue. The files in `examples/deploy` name it too.
const QUEUE: &str = "greetings";

/// How long running jobs have at a shutdown. Whoever sends SIGTERM must wait 2 s longer before it
/// sends SIGKILL.
const GRACE: Duration = Duration::from_secs(25);

const USAGE: &str = "usage: worker serve [--processes N] | worker enqueue NAME..";

/// Put your own work here. What it needs comes by `Data<T>`, given to the worker's builder.
#[job(queue = "greetings", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "30s")]
async fn greet(name: String, cx: JobContext) -> Result<(), JobError> {
    println!("hello, {name} (job {}, attempt {})", cx.id(), cx.attempt());
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    // The SDK's logger tells of requests that job-azure tries again by itself.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,typespec_client_core=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (role, args) = (args.next(), args.collect::<Vec<_>>());
    let client = Client::new(AzureBackend::from_env()?);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match (role.as_deref(), &args[..]) {
        (Some("serve"), []) => serve(&client).await,
        (Some("serve"), ["--processes", n]) => {
            let n = n.parse().with_context(|| format!("`{n}` is no number of processes"))?;
            serve_in_processes(&client, n).await
        }
        (Some("enqueue"), names) => enqueue(&client, names).await,
        _ => bail!(USAGE),
    }
}

fn worker(client: &Client) -> Result<Worker, BuildError> {
    Worker::builder(client).queue(Queue::new(QUEUE).concurrency(16)).grace(GRACE).build()
}

/// Runs jobs until it is told to stop. What is not done within the grace time goes back to the
/// queue, for another worker.
async fn serve(client: &Client) -> anyhow::Result<()> {
    let worker = worker(client)?;
    println!("{}", worker.describe());
    let report = worker.run_until_shutdown_signal().await?;
    println!("the worker's report: {report}");
    Ok(())
}

/// The same in several processes, for jobs that may take theirs with them: it is started again, and
/// such a job runs alone. This program is the supervisor, and each of its processes.
#[cfg(unix)]
async fn serve_in_processes(client: &Client, processes: usize) -> anyhow::Result<()> {
    let report = job_core::Supervisor::new()
        .processes(processes)
        .run(async |process| anyhow::Ok(process.run(worker(client)?).await?))
        .await?;
    println!("the supervisor's report: {report}");
    Ok(())
}

#[cfg(not(unix))]
async fn serve_in_processes(_: &Client, _: usize) -> anyhow::Result<()> {
    bail!("several processes run on Unix only; start this program several times instead")
}

async fn enqueue(client: &Client, names: &[&str]) -> anyhow::Result<()> {
    ensure!(!names.is_empty(), "whom to greet? worker enqueue NAME..");
    let jobs = names.iter().map(|name| Greet { name: (*name).to_owned() });
    let ids = client.enqueue_all(jobs).await.context("not all jobs are on the queue")?;
    println!("{} jobs on the queue `{QUEUE}`", ids.len());
    Ok(())
}
