//! From args to a message, and from a message to a settlement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use job_core::{Client, JobError, Queue, QueueName, Worker};
use tokio::task::JoinSet;

use super::each;
use super::nowhere::Nowhere;
use crate::job;
use crate::round::{Effort, Sample};

/// How often each step is taken in one round.
const TIMES: u64 = 50_000;

/// How many jobs a worker runs at a time.
const CONCURRENCY: usize = 64;

/// Fails, and comes again.
#[job_core::job(queue = "bench-failing", max_attempts = 100)]
async fn fail(_user_id: u64, _email: String) -> Result<(), JobError> {
    Err(JobError::from("the bank cannot be reached"))
}

pub(super) async fn steps(effort: Effort) -> anyhow::Result<Vec<Sample>> {
    let times = effort.of(TIMES);
    let mut samples = Vec::new();
    let nowhere = Arc::new(Nowhere::default());
    let client = Client::from_arc(nowhere.clone());

    let began = Instant::now();
    for number in 0..times {
        client.enqueue(job::numbered(number)).await?;
    }
    samples.push(each("encode (enqueue)", times, began.elapsed()));

    let began = Instant::now();
    client.enqueue_all((0..times).map(job::numbered)).await?;
    samples.push(each("encode (enqueue_all)", times, began.elapsed()));

    let envelope = nowhere.last_sent();
    let took = perform(&client, Queue::new(job::QUEUE), envelope.clone(), times).await?;
    samples.push(each("decode, admit, run (perform_message)", times, took));

    client.enqueue(job::numbered(1)).raw().await?;
    let queue = Queue::new(job::QUEUE).raw::<job::Welcome>();
    let took = perform(&client, queue, nowhere.last_sent(), times).await?;
    samples.push(each("run without an envelope (perform_message, raw)", times, took));

    let took = work_off(job::QUEUE, envelope, times).await?;
    samples.push(each("decode, admit, run, decide, settle: done", times, took));

    client.enqueue(Fail { _user_id: 1, _email: "ada1@example.com".to_owned() }).await?;
    let took = work_off("bench-failing", nowhere.last_sent(), times).await?;
    samples.push(each("decode, admit, run, decide, encode, settle: tried again", times, took));
    Ok(samples)
}

async fn perform(
    client: &Client,
    queue: Queue,
    body: Bytes,
    times: u64,
) -> anyhow::Result<Duration> {
    let worker = Worker::builder(client).queue(queue).build()?;
    let name = QueueName::new(job::QUEUE)?;
    let began = Instant::now();
    for _ in 0..times {
        worker.perform_message(&name, body.clone()).await?;
    }
    Ok(began.elapsed())
}

/// Lets a worker receive the same message so many times, as if there were as many.
async fn work_off(queue: &str, body: Bytes, times: u64) -> anyhow::Result<Duration> {
    let nowhere = Arc::new(Nowhere::default());
    nowhere.hold(body, times);
    let client = Client::from_arc(nowhere.clone());
    let queue = Queue::new(queue).concurrency(CONCURRENCY);
    let worker = Worker::builder(&client).queue(queue).build()?;
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    tasks.spawn(worker.run());
    tokio::select! {
        () = nowhere.settled(times) => Ok(began.elapsed()),
        Some(ended) = tasks.join_next() => {
            ended??;
            bail!("the worker ended before its jobs");
        }
    }
}
