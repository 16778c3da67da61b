//! How many jobs a second one worker does on a service whose every answer takes 10 ms.
//!
//! ```sh
//! cargo run --release -p job-azure --example throughput
//! ```
//!
//! The service is the fake one, in this process and on the same processors, without the real one's
//! ceiling of 2,000 requests a second and queue.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use job_azure::{Account, AzureBackend};
use job_azure_fake::{FakeService, Operation};
use job_core::{Client, Queue, Worker, job};

const JOBS: u64 = 20_000;
const LATENCY: Duration = Duration::from_millis(10);

#[job(queue = "work")]
async fn nothing(_user_id: u64, _email: String) -> Result<(), std::convert::Infallible> {
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "it is what it is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{JOBS} jobs that do nothing, {LATENCY:?} a request\n");
    println!("concurrency   jobs/s   requests a job");
    for concurrency in [1, 16, 64, 128, 256] {
        let jobs = JOBS.min(200 * concurrency);
        let (rate, requests) = drain(jobs, concurrency as usize).await?;
        println!("{concurrency:>11} {rate:>8.0} {requests:>16.2}");
    }
    Ok(())
}

/// Jobs a second, and requests a job, from the worker's start to the last delete.
async fn drain(jobs: u64, concurrency: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let service = FakeService::new();
    let account = Account::from_connection_string("UseDevelopmentStorage=true")?;
    let backend = AzureBackend::builder(account).http_client(Arc::new(service.clone())).build()?;
    let client = Client::new(backend);
    let all = (0..jobs).map(|n| Nothing { _user_id: n, _email: "ada@example.com".into() });
    client.enqueue_all(all).await?;

    service.latency(LATENCY);
    let queue = Queue::new("work").concurrency(concurrency);
    let worker = Worker::builder(&client).queue(queue).build()?;
    let handle = worker.handle();
    let (before, begin) = (service.calls().total(), Instant::now());
    let running = tokio::spawn(worker.run());
    service.wait_until(|service| service.depth("work") == 0).await;
    let took = begin.elapsed();
    let requests = service.calls().total() - before;
    handle.shutdown();
    running.await??;
    assert!(service.calls().of(Operation::Delete) >= jobs);
    Ok((jobs as f64 / took.as_secs_f64(), requests as f64 / jobs as f64))
}
