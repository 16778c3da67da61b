//! A worker on several threads and the real clock.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use job_core::backend::ErrorKind;
use job_core::{Client, JobError, Queue, Report, Worker, WorkerBuilder};
use job_memory::MemoryBackend;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

fn threads(n: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_all().build().unwrap()
}

/// Counts runs, and how many there were of each.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<Vec<u8>>>);

impl Tally {
    fn note(&self, order: &str) {
        let n: usize = order.parse().unwrap();
        let mut runs = self.0.lock().unwrap();
        if runs.len() <= n {
            runs.resize(n + 1, 0);
        }
        runs[n] += 1;
    }

    #[track_caller]
    fn each_once(&self, jobs: usize) {
        let runs = self.0.lock().unwrap();
        assert_eq!(runs.len(), jobs);
        assert!(runs.iter().all(|runs| *runs == 1));
    }
}

fn worker(client: &Client, script: Arc<Script>) -> WorkerBuilder {
    Worker::builder(client).data_arc(script)
}

async fn enqueue(client: &Client, orders: std::ops::Range<usize>) {
    client.enqueue_all(orders.map(|n| Act { order: n.to_string() })).await.unwrap();
}

/// In real time, and with an end.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("it hangs")
}

async fn empty(backend: &MemoryBackend) {
    soon(async {
        while total(backend, WORK).await > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[test]
fn twenty_thousand_jobs_are_done_exactly_once() {
    const JOBS: usize = 20_000;
    threads(2).block_on(async {
        let backend = memory().await;
        let client = Client::new(backend.clone());
        let tally = Tally::default();
        let note = tally.clone();
        let script = script(move |order, _| {
            note.note(&order);
            async { Ok(()) }
        });
        enqueue(&client, 0..JOBS).await;
        let worker = Running::new(worker(&client, script).queue(Queue::new(WORK).concurrency(64)));
        empty(&backend).await;
        let report = worker.stop().await;
        assert_eq!(report.to_string(), "20000 received, 20000 started, 20000 completed");
        tally.each_once(JOBS);
    });
}

#[test]
fn jobs_that_wait_and_jobs_that_do_not_are_done_exactly_once() {
    const JOBS: usize = 5_000;
    threads(4).block_on(async {
        let spy = spied().await;
        let client = Client::new(spy.clone());
        let tally = Tally::default();
        let note = tally.clone();
        let running = Arc::new(AtomicUsize::new(0));
        let gauge = Arc::clone(&running);
        let script = script(move |order, _| {
            gauge.fetch_add(1, SeqCst);
            note.note(&order);
            let gauge = Arc::clone(&gauge);
            async move {
                match order.len() % 3 + order.as_bytes()[order.len() - 1] as usize % 3 {
                    0 => {}
                    1 => tokio::task::yield_now().await,
                    2 => sleep(Duration::from_micros(300)).await,
                    _ => tokio::spawn(async {}).await.unwrap(),
                }
                gauge.fetch_sub(1, SeqCst);
                Ok(())
            }
        });
        // Nothing is leased that cannot start.
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        spy.rule(move |request| {
            if request.op == Op::Receive {
                seen.fetch_max(request.items + running.load(SeqCst), SeqCst);
            }
            Fate::Pass
        });
        enqueue(&client, 0..JOBS).await;
        let settings = Queue::new(WORK).concurrency(16);
        let worker = Running::new(worker(&client, script).queue(settings));
        empty(&spy.inner).await;
        assert_eq!(worker.stop().await.completed(), JOBS as u64);
        tally.each_once(JOBS);
        assert!(most.load(SeqCst) <= 16, "{most:?}");
    });
}

#[test]
fn no_wake_up_is_lost_in_many_small_bursts() {
    // Each burst waits for the one before to be done: a wake-up that is lost would cost a poll,
    // which is too long.
    threads(2).block_on(async {
        let backend = memory().await;
        let client = Client::new(backend.clone());
        let (script, mut heard) = obedient();
        let settings = Queue::new(WORK).concurrency(4).min_poll(HOUR).max_poll(HOUR);
        let worker = Running::new(worker(&client, script).queue(settings));
        let mut sent = 0;
        for round in 0..300 {
            let burst = round % 9 + 1;
            enqueue(&client, sent..sent + burst).await;
            sent += burst;
            let runs = soon(heard.take(burst)).await;
            assert_eq!(runs.len(), burst);
        }
        empty(&backend).await;
        assert_eq!(soon(worker.stop()).await.completed(), sent as u64);
    });
}

#[test]
fn no_wake_up_of_the_client_is_lost_either() {
    threads(2).block_on(async {
        // A backend that tells of nothing.
        let spy = spied().await.claim(|capabilities| capabilities.wakes = false);
        let client = Client::new(spy.clone());
        let (script, mut heard) = obedient();
        let settings = Queue::new(WORK).concurrency(4).min_poll(HOUR).max_poll(HOUR);
        let worker = Running::new(worker(&client, script).queue(settings));
        for round in 0..200 {
            for n in 0..round % 3 + 1 {
                client.enqueue(Act { order: n.to_string() }).await.unwrap();
            }
            soon(heard.take(round % 3 + 1)).await;
        }
        soon(worker.stop()).await;
    });
}

#[test]
fn a_handler_that_blocks_one_of_two_threads_does_not_keep_the_other_from_receiving() {
    threads(2).block_on(async {
        let spy = spied().await.apart();
        let client = Client::new(spy.clone());
        let (running, mut started) = tokio::sync::mpsc::unbounded_channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Mutex::new(released);
        let script = script(move |order, _| {
            let _ = running.send(order.clone());
            if order == "block" {
                let _ = released.lock().unwrap().recv();
            }
            async { Ok(()) }
        });
        let worker = Running::new(worker(&client, script).queue(Queue::new(WORK).concurrency(16)));
        for order in ["block", "other"] {
            client.enqueue(Act { order: order.to_owned() }).await.unwrap();
            assert_eq!(soon(started.recv()).await.as_deref(), Some(order));
        }
        release.send(()).unwrap();
        empty(&spy.inner).await;
        assert_eq!(soon(worker.stop()).await.completed(), 2);
    });
}

/// What comes of a message while another job blocks the only thread of the worker: from when the
/// answer to the `first` request is due, until so many of the `next` were made.
fn beside_a_block(order: &str, redelivered: bool, first: (Op, Fate), next: (Op, u32)) -> Report {
    threads(1).block_on(async {
        let spy = spied().await.apart();
        let (asked, gate) = (Arc::new(Notify::new()), spy.clone());
        let (tell, made) = std::sync::mpsc::channel();
        let made = Arc::new(Mutex::new(made));
        let ask = Arc::clone(&asked);
        let script = script(move |order, _| {
            let (asked, gate, made) = (Arc::clone(&asked), gate.clone(), Arc::clone(&made));
            async move {
                if order == "block" {
                    asked.notified().await;
                    gate.open_gate();
                    let limit = Duration::from_secs(20);
                    made.lock().unwrap().recv_timeout(limit).expect("it waits for the thread");
                }
                if order == "bad" { Err(JobError::permanent("no use")) } else { Ok(()) }
            }
        });
        let (mut is_asked, mut to_come) = (false, next.1);
        spy.rule(move |request| {
            if (request.op, is_asked) == (first.0, false) {
                is_asked = true;
                ask.notify_one();
                return first.1;
            }
            if request.op == next.0 && is_asked && to_come > 0 {
                to_come -= 1;
                if to_come == 0 {
                    tell.send(()).unwrap();
                }
            }
            Fate::Pass
        });
        put_job(&spy.inner, &job(order)).await;
        if redelivered {
            assert_eq!(steal(&spy.inner, WORK, Duration::from_millis(10)).await, 1);
        }
        put_job(&spy.inner, &job("block")).await;
        let settings = Queue::new(WORK).concurrency(2).lease(3 * SECOND);
        let builder = worker(&Client::new(spy.clone()), script);
        let worker = Running::new(builder.queue(settings).max_attempts(2));
        empty(&spy.inner).await;
        soon(worker.stop()).await
    })
}

#[test]
fn a_handler_that_blocks_the_thread_does_not_keep_a_job_from_its_poison_queue() {
    let report = beside_a_block("bad", false, (Op::Replace, Fate::Gated), (Op::Delete, 1));
    assert_eq!((report.completed(), report.poisoned(), report.lease_lost()), (1, 1, 0), "{report}");
}

#[test]
fn a_handler_that_blocks_the_thread_does_not_keep_a_settlement_from_its_next_try() {
    let busy = || Fate::Refuse(ErrorKind::Unavailable);
    let report = beside_a_block("good", false, (Op::Delete, busy()), (Op::Delete, 1));
    assert_eq!((report.completed(), report.lease_lost()), (2, 0), "{report}");
    let report = beside_a_block("bad", false, (Op::Replace, busy()), (Op::Replace, 1));
    assert_eq!((report.poisoned(), report.lease_lost()), (1, 0), "{report}");
}

#[test]
fn a_handler_that_blocks_the_thread_does_not_keep_a_marked_start_from_its_lease() {
    // Longer than a lease: the other job's is renewed, too.
    let report = beside_a_block("good", true, (Op::Replace, Fate::Gated), (Op::Renew, 4));
    assert_eq!((report.completed(), report.lease_lost()), (2, 0), "{report}");
}

#[test]
fn a_backend_that_panics_while_it_settles_ends_nothing() {
    threads(1).block_on(async {
        let spy = spied().await.apart();
        spy.rule(|request| match request.op {
            Op::Delete if request.nth == 0 => Fate::Panic,
            _ => Fate::Pass,
        });
        let (script, mut heard) = obedient();
        put_jobs(&spy.inner, ["a", "b"]).await;
        let settings = Queue::new(WORK).concurrency(1).lease(SECOND);
        let worker = Running::new(worker(&Client::new(spy.clone()), script).queue(settings));
        empty(&spy.inner).await;
        assert_eq!(soon(heard.take(2)).await.len(), 2);
        heard.nothing();
        assert_eq!(soon(worker.stop()).await.started(), 2, "what was done is not done again");
    });
}

#[test]
fn workers_of_several_queues_under_one_limit_do_not_block_one_another() {
    threads(3).block_on(async {
        let backend = memory().await;
        let client = Client::new(backend.clone());
        let queues = ["one", "two", "three"];
        let runs = Arc::new(Mutex::new(HashSet::new()));
        let note = Arc::clone(&runs);
        let script = script(move |order, cx| {
            let new = note.lock().unwrap().insert((cx.queue().to_string(), order));
            async move {
                assert!(new);
                tokio::task::yield_now().await;
                Ok(())
            }
        });
        let mut builder = worker(&client, script).concurrency(2);
        for queue in queues {
            create(&backend, queue).await;
            for n in 0..500 {
                put(&backend, queue, job(&n.to_string()).to_string()).await;
            }
            builder = builder.queue(Queue::new(queue).concurrency(3));
        }
        let worker = Running::new(builder);
        soon(async {
            while runs.lock().unwrap().len() < 1500 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let report = soon(worker.stop()).await;
        assert_eq!((report.completed(), report.started()), (1500, 1500));
    });
}

#[test]
fn leases_of_jobs_that_run_long_are_renewed_while_others_come_and_go() {
    threads(2).block_on(async {
        let spy = spied().await;
        let client = Client::new(spy.clone());
        let tally = Tally::default();
        let note = tally.clone();
        let script = script(move |order, _| {
            note.note(&order);
            async move {
                if order.parse::<u32>().unwrap() % 375 == 0 {
                    sleep(Duration::from_millis(1800)).await;
                }
                Ok(())
            }
        });
        enqueue(&client, 0..3000).await;
        let lease = Duration::from_millis(600);
        let settings = Queue::new(WORK).concurrency(8).lease(lease);
        let worker = Running::new(worker(&client, script).queue(settings));
        empty(&spy.inner).await;
        let report = soon(worker.stop()).await;
        assert_eq!((report.completed(), report.lease_lost()), (3000, 0), "{report}");
        tally.each_once(3000);
        assert!(spy.count(Op::Renew) > 5);
    });
}

#[test]
fn a_timeout_says_what_was_set_and_not_what_was_left_of_it() {
    threads(2).block_on(async {
        let backend = memory().await;
        let client = Client::new(backend.clone());
        enqueue(&client, 0..1).await;
        let script = script(|_, _| std::future::pending());
        let settings = Queue::new(WORK).timeout(Duration::from_millis(1500)).max_attempts(1);
        let worker = Running::new(worker(&client, script).queue(settings));
        empty(&backend).await;
        worker.stop().await;
        let jobs = client.poison(WORK).unwrap().list(1).await.unwrap();
        assert_eq!(
            jobs[0].error().unwrap(),
            "the job timed out after 1s500ms; give it a longer timeout or less to do"
        );
    });
}
