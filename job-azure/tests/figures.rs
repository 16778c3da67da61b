//! How many requests a job costs, counted where they leave the process.

mod common;

use std::time::Duration;

use common::*;
use job_azure_fake::{FakeService, Operation};
use job_core::{Client, Queue, Report};
use tokio::time::sleep;

const JOBS: u64 = 320;

/// Enqueues, waits a moment, drains with a worker, and gives what it took apart from the start.
async fn cost(orders: impl Fn(u64) -> String) -> (FakeService, Report) {
    let service = FakeService::new();
    service.latency(Duration::from_millis(10));
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    let jobs = (0..JOBS).map(|n| Act { order: orders(n) });
    client.enqueue_all(jobs).await.unwrap();
    assert_eq!(service.calls().of(Operation::Send), JOBS, "one send a job");
    let report = drain(&service, &client, &log).await;
    (service, report)
}

async fn drain(service: &FakeService, client: &Client, log: &Log) -> Report {
    let queue = Queue::new(WORK).concurrency(32).lease(60 * SECOND);
    let worker = Running::new(builder(client, log).queue(queue));
    drained(service, WORK).await;
    worker.stop().await
}

/// What a worker asks at its start, to see whether it may.
const PROBE: u64 = 1;

#[tokio::test(start_paused = true)]
async fn a_job_that_succeeds_is_sent_deleted_and_a_thirty_second_of_a_receive() {
    let (service, report) = cost(|n| format!("ok-{n}")).await;
    let calls = service.calls();
    assert_eq!(report.completed(), JOBS);
    assert_eq!(calls.of(Operation::Delete), JOBS + PROBE);
    assert_eq!(calls.of(Operation::Update), PROBE);
    // The first asks for one message, to see whether there are any; one or two find nothing.
    let receives = calls.of(Operation::Receive);
    assert!((JOBS / 32..=JOBS / 32 + 4).contains(&receives), "{receives} receives");
}

/// At that concurrency several receives are on their way at a time, and bring no less each.
#[tokio::test(start_paused = true)]
async fn receives_that_overlap_cost_no_more() {
    const MANY: u64 = 4096;
    let service = FakeService::new();
    service.latency(Duration::from_millis(10));
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    client.enqueue_all((0..MANY).map(|n| Act { order: format!("ok-{n}") })).await.unwrap();
    let queue = Queue::new(WORK).concurrency(256).lease(60 * SECOND);
    let began = tokio::time::Instant::now();
    let worker = Running::new(builder(&client, &log).queue(queue));
    drained(&service, WORK).await;
    let took = began.elapsed();
    assert_eq!(worker.stop().await.completed(), MANY);
    // One receive at a time would take 1.3 s for its 128 receives alone.
    assert!(took < Duration::from_millis(900), "{took:?}");
    let calls = service.calls();
    let each = (calls.total() - calls.of(Operation::CreateQueue)) as f64 / MANY as f64;
    assert!(each <= 2.1, "{each} requests a job");
}

#[tokio::test(start_paused = true)]
async fn a_retry_costs_an_update() {
    let (service, report) = cost(|n| format!("retry-{n}")).await;
    let calls = service.calls();
    assert_eq!((report.completed(), report.retried()), (JOBS, JOBS));
    assert_eq!(calls.of(Operation::Update), JOBS + PROBE);
    assert_eq!(calls.of(Operation::Delete), JOBS + PROBE);
    assert_eq!(calls.of(Operation::Send), JOBS);
}

#[tokio::test(start_paused = true)]
async fn a_move_to_poison_costs_an_update_a_send_and_a_delete() {
    let (service, report) = cost(|n| format!("poison-{n}")).await;
    let calls = service.calls();
    assert_eq!(report.poisoned(), JOBS);
    assert_eq!(calls.of(Operation::Update), JOBS + PROBE);
    assert_eq!(calls.of(Operation::Send), JOBS + JOBS);
    assert_eq!(calls.of(Operation::Delete), JOBS + PROBE);
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_asked_once_a_max_poll_whatever_the_concurrency() {
    for concurrency in [1, 16, 256] {
        let service = FakeService::new();
        let (client, log) = (client(&service), Log::default());
        let queue = Queue::new(WORK).concurrency(concurrency).max_poll(10 * SECOND);
        let worker = Running::new(builder(&client, &log).queue(queue));
        sleep(120 * SECOND).await;
        let before = service.calls().total();
        sleep(3600 * SECOND).await;
        let asked = service.calls().total() - before;
        assert!(asked <= 3600 / 10, "{concurrency}: {asked} requests an hour");
        assert!(asked >= 3600 / 10 / 2, "{concurrency}: it still looks");
        worker.stop().await;
    }
}

/// Whoever comes alone is found by one of the receives that come more and more seldom, and begins
/// them anew. The sums for that are in `docs/src/sizing.md`.
#[tokio::test(start_paused = true)]
async fn jobs_that_come_alone_cost_receives_that_find_nothing() {
    const MILLIS: Duration = Duration::from_millis(1);
    const ALONE: usize = 100;
    for (every, processes, min_poll, requests) in [
        (86 * MILLIS, 4, 100 * MILLIS, 3.6..4.6),
        (86 * MILLIS, 10, 100 * MILLIS, 4.2..5.2),
        (SECOND, 1, 100 * MILLIS, 5.7..6.7),
        (SECOND, 10, 100 * MILLIS, 8.3..9.3),
        (10 * SECOND, 1, 100 * MILLIS, 9.2..10.2),
        (10 * SECOND, 1, 5 * SECOND, 4.5..5.5),
    ] {
        let service = FakeService::new();
        service.latency(10 * MILLIS);
        // Whose jobs no worker hears of but by asking.
        let producer = client(&service);
        create_queues(&producer).await;
        let queue = || Queue::new(WORK).min_poll(min_poll);
        let logs = vec![Log::default(); processes];
        let workers: Vec<_> = logs
            .iter()
            .map(|log| Running::new(builder(&client(&service), log).queue(queue())))
            .collect();
        // Until they are at rest.
        sleep(60 * SECOND).await;
        let before = service.calls().total();
        for n in 0..ALONE {
            producer.enqueue(Act { order: format!("ok-{n}") }).await.unwrap();
            sleep(every).await;
        }
        drained(&service, WORK).await;
        let each = (service.calls().total() - before) as f64 / ALONE as f64;
        let what = format!("{processes} processes, a job every {every:?}, {min_poll:?}");
        assert!(requests.contains(&each), "{what}: {each} requests a job");
        for worker in workers {
            worker.stop().await;
        }
    }
}
