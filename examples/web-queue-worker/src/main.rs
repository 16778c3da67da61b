//! A web app that takes pictures and answers at once, and workers that make thumbnails of them.
//!
//! ```text
//! cargo run -p web-queue-worker                   # both in one process, the queue in memory
//!
//! export AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true
//! cargo run -p web-queue-worker -- web            # as many of each as you like,
//! cargo run -p web-queue-worker -- worker --processes 4      # side by side
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

mod args;
mod store;
mod thumbnails;
mod web;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use job_azure::AzureBackend;
use job_core::prelude::*;
use job_memory::MemoryBackend;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Role};
use self::store::Store;
use self::thumbnails::Scanner;

#[tokio::main]
async fn main() -> ExitCode {
    // The SDK's logger tells of requests that job-azure tries again by itself.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,typespec_client_core=error"));
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
    let Some(args) = Args::parse(std::env::args().skip(1))? else {
        print!("{}", args::HELP);
        return Ok(());
    };
    let store = Store::open(&args.data)
        .with_context(|| format!("cannot use the folder {}", args.data.display()))?;
    let store = Arc::new(store);
    match args.role {
        Role::Both => both(&args, store).await,
        Role::Web => {
            let client = Client::new(AzureBackend::from_env()?);
            serve(&args, client, store, shutdown_signal()?).await
        }
        Role::Worker { processes } => work(processes, args.scanner, store).await,
    }
}

/// The web alone: it only puts jobs on the queue.
async fn serve(
    args: &Args,
    client: Client,
    store: Arc<Store>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on http://{}", listener.local_addr()?);
    web::serve(listener, client, store, stop).await
}

/// Workers alone, in processes of their own. What is not done at a shutdown goes back to the queue.
#[cfg(unix)]
async fn work(processes: usize, scanner: Scanner, store: Arc<Store>) -> anyhow::Result<()> {
    let report = job_core::Supervisor::new()
        .processes(processes)
        .run(async |process| {
            let client = Client::new(AzureBackend::from_env()?);
            let worker = thumbnails::worker(&client, store, scanner)?;
            anyhow::Ok(process.run(worker).await?)
        })
        .await?;
    println!("the supervisor's report: {report}");
    Ok(())
}

#[cfg(not(unix))]
async fn work(processes: usize, scanner: Scanner, store: Arc<Store>) -> anyhow::Result<()> {
    anyhow::ensure!(processes == 1, "several processes run on Unix only; start several programs");
    let client = Client::new(AzureBackend::from_env()?);
    let worker = thumbnails::worker(&client, store, scanner)?;
    println!("the worker's report: {}", worker.run_until_shutdown_signal().await?);
    Ok(())
}

/// Both in one process, on a queue that ends with it: to look at, and for tests.
async fn both(args: &Args, store: Arc<Store>) -> anyhow::Result<()> {
    let client = Client::new(MemoryBackend::new());
    let worker = thumbnails::worker(&client, store.clone(), args.scanner)?;
    let stop = shutdown_signal()?;
    let work = async { anyhow::Ok(worker.run_until(stop.clone().cancelled_owned()).await?) };
    let (report, ()) = tokio::try_join!(work, serve(args, client, store, stop.clone()))?;
    println!("the worker's report: {report}");
    Ok(())
}

/// Cancelled by ctrl-c or SIGTERM.
fn shutdown_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // It ends with the program.
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        stopped.cancel();
    });
    Ok(stop)
}
