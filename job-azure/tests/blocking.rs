//! Handlers that block every thread of their runtime lose no lease: the keeper has a thread and
//! connections of its own.

mod common;

use std::thread;
use std::time::Duration;

use common::*;
use job_azure::{Account, AzureBackend};
use job_azurite::Azurite;
use job_core::{Client, Data, Queue, Worker};

/// Long enough for a machine that stands still for a moment.
const LEASE: Duration = Duration::from_secs(4);

/// They block the one thread of their runtime in turn. With more threads, one that is blocked may
/// or may not hold up the others.
const JOBS: u32 = 2;

/// What nobody should do in an `async fn`, once all of them have begun.
#[job_core::job(queue = "blocking")]
async fn block(n: u32, log: Data<Log>) -> Result<(), std::convert::Infallible> {
    log.start(&n.to_string());
    log.begun(JOBS).await;
    thread::sleep(3 * LEASE);
    log.done(&n.to_string());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn handlers_that_block_all_threads_run_once() {
    let account = Account::from_connection_string(&Azurite::shared().connection_string()).unwrap();
    let client = Client::new(AzureBackend::new(account).unwrap());
    let log = Log::default();
    client.enqueue_all((0..JOBS).map(|n| Block { n })).await.unwrap();
    let poll = Duration::from_millis(200);
    let worker = |concurrency| {
        let queue = Queue::new("blocking").lease(LEASE).concurrency(concurrency).max_poll(poll);
        Worker::builder(&client).data(log.clone()).queue(queue)
    };
    let blocked = Running::new(worker(JOBS as usize));
    log.begun(JOBS).await;
    // On another runtime, somebody waits for what they let go of: the first is done and to be
    // deleted when the second blocks the thread.
    let other = worker(1).build().unwrap();
    let handle = other.handle();
    let other = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(other.run()).unwrap()
    });
    let all: Vec<_> = (0..JOBS).map(|n| n.to_string()).collect();
    log.done_with(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let report = blocked.stop().await;
    handle.shutdown();
    let other = other.join().unwrap();
    assert_eq!((report.completed(), report.lease_lost(), other.started()), (2, 0, 0), "{report}");
    assert!(all.iter().all(|n| log.of(n) == (1, 1)), "{log:?}");
    assert!(report.stalled() > 0, "it is told");
}

/// Whoever asks for the end is answered in time, whatever handlers do to the runtime's clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_whose_threads_are_blocked_ends_in_time() {
    let azurite = Azurite::start().unwrap();
    let account = Account::from_connection_string(&azurite.connection_string()).unwrap();
    let client = Client::new(AzureBackend::new(account).unwrap());
    let log = Log::default();
    client.enqueue_all((0..JOBS).map(|n| Block { n })).await.unwrap();
    let grace = Duration::from_millis(500);
    let queue = Queue::new("blocking").lease(LEASE).concurrency(JOBS as usize);
    let worker = Worker::builder(&client).data(log.clone()).queue(queue).grace(grace);
    let worker = worker.build().unwrap();
    let handle = worker.handle();
    let asked = thread::spawn(move || {
        while (0..JOBS).any(|n| log.of(&n.to_string()).0 == 0) {
            thread::sleep(Duration::from_millis(10));
        }
        handle.shutdown();
        std::time::Instant::now()
    });
    // In the test's own thread, which no handler blocks.
    let report = worker.run().await.unwrap();
    let took = asked.join().unwrap().elapsed();
    assert!(took <= grace + Duration::from_secs(2), "{took:?}: {report}");
    assert_eq!(report.abandoned(), u64::from(JOBS), "{report}");
}
