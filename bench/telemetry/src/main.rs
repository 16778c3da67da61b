//! Enqueues and runs jobs in memory, for callgrind to look at: `bench-telemetry CONCURRENCY JOBS`.
//!
//! Nobody listens: there is neither a subscriber of `tracing` nor a recorder of `metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use job_core::prelude::*;
use job_memory::MemoryBackend;
use tokio::sync::Notify;

/// What is still to be run.
struct Left {
    jobs: AtomicU64,
    none: Notify,
}

/// Does nothing, as the job of `bench` does.
#[job(queue = "bench")]
async fn count(number: u64, left: Data<Left>) -> Result<(), JobError> {
    std::hint::black_box(number);
    if left.jobs.fetch_sub(1, Relaxed) == 1 {
        left.none.notify_one();
    }
    Ok(())
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let mut number = || numbers.next().expect("bench-telemetry CONCURRENCY JOBS");
    let (concurrency, jobs): (u64, u64) = (number(), number());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = Client::new(MemoryBackend::new());
        client
            .enqueue_all((0..jobs).map(|number| Count { number }))
            .await
            .expect("memory takes all");
        let left = std::sync::Arc::new(Left { jobs: jobs.into(), none: Notify::new() });
        let queue = Queue::new("bench").concurrency(concurrency as usize);
        let worker = Worker::builder(&client).data_arc(left.clone()).queue(queue).build();
        let worker = worker.expect("the set-up is sound");
        let done = async move { left.none.notified().await };
        worker.run_until(done).await.expect("memory has all queues");
    });
}
