//! A deploy amid work: short jobs are finished, long ones go on where they were, nothing begins anew.
//!
//! ```text
//! cargo run --bin graceful-shutdown
//! ```
//!
//! **The problem.** A deploy ends every worker, with jobs under way. Some would be done in a moment;
//! others take an hour, and nobody waits for an hour.
//!
//! **The answer.** At SIGTERM a worker takes no more jobs, and those that it runs have a grace time.
//! What is not done by then is cancelled and goes back to the queue, at once and without using up an
//! attempt. A long job listens for that, notes how far it is, and goes on from there in the next
//! worker.
//!
//! What matters in real life:
//! - Let whoever sends SIGTERM (systemd, Kubernetes, a container runtime) wait for longer than the
//!   grace time, 25 s by default, before it sends SIGKILL.
//! - After the grace time a job has half a second to note where it is. Note it after every step
//!   anyway: no signal announces a power failure.
//! - A step and its note are two things, and a process may die between them. So a step that is done
//!   again must do no harm.
//! - A service calls `run_until_shutdown_signal()`. This one is its own deploy, so it does not.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use job_core::prelude::*;
use job_memory::MemoryBackend;
use tokio::sync::Notify;
use tokio::time::sleep;

const QUEUE: &str = "work";
const STEPS: u32 = 10;

/// It is under way when the signal comes, and done within the grace time.
#[job(queue = "work")]
async fn short(deploy: Data<Deploy>) -> Result<(), JobError> {
    deploy.short_runs.notify_one();
    deploy.amid_work.notified().await;
    sleep(Duration::from_millis(50)).await;
    println!("short: done");
    Ok(())
}

/// It would take far longer than the grace time.
#[job(queue = "work", timeout = "2h")]
async fn long(notes: Data<Notes>, deploy: Data<Deploy>, cx: JobContext) -> Result<(), JobError> {
    let first = notes.steps_done.load(Ordering::SeqCst) + 1;
    println!("long: from step {first} on, attempt {}", cx.attempt());
    for step in first..=STEPS {
        let work = async {
            if step == 4 {
                deploy.begin().await;
            }
            sleep(Duration::from_millis(20)).await;
        };
        // Between steps, or amid one that can be left.
        if cx.cancellation().run_until_cancelled(work).await.is_none() {
            println!("long: stopped before step {step} was done");
            // It need not say so: what is cancelled is given back. But this is the place to tidy up.
            return Err(JobError::snooze(Duration::from_millis(1)));
        }
        notes.steps_done.store(step, Ordering::SeqCst);
        println!("long: step {step} is done");
    }
    Ok(())
}

/// How far the long job is: a row in a database, in an app that is more than an example.
#[derive(Default)]
struct Notes {
    steps_done: AtomicU32,
}

/// Comes when the long job is at its fourth step, once.
#[derive(Default)]
struct Deploy {
    short_runs: Notify,
    amid_work: Notify,
    signal: Notify,
    begun: AtomicBool,
}

impl Deploy {
    async fn begin(&self) {
        if self.begun.swap(true, Ordering::SeqCst) {
            return;
        }
        self.short_runs.notified().await;
        self.signal.notify_one();
        self.amid_work.notify_one();
        // A step that takes as long as it takes.
        std::future::pending().await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (notes, deploy) = (Arc::new(Notes::default()), Arc::new(Deploy::default()));
    let client = Client::new(MemoryBackend::new());
    client.enqueue(Long {}).await?;
    client.enqueue(Short {}).await?;

    let worker = || {
        Worker::builder(&client)
            .data_arc(notes.clone())
            .data_arc(deploy.clone())
            .queue(Queue::new(QUEUE).concurrency(2))
            .grace(Duration::from_millis(500)) // in real life 25 s
            .build()
    };
    let old = worker()?.run_until(deploy.signal.notified()).await?;
    println!("the old worker: {old}\n");

    let new = worker()?.run_until(support::until_empty(&client, &[QUEUE])).await?;
    println!("the new worker: {new}");
    Ok(())
}
