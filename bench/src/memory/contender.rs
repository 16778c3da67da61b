//! What is asked of whoever is measured in memory.

use std::ops::Range;

use async_trait::async_trait;

use crate::finish::{self, Tasks};

/// Who is measured.
pub trait Contender: Send + Sync {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// Whether concurrency means anything to it.
    fn is_concurrent(&self) -> bool {
        true
    }

    /// An empty queue with a worker that has not started. Called within a runtime.
    fn open(&self, setup: Setup) -> Box<dyn Bench>;
}

/// What differs between runs of one contender.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many jobs run at a time.
    pub concurrency: usize,
    /// How many layers that do nothing are around each job.
    pub layers: usize,
}

impl Setup {
    /// Without layers.
    pub fn concurrency(concurrency: usize) -> Self {
        Self { concurrency, layers: 0 }
    }
}

/// A queue and its worker. Dropping it ends the worker, some time later.
#[async_trait]
pub trait Bench: Send {
    /// Enqueues jobs one at a time. Lets others run now and then, as a channel with a bound does: a
    /// producer that never waits would keep its thread from everybody else.
    async fn enqueue_singly(&mut self, numbers: Range<u64>);

    /// Enqueues jobs in the way for many.
    async fn enqueue_in_bulk(&mut self, numbers: Range<u64>);

    /// Starts the worker.
    fn work(&mut self);

    /// The worker's tasks.
    fn tasks(&mut self) -> &mut Tasks;

    /// Ends the worker and waits until it is gone: it is not to take time from what comes next.
    async fn end(&mut self) -> anyhow::Result<()> {
        self.tasks().shutdown().await;
        Ok(())
    }
}

/// A queue whose worker has run a job, and waits for others. One that has only been spawned may begin
/// when its thread has nothing else to do, which is after everything was enqueued.
///
/// # Errors
/// If the worker fails.
pub async fn started(contender: &dyn Contender, setup: Setup) -> anyhow::Result<Box<dyn Bench>> {
    let mut bench = contender.open(setup);
    finish::expect(1);
    bench.work();
    bench.enqueue_singly(0..1).await;
    finish::last(bench.tasks()).await?;
    Ok(bench)
}
