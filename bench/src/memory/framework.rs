//! The framework itself, on its queues in memory.

use std::ops::Range;
use std::task::{Context, Poll};

use async_trait::async_trait;
use job_core::middleware::{Call, JobService};
use job_core::{Client, Queue, Worker, WorkerHandle};
use job_memory::MemoryBackend;
use tokio::task::coop::consume_budget;
use tower_layer::Layer;
use tower_service::Service;

use super::contender::{Bench, Contender, Setup};
use crate::finish::Tasks;
use crate::job;

/// The framework.
#[derive(Clone, Copy, Debug)]
pub struct Framework;

impl Contender for Framework {
    fn name(&self) -> &'static str {
        "this framework"
    }

    fn open(&self, setup: Setup) -> Box<dyn Bench> {
        let client = Client::new(MemoryBackend::new());
        Box::new(Opened { client, setup, tasks: Tasks::new(), handle: None })
    }
}

struct Opened {
    client: Client,
    setup: Setup,
    tasks: Tasks,
    handle: Option<WorkerHandle>,
}

#[async_trait]
impl Bench for Opened {
    async fn enqueue_singly(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.client.enqueue(job::numbered(number)).await.expect("memory takes all");
            consume_budget().await;
        }
    }

    async fn enqueue_in_bulk(&mut self, numbers: Range<u64>) {
        self.client.enqueue_all(numbers.map(job::numbered)).await.expect("memory takes all");
    }

    fn work(&mut self) {
        let queue = Queue::new(job::QUEUE).concurrency(self.setup.concurrency);
        let mut builder = Worker::builder(&self.client).queue(queue);
        for _ in 0..self.setup.layers {
            builder = builder.layer(NothingLayer);
        }
        let worker = builder.build().expect("the set-up is sound");
        self.handle = Some(worker.handle());
        self.tasks.spawn(async move {
            worker.run().await?;
            Ok(())
        });
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        if let Some(handle) = &self.handle {
            handle.shutdown();
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// A user's layer that does nothing.
#[derive(Clone, Copy, Debug)]
struct NothingLayer;

impl Layer<JobService> for NothingLayer {
    type Service = Nothing;

    fn layer(&self, inner: JobService) -> Nothing {
        Nothing { inner }
    }
}

#[derive(Clone, Debug)]
struct Nothing {
    inner: JobService,
}

impl Service<Call> for Nothing {
    type Response = <JobService as Service<Call>>::Response;
    type Error = <JobService as Service<Call>>::Error;
    type Future = <JobService as Service<Call>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        self.inner.call(call)
    }
}
