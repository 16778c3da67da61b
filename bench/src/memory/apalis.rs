//! apalis on its `MemoryStorage`, which neither serialises nor leases.
//!
//! Its best settings: no middleware but the limit of concurrency, and that one only together with
//! `parallelize`, since without it jobs that do not wait run one at a time anyway.

use std::ops::Range;
use std::sync::Arc;

use apalis::prelude::{MemoryStorage, TaskSink, WorkerBuilder, WorkerBuilderExt};
use apalis_core::backend::memory::{MemorySink, MemoryStorageError};
use apalis_core::task::Task;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use async_trait::async_trait;
use futures_channel::mpsc::UnboundedSender;
use futures_util::lock::Mutex;
use futures_util::{FutureExt, Sink, SinkExt, StreamExt, stream};
use tokio::task::coop::consume_budget;

use super::contender::{Bench, Contender, Setup};
use crate::finish::Tasks;
use crate::job::Args;

/// apalis, with or without a task for each job.
#[derive(Clone, Copy, Debug)]
pub struct Apalis {
    /// Whether jobs are spawned.
    pub parallel: bool,
}

impl Contender for Apalis {
    fn name(&self) -> &'static str {
        if self.parallel { "apalis, parallelize" } else { "apalis" }
    }

    fn is_concurrent(&self) -> bool {
        self.parallel
    }

    fn open(&self, setup: Setup) -> Box<dyn Bench> {
        let (producer, storage) = ends();
        let storage = Some(storage);
        Box::new(Opened { parallel: self.parallel, setup, producer, storage, tasks: Tasks::new() })
    }
}

type Sending = dyn Sink<Task<Args>, Error = MemoryStorageError> + Send + Sync + Unpin;

/// What `MemoryStorage::new` makes, with an end for the producer that is not the worker's.
///
/// Each has a sink of its own: when producer and worker meet at the lock of one, the one that comes
/// second is never woken (1.0.0).
fn ends() -> (MemoryStorage<Args>, MemoryStorage<Args>) {
    let (sender, receiver) = futures_channel::mpsc::unbounded();
    let sink = |sender: UnboundedSender<Task<Args>>| {
        let sender: Box<Sending> = Box::new(sender.sink_map_err(MemoryStorageError::from));
        MemorySink::new(Arc::new(Mutex::new(sender)))
    };
    let producer = MemoryStorage::new_with(sink(sender.clone()), stream::empty().boxed());
    (producer, MemoryStorage::new_with(sink(sender), receiver.boxed()))
}

struct Opened {
    parallel: bool,
    setup: Setup,
    producer: MemoryStorage<Args>,
    storage: Option<MemoryStorage<Args>>,
    tasks: Tasks,
}

#[async_trait]
impl Bench for Opened {
    async fn enqueue_singly(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.producer.push(Args::numbered(number)).await.expect("the worker has not gone");
            consume_budget().await;
        }
    }

    async fn enqueue_in_bulk(&mut self, numbers: Range<u64>) {
        let jobs = numbers.map(Args::numbered).collect();
        self.producer.push_bulk(jobs).await.expect("the worker has not gone");
    }

    fn work(&mut self) {
        let storage = self.storage.take().expect("it works once");
        let builder = WorkerBuilder::new("bench").backend(storage);
        if self.parallel {
            let builder = builder.concurrency(self.setup.concurrency);
            let running = builder.parallelize(tokio::spawn).build(handle).run().boxed();
            self.tasks.spawn(running.map(|ended| Ok(ended?)));
        } else {
            let running = builder.build(handle).run().boxed();
            self.tasks.spawn(running.map(|ended| Ok(ended?)));
        }
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }
}

async fn handle(args: Args) {
    args.run();
}
