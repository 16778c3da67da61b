//! Worker processes: a job that takes its process with it harms no other.
//!
//! ```text
//! export AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true
//! cargo run --bin worker-processes
//! ```
//!
//! **The problem.** A decoder that aborts, a recursion without an end, a file that eats all memory: no
//! `catch_unwind` helps, and every job beside it dies, too. And it comes again, and again.
//!
//! **The answer.** A supervisor with several processes of the same program. One that ends is started
//! again, the others go on, and a job that was there twice when its process ended runs alone from then
//! on. At the third time it is in the poison queue.
//!
//! What matters in real life:
//! - Jobs beside a killer run a second time, so they have to be idempotent: here each order is shipped
//!   under its own name.
//! - They wait for their lease to end, 60 s by default. A shorter one costs more requests.
//! - `main` runs in every process. What is to be done once, in the supervisor, waits for the
//!   supervisor's handle to have processes.
//! - Queues in memory are no use here: each process would have its own.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

#[cfg(unix)]
mod support;

#[cfg(not(unix))]
fn main() {
    println!("several processes run on Unix only");
}

#[cfg(unix)]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    demo::run().await
}

#[cfg(unix)]
mod demo {
    use std::time::Duration;

    use job_azure::AzureBackend;
    use job_core::prelude::*;
    use job_core::supervisor::{Supervisor, SupervisorHandle};

    use crate::support::until_empty;

    const QUEUE: &str = "shipping";

    #[job(queue = "shipping")]
    async fn ship(order: u32) -> Result<(), JobError> {
        if order == 13 {
            println!("order 13 takes its process with it");
            std::process::abort();
        }
        println!("order {order} is shipped");
        Ok(())
    }

    pub(crate) async fn run() -> anyhow::Result<()> {
        let client = Client::new(AzureBackend::from_env()?);
        let supervisor = Supervisor::new().processes(2).backoff(Duration::from_millis(100), SECOND);
        let handle = supervisor.handle();
        let serve = supervisor.run(async |process| {
            // Each process has a connection of its own.
            let client = Client::new(AzureBackend::from_env()?);
            let queue = Queue::new(QUEUE).concurrency(4).lease(3 * SECOND).max_poll(SECOND);
            anyhow::Ok(process.run(Worker::builder(&client).queue(queue).build()?).await?)
        });
        let (report, ()) = tokio::try_join!(async { Ok(serve.await?) }, enqueue(&client, &handle))?;

        for job in client.poison(QUEUE)?.list(10).await? {
            println!("in the poison queue: {} at attempt {}", job.reason(), job.attempts());
        }
        println!("{report}");
        Ok(())
    }

    /// In the supervisor alone: it has processes, and they have none.
    async fn enqueue(client: &Client, handle: &SupervisorHandle) -> anyhow::Result<()> {
        handle.watch().wait_for(|processes| !processes.is_empty()).await?;
        client.enqueue_all((1..=20).map(|order| Ship { order })).await?;
        until_empty(client, &[QUEUE]).await;
        handle.shutdown();
        Ok(())
    }
}
