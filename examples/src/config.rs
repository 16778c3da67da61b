//! A worker whose settings come from a file and from environment variables.
//!
//! ```text
//! cargo run --bin config                                    # examples/config/worker.toml
//! JOB_CONCURRENCY=2 cargo run --bin config                  # a variable goes before the file
//! JOB_QUEUES__MAIL__RATE_LIMIT="5 per 1s" cargo run --bin config
//! JOB_SERVE=mail cargo run --bin config                     # a worker of one queue
//! cargo run --bin config -- --json                          # the settings in effect, as JSON
//! cargo run --bin config -- my.toml
//! ```
//!
//! It prints the settings in effect, runs a few jobs, and ends. A setting that is wrong, or that
//! nobody knows, is an error that names it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use config::{Config, Environment, File};
use job_core::WorkerConfig;
use job_core::prelude::*;
use job_memory::MemoryBackend;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

// --- The settings --------------------------------------------------------------------------------

/// Reads the file, then what variables say.
///
/// An app of more than a worker would have a section for it in a type of its own, as
/// `struct Settings { worker: WorkerConfig, .. }`, and a prefix of its own, such as `SHOP`: others
/// set variables that begin with `JOB_`, as Jenkins does with `JOB_NAME`, and a setting that nobody
/// knows is an error here.
fn read_settings(file: &Path) -> anyhow::Result<WorkerConfig> {
    let variables = Environment::with_prefix("JOB")
        .prefix_separator("_")
        .separator("__")
        .source(Some(variables()));
    let settings = Config::builder()
        .add_source(File::from(file))
        .add_source(variables)
        .build()
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(WorkerConfig::read(settings)?)
}

/// The environment, with the names of queues as they are: variables have no dashes in their names,
/// and queues no underscores, so `JOB_QUEUES__NIGHTLY_REPORT__LEASE` is about `nightly-report`.
fn variables() -> HashMap<String, String> {
    const QUEUES: &str = "JOB_QUEUES__";
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let renamed = texts.map(|(name, value)| {
        let queue = name.strip_prefix(QUEUES).and_then(|rest| rest.split_once("__"));
        let name = match queue {
            Some((queue, rest)) => format!("{QUEUES}{}__{rest}", queue.replace('_', "-")),
            None => name,
        };
        (name, value)
    });
    renamed.collect()
}

// --- The jobs ------------------------------------------------------------------------------------

/// Tells the main program what was done.
struct News(UnboundedSender<String>);

#[job(queue = "mail")]
async fn send_mail(to: String, news: Data<News>) -> Result<(), JobError> {
    news.0.send(format!("a mail to {to}"))?;
    Ok(())
}

/// What the job says of itself stands, whatever the settings say.
#[job(queue = "nightly-report", max_attempts = 2)]
async fn write_report(about: String, news: Data<News>) -> Result<(), JobError> {
    news.0.send(format!("the report about {about}"))?;
    Ok(())
}

// --- The program ---------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut json = false;
    let mut file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/worker.toml");
    for arg in std::env::args_os().skip(1) {
        match arg.to_str() {
            Some("--json") => json = true,
            Some(flag) if flag.starts_with('-') => bail!("unknown argument {flag}"),
            _ => file = PathBuf::from(arg),
        }
    }
    let settings = read_settings(&file)?;

    let client = Client::new(MemoryBackend::new());
    let (news, mut told) = unbounded_channel();
    let worker = Worker::builder(&client)
        .data(News(news))
        .max_attempts(3) // until the settings say something else
        .config(settings) // last, so they have the last word
        .build()?;
    if json {
        println!("{}", serde_json::to_string_pretty(worker.describe())?);
        return Ok(());
    }
    println!("{}", worker.describe());

    let people = ["ada", "grace", "katherine"];
    client.enqueue_all(people.map(|to| SendMail { to: to.to_owned() })).await?;
    client.enqueue(WriteReport { about: "mails".to_owned() }).await?;
    // Those of other queues are left for other workers.
    let serves = |queue| worker.describe().queues.iter().any(|served| served.name == queue);
    let mails = if serves("mail") { people.len() } else { 0 };
    let expected = mails + usize::from(serves("nightly-report"));
    let mut done = Vec::new();
    let all = async {
        while done.len() < expected {
            done.extend(told.recv().await);
        }
    };
    let report = worker.run_until(all).await?;
    done.sort();
    println!("done: {}", done.join(", "));
    println!("the worker's report: {report}");
    Ok(())
}
