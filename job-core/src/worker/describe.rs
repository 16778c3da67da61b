//! What a worker will do, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::config::RateLimit;
use crate::Backoff;
use crate::duration::{self, to_text};
use crate::pipeline::without_paths;

/// What a worker will do: [`Worker::describe`](crate::Worker::describe).
///
/// Its `Display` is a set of aligned tables for people, and may change. Its JSON, by serde, is for
/// programs: fields may be added, none goes away. Durations are texts such as `"1m30s"`, backoffs
/// such as `"exponential(2s, 10m)"`.
///
/// ```
/// # fn example(client: job_core::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let worker = job_core::Worker::builder(&client).build()?;
/// println!("{}", worker.describe());
/// println!("{}", serde_json::to_string_pretty(worker.describe())?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// The worker itself.
    pub worker: WorkerDescription,
    /// The queues that it serves, by name.
    pub queues: Vec<QueueDescription>,
    /// The jobs that it runs, by name.
    pub jobs: Vec<JobDescription>,
}

/// The settings of a worker in effect.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerDescription {
    /// How many jobs run at once over all queues; `None` is no limit but that of each queue.
    pub concurrency: Option<usize>,
    /// How often a job is tried if nothing else says so.
    pub max_attempts: u32,
    /// How long to wait between attempts if nothing else says so.
    pub backoff: Backoff,
    /// How long an attempt may take if nothing else says so.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long running jobs have to finish at a shutdown.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// How many times a job may take its worker process with it.
    pub crash_limit: u32,
    /// How long in sum a message is put back that the worker does not know what to do with.
    #[serde(with = "duration")]
    pub put_back_limit: Duration,
    /// The types of its layers, the outermost first.
    pub layers: Vec<String>,
    /// Where it serves health, metrics and scaling figures, if anywhere.
    #[cfg(feature = "http")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDescription>,
}

/// Where and how a worker shows how it is.
#[cfg(feature = "http")]
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HttpDescription {
    /// The address that it was told; a process of a supervisor listens on a port of its own.
    pub address: std::net::SocketAddr,
    /// How often the backend is asked for backlog, age and poison.
    #[serde(with = "duration")]
    pub sample_every: Duration,
    /// How long it may not move before it is not alive.
    #[serde(with = "duration")]
    pub stall_limit: Duration,
}

/// A queue that a worker serves, with its settings in effect.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct QueueDescription {
    /// Its name.
    pub name: String,
    /// The job that a raw queue is for.
    pub raw: Option<&'static str>,
    /// How many of its jobs run at once.
    pub concurrency: usize,
    /// How many of its jobs start in a window of time.
    pub rate_limit: Option<RateLimit>,
    /// How long a message is hidden from other workers at a time.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// How long it waits after the first empty receive.
    #[serde(with = "duration")]
    pub min_poll: Duration,
    /// The longest wait between two receives.
    #[serde(with = "duration")]
    pub max_poll: Duration,
    /// How often its jobs are tried that say nothing themselves.
    pub max_attempts: u32,
    /// How long they wait between attempts.
    pub backoff: Backoff,
    /// How long an attempt of theirs may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The types of its layers, the outermost first.
    pub layers: Vec<String>,
}

/// A job that a worker runs, with the options that hold when it comes from its own queue.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct JobDescription {
    /// The name on the wire.
    pub name: &'static str,
    /// Older names that are read too.
    pub aliases: Vec<&'static str>,
    /// The version of its args.
    pub version: u32,
    /// The queue that it goes to if a call says nothing else.
    pub queue: String,
    /// Whether this worker serves that queue. If not, the job runs here only where a call sent it
    /// to one that is served.
    pub served: bool,
    /// The type of its handler.
    pub handler: &'static str,
    /// How often it is tried.
    pub max_attempts: u32,
    /// How long it waits between attempts.
    pub backoff: Backoff,
    /// How long an attempt may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long after its enqueueing it is still worth running.
    #[serde(with = "duration::option")]
    pub expires_in: Option<Duration>,
    /// The types of the `Data` that its handler needs.
    pub data: Vec<&'static str>,
    /// The types of its own layers, the outermost first.
    pub layers: Vec<String>,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(
            f,
            ["WORKER", "ATTEMPTS", "BACKOFF", "TIMEOUT", "GRACE", "CRASHES", "PUT BACK", "LAYERS"],
            [&self.worker].into_iter().map(|worker| {
                [
                    match worker.concurrency {
                        Some(concurrency) => format!("{concurrency} at once"),
                        None => "no limit".into(),
                    },
                    worker.max_attempts.to_string(),
                    worker.backoff.to_string(),
                    to_text(worker.timeout),
                    to_text(worker.grace),
                    worker.crash_limit.to_string(),
                    to_text(worker.put_back_limit),
                    list(&worker.layers),
                ]
            }),
        )?;
        #[cfg(feature = "http")]
        if let Some(http) = &self.worker.http {
            f.write_str("\n")?;
            let samples = format!("every {}", to_text(http.sample_every));
            let row = [http.address.to_string(), samples, to_text(http.stall_limit)];
            table(f, ["HTTP", "SAMPLES", "STALL LIMIT"], [row].into_iter())?;
        }
        f.write_str("\n")?;
        table(
            f,
            ["QUEUE", "CONCURRENCY", "RATE LIMIT", "LEASE", "POLL", "RAW", "LAYERS"],
            self.queues.iter().map(|queue| {
                [
                    queue.name.clone(),
                    queue.concurrency.to_string(),
                    queue.rate_limit.map(|rate| rate.to_string()).unwrap_or_default(),
                    to_text(queue.lease),
                    format!("{} to {}", to_text(queue.min_poll), to_text(queue.max_poll)),
                    queue.raw.unwrap_or_default().to_owned(),
                    list(&queue.layers),
                ]
            }),
        )?;
        f.write_str("\n")?;
        table(
            f,
            [
                "JOB", "ALIASES", "VERSION", "QUEUE", "ATTEMPTS", "BACKOFF", "TIMEOUT", "EXPIRES",
                "DATA", "LAYERS",
            ],
            self.jobs.iter().map(|job| {
                [
                    job.name.to_owned(),
                    list(&job.aliases),
                    job.version.to_string(),
                    format!("{}{}", job.queue, if job.served { "" } else { " (not served)" }),
                    job.max_attempts.to_string(),
                    job.backoff.to_string(),
                    to_text(job.timeout),
                    job.expires_in.map(to_text).unwrap_or_default(),
                    list(&job.data.iter().map(|name| without_paths(name)).collect::<Vec<_>>()),
                    list(&job.layers),
                ]
            }),
        )
    }
}

fn list(names: &[impl AsRef<str>]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// Rows under a head, each column as wide as its widest cell. A cell without anything is a dash.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let mut rows: Vec<_> = rows.collect();
    rows.insert(0, head.map(str::to_owned));
    for cell in rows.iter_mut().flatten().filter(|cell| cell.is_empty()) {
        cell.push('-');
    }
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
