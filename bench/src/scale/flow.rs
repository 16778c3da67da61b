//! Memory of a process through which jobs flow for long.
//!
//! In a process of its own, since what others have freed would hide what it takes.

use std::convert::Infallible;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use job_core::{Client, Data, Queue, Worker, job};
use job_memory::MemoryBackend;
use tokio::sync::Semaphore;

use super::{CONCURRENCY, PART};
use crate::figure::{Figure, Unit};
use crate::finish::Tasks;
use crate::round::{Effort, progress};
use crate::runtime;
use crate::table::grouped;

/// How many jobs flow through.
const JOBS: u64 = 5_000_000;

/// How often it is looked at.
const PARTS: u64 = 10;

/// The most jobs that wait at a time.
const MOST_WAITING: u32 = 10_000;

pub(super) fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let jobs = effort.of(JOBS);
    progress(&format!("scale: memory over {} jobs", grouped(jobs as f64)));
    let output = Command::new(std::env::current_exe()?)
        .args(["flow", &jobs.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "its process failed: {}", output.status);
    let resident: Vec<u64> = serde_json::from_slice(&output.stdout)?;
    let figures = (1..).zip(resident).map(|(part, bytes)| Figure {
        part: PART.to_owned(),
        measure: "resident memory as jobs flow through, at most 10,000 waiting".to_owned(),
        contender: format!("up to {} jobs", grouped((jobs * part / PARTS) as f64)),
        concurrency: Some(CONCURRENCY),
        unit: Unit::Bytes,
        samples: vec![bytes as f64],
        cpu: Vec::new(),
    });
    Ok(figures.collect())
}

/// Makes room for another job.
#[job(queue = "flow")]
async fn flow(_user_id: u64, _email: String, room: Data<Arc<Semaphore>>) -> Result<(), Infallible> {
    room.add_permits(1);
    Ok(())
}

/// Runs so many jobs and gives the most resident memory, in bytes, during each tenth of them.
///
/// # Errors
/// If the system does not tell, or the worker ends.
pub fn run(jobs: u64) -> anyhow::Result<Vec<u64>> {
    runtime::run(async move {
        let room = Arc::new(Semaphore::new(MOST_WAITING as usize));
        let client = Client::new(MemoryBackend::new());
        let queue = Queue::new("flow").concurrency(CONCURRENCY);
        let worker = Worker::builder(&client).data(Arc::clone(&room)).queue(queue).build()?;
        let mut tasks = Tasks::new();
        tasks.spawn(async move {
            worker.run().await?;
            Ok(())
        });
        tokio::select! {
            most = enqueue(&client, &room, jobs) => most,
            Some(ended) = tasks.join_next() => {
                ended??;
                bail!("the worker ended before its jobs");
            }
        }
    })
}

async fn enqueue(client: &Client, room: &Semaphore, jobs: u64) -> anyhow::Result<Vec<u64>> {
    let chunk = (jobs / PARTS).clamp(1, 1000);
    let mut most = Vec::new();
    for part in 0..PARTS {
        let (begin, end) = (jobs * part / PARTS, jobs * (part + 1) / PARTS);
        let mut resident = 0;
        for begin in (begin..end).step_by(chunk as usize) {
            let numbers = begin..end.min(begin + chunk);
            room.acquire_many((numbers.end - numbers.start) as u32).await?.forget();
            let flow = |_user_id| Flow { _user_id, _email: "ada1@example.com".to_owned() };
            client.enqueue_all(numbers.map(flow)).await?;
            resident = resident.max(resident_bytes()?);
        }
        most.push(resident);
    }
    room.acquire_many(MOST_WAITING).await?.forget();
    Ok(most)
}

/// What the system says that this process has in memory.
fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("the memory of a process is known on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("the system does not tell")?.parse::<u64>()? * 1024)
}
