//! A worker to deploy, and a sender of jobs for it, in one program: see `examples/deploy`.
//!
//! ```text
//! export AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true
//! cargo run --bin worker -- serve                 # until SIGTERM or ctrl-c
//! cargo run --bin worker -- serve --processes 4   # the same in four processes (Unix)
//! cargo run --bin worker -- enqueue ada grace     # a job for each name
//! cargo run --bin worker -- enqueue --seconds 60 ada  # one that computes for a minute
//! cargo run --bin worker -- poison list           # what has failed for good, and why
//! cargo run --bin worker -- poison replay --error "cannot be reached" --dry-run
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use job_azure::AzureBackend;
use job_core::prelude::*;
use job_core::{BuildError, JobId};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;
use tracing_subscriber::EnvFilter;

/// The queue. The files in `examples/deploy` name it too.
const QUEUE: &str = "greetings";

/// How long running jobs have at a shutdown. Whoever sends SIGTERM must wait 2 s longer before it
/// sends SIGKILL.
const GRACE: Duration = Duration::from_secs(25);

const USAGE: &str = "\
usage: worker serve [--processes N]
       worker enqueue [--seconds N] NAME..
       worker poison list
       worker poison replay [--id ID] [--error TEXT] [--dry-run]";

/// The most that `poison list` shows.
const SHOWN: usize = 100;

/// Put your own work here. What it needs comes by `Data<T>`, given to the worker's builder.
#[job(queue = "greetings", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "30m")]
async fn greet(
    name: String,
    #[serde(default)] seconds: u64, // to see what a shutdown does to a job that computes
    cx: JobContext,
) -> Result<(), JobError> {
    if seconds > 0 {
        println!("computing for {name}");
        spawn_blocking(move || thread::sleep(Duration::from_secs(seconds))).await?;
    }
    println!("hello, {name} (job {}, attempt {})", cx.id(), cx.attempt());
    Ok(())
}

fn main() -> ExitCode {
    // The SDK's logger tells of requests that job-azure tries again by itself.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,typespec_client_core=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = runtime.block_on(run());
    // `#[tokio::main]` would wait here for whatever `spawn_blocking` still runs, past the grace time,
    // until somebody sends SIGKILL. Their jobs have gone back to the queue.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
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
        (Some("enqueue"), ["--seconds", n, names @ ..]) => {
            let n = n.parse().with_context(|| format!("`{n}` is no number of seconds"))?;
            enqueue(&client, names, n).await
        }
        (Some("enqueue"), names) => enqueue(&client, names, 0).await,
        (Some("poison"), ["list"]) => list_poison(&client).await,
        (Some("poison"), ["replay", filters @ ..]) => replay_poison(&client, filters).await,
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

async fn enqueue(client: &Client, names: &[&str], seconds: u64) -> anyhow::Result<()> {
    ensure!(!names.is_empty(), "whom to greet? worker enqueue NAME..");
    let jobs = names.iter().map(|name| Greet { name: (*name).to_owned(), seconds });
    let ids = client.enqueue_all(jobs).await.context("not all jobs are on the queue")?;
    println!("{} jobs on the queue `{QUEUE}`", ids.len());
    Ok(())
}

/// What has failed for good, the oldest first. It takes nothing away, and shows no args.
async fn list_poison(client: &Client) -> anyhow::Result<()> {
    let poison = client.poison(QUEUE)?;
    let jobs = poison.list(SHOWN).await?;
    for job in &jobs {
        let (name, error) = (job.name().unwrap_or("no job"), job.error().unwrap_or("no error"));
        // An error may have anything in it: not to be obeyed by a terminal.
        let (name, error) = (name.escape_debug(), error.escape_debug());
        println!("{} {name}: {} at attempt {}: {error}", job.id(), job.reason(), job.attempts());
    }
    match jobs.len() {
        SHOWN => println!("the first {SHOWN} of {} in {}", poison.count().await?, poison.name()),
        all => println!("{all} in {}", poison.name()),
    }
    Ok(())
}

/// Sends back what these filters have in common; without any, everything.
async fn replay_poison(client: &Client, filters: &[&str]) -> anyhow::Result<()> {
    let mut replay = client.poison(QUEUE)?.replay();
    let mut filters = filters;
    loop {
        (replay, filters) = match filters {
            [] => break,
            ["--dry-run", rest @ ..] => (replay.dry_run(), rest),
            ["--error", text, rest @ ..] => (replay.error_contains(*text), rest),
            ["--id", id, rest @ ..] => {
                let id: JobId = id.parse().with_context(|| format!("`{id}` is no job's id"))?;
                (replay.id(id), rest)
            }
            _ => bail!(USAGE),
        };
    }
    println!("{}", replay.await?);
    Ok(())
}
