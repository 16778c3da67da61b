//! What is asked of whoever is measured in memory.

use std::ops::Range;

use async_trait::async_trait;

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

/// A queue and its worker. Dropping it ends the worker.
#[async_trait]
pub trait Bench: Send {
    /// Enqueues jobs one at a time.
    async fn enqueue_singly(&mut self, numbers: Range<u64>);

    /// Enqueues jobs in the way for many.
    async fn enqueue_in_bulk(&mut self, numbers: Range<u64>);

    /// Starts the worker.
    fn work(&mut self);
}
