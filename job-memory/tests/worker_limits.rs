//! How many jobs run at once, how often they start, and how often a queue is asked.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::*;
use job_core::backend::ErrorKind;
use job_core::{Backoff, Client, Queue};
use tokio::time::{Instant, sleep};

/// Takes a while, different from job to job.
fn busy(gauge: &Gauge) -> (Arc<Script>, Heard) {
    let gauge = gauge.clone();
    told(move |order: String, _| {
        let gauge = gauge.clone();
        async move {
            let _inside = gauge.enter();
            let n: u64 = order.parse().unwrap();
            sleep(Duration::from_millis(100 + n * 37 % 500)).await;
            Ok(())
        }
    })
}

fn numbers(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| n.to_string())
}

#[tokio::test(start_paused = true)]
async fn so_many_jobs_run_at_once_and_no_more() {
    for concurrency in [1, 3, 40] {
        let backend = memory().await;
        let gauge = Gauge::default();
        let (script, mut heard) = busy(&gauge);
        put_jobs(&backend, numbers(100)).await;
        let settings = Queue::new(WORK).concurrency(concurrency);
        let worker = Running::new(builder(backend.clone(), script).queue(settings));
        heard.take(100).await;
        drained(&backend, WORK).await;
        assert_eq!(gauge.most(), concurrency);
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_worker_s_limit_is_over_all_queues() {
    let backend = memory().await;
    let gauge = Gauge::default();
    let (script, mut heard) = busy(&gauge);
    let queues = ["one", "two", "three"];
    for queue in queues {
        create(&backend, queue).await;
        for n in numbers(50) {
            put(&backend, queue, job(&n).to_string()).await;
        }
    }
    let mut builder = builder(backend.clone(), script).concurrency(4);
    for queue in queues {
        builder = builder.queue(Queue::new(queue).concurrency(3));
    }
    let worker = Running::new(builder);
    heard.take(75).await;
    // Each has had its turns.
    for queue in queues {
        assert!(total(&backend, queue).await < 40, "{queue}");
    }
    heard.take(75).await;
    for queue in queues {
        drained(&backend, queue).await;
    }
    assert_eq!(gauge.most(), 4);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_takes_nothing_from_a_busy_one() {
    let spy = spied().await.claim(|capabilities| capabilities.wakes = false);
    create(&spy, "idle").await;
    let (script, mut heard) = told(|_, _| async {
        sleep(SECOND).await;
        Ok(())
    });
    put_jobs(&spy, numbers(100)).await;
    let builder = builder(spy.clone(), script)
        .concurrency(1)
        .queue(Queue::new("idle"))
        .queue(Queue::new(WORK).concurrency(2));
    let begin = Instant::now();
    let worker = Running::new(builder);
    heard.take(100).await;
    assert!(begin.elapsed() < 101 * SECOND, "{:?}", begin.elapsed());
    drained(&spy, WORK).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn short_jobs_of_many_slots_are_received_together() {
    const JOBS: usize = 2000;
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Ok(()) });
    put_jobs(&spy, numbers(JOBS)).await;
    let queue = Queue::new(WORK).concurrency(32);
    let worker = Running::new(builder(spy.clone(), script).queue(queue));
    heard.take(JOBS).await;
    // The first come one by one: the other slots have not come to be idle yet.
    let receives = spy.count(Op::Receive);
    assert!(receives < JOBS / 4, "{receives}");
    drained(&spy, WORK).await;
    worker.stop().await;
}

/// No window of length `per` holds more than `limit` of the moments.
#[track_caller]
fn assert_rate(moments: &[Duration], limit: usize, per: Duration) {
    for (first, start) in moments.iter().enumerate() {
        let within = moments[first..].iter().take_while(|at| **at < *start + per).count();
        assert!(within <= limit, "{within} from {start:?} on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_holds_over_every_window() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    put_jobs(&backend, numbers(60)).await;
    let settings = Queue::new(WORK).rate_limit(5, SECOND).concurrency(20);
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    let mut moments = Vec::new();
    for _ in 0..60 {
        moments.push(heard.next().await.at);
    }
    assert_rate(&moments, 5, SECOND);
    // And it is used: 60 jobs in 11 windows after the first.
    assert!(*moments.last().unwrap() < 12 * SECOND, "{moments:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_starts_and_not_receives() {
    // Between being received and being started some wait long, some not at all.
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, numbers(60)).await;
    // Suspects: their starts are marked first.
    assert_eq!(steal(&spy.inner, WORK, SECOND).await, 32);
    spy.rule(|request| match request.op {
        Op::Receive => Fate::Slow(Duration::from_millis((request.nth as u64 * 700) % 1500)),
        Op::Replace => Fate::Slow(Duration::from_millis((request.nth as u64 * 900) % 2000)),
        _ => Fate::Pass,
    });
    let settings = Queue::new(WORK).rate_limit(3, SECOND).concurrency(20);
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    let mut moments = Vec::new();
    for _ in 0..60 {
        moments.push(heard.next().await.at);
    }
    assert_rate(&moments, 3, SECOND);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_start_uses_up_no_rate() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    for n in 0..20 {
        put(&backend, WORK, format!("rubbish {n}")).await;
    }
    put_jobs(&backend, ["0"]).await;
    let settings = Queue::new(WORK).rate_limit(1, HOUR).concurrency(4);
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    assert!(heard.next().await.at < SECOND);
    drained(&backend, WORK).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_leased_that_cannot_start() {
    for concurrency in [1, 5] {
        let spy = spied().await;
        let gauge = Gauge::default();
        let (script, mut heard) = busy(&gauge);
        put_jobs(&spy, numbers(100)).await;
        let running = gauge.clone();
        spy.rule(move |request| {
            if request.op == Op::Receive {
                assert!(request.items + running.now() <= concurrency);
            }
            Fate::Pass
        });
        let settings = Queue::new(WORK).concurrency(concurrency);
        let worker = Running::new(builder(spy.clone(), script).queue(settings));
        for _ in 0..100 {
            heard.next().await;
            // What is leased and does not run is on its way in or out, in this very moment.
            let leased =
                100 - visible(&spy, WORK).await as usize - (100 - total(&spy, WORK).await as usize);
            assert!(leased <= concurrency + 8, "{leased}");
        }
        drained(&spy, WORK).await;
        let report = worker.stop().await;
        assert_eq!((report.completed(), report.received()), (100, 100));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_asked_ever_more_rarely_whatever_its_concurrency() {
    let spy = spied().await.claim(|capabilities| capabilities.wakes = false);
    let (script, mut heard) = obedient();
    let settings = Queue::new(WORK).concurrency(64).min_poll(SECOND / 10).max_poll(10 * SECOND);
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    sleep(30 * SECOND).await;
    let warm_up = spy.count(Op::Receive);
    assert!((7..=14).contains(&warm_up), "{warm_up}");
    sleep(1000 * SECOND).await;
    let asked = spy.count(Op::Receive) - warm_up;
    assert!((100..=125).contains(&asked), "{asked}");
    // A job that comes makes it quick again.
    put_jobs(&spy, ["a"]).await;
    heard.next().await;
    let before = spy.count(Op::Receive);
    sleep(2 * SECOND).await;
    assert!(spy.count(Op::Receive) - before >= 3);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_does_not_stop_the_others_and_comes_back() {
    let spy = spied().await;
    create(&spy, "broken").await;
    let (script, mut heard) = obedient();
    put(&spy, "broken", job("from broken").to_string()).await;
    let heal = Instant::now() + 10 * MINUTE;
    spy.rule(move |request| match request.op {
        Op::Receive if request.queue == name("broken") && Instant::now() < heal => {
            Fate::Refuse([ErrorKind::Unavailable, ErrorKind::Unauthorized][request.nth % 2])
        }
        _ => Fate::Pass,
    });
    let builder = builder(spy.clone(), script).queue(Queue::new("broken")).queue(Queue::new(WORK));
    let worker = Running::new(builder);
    for n in 0..10 {
        put_jobs(&spy, [n.to_string()]).await;
        let run = heard.next().await;
        assert_eq!((run.order, run.at.as_secs()), (n.to_string(), n * 30));
        sleep(30 * SECOND).await;
    }
    let failed = spy.requests(Op::Receive);
    let failed = failed.iter().filter(|request| request.queue == name("broken")).count();
    assert!((10..40).contains(&failed), "{failed}");
    let run = heard.next().await;
    assert_eq!(run.order, "from broken");
    assert!(Instant::now() < heal + 37 * SECOND);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_settle_pauses_its_queue_and_charges_nobody() {
    let spy = spied().await;
    let (script, mut heard) = told(|order, cx| async move {
        if order == "fails" && cx.attempt() == 1 { Err("no".into()) } else { Ok(()) }
    });
    put_jobs(&spy, ["fails", "well"]).await;
    let heal = Instant::now() + 5 * MINUTE;
    spy.rule(move |request| match request.op {
        Op::Delete | Op::Replace | Op::Release | Op::Send if Instant::now() < heal => {
            Fate::Refuse(ErrorKind::Unauthorized)
        }
        _ => Fate::Pass,
    });
    let settings = Queue::new(WORK).lease(20 * SECOND).backoff(Backoff::fixed(SECOND));
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    heard.take(2).await;
    // Another slot may have been about to receive.
    sleep(SECOND / 10).await;
    let receives = spy.count(Op::Receive);
    put_jobs(&spy.inner, ["later"]).await;
    sleep(5 * SECOND).await;
    assert_eq!(spy.count(Op::Receive), receives);
    drained(&spy, WORK).await;
    assert!(Instant::now() >= heal);
    // While it is denied, no job runs a second time: its start could not be marked.
    let mut runs = heard.take(3).await;
    runs.sort();
    assert_eq!(runs, [("fails".into(), 1), ("fails".into(), 2), ("later".into(), 1)]);
    heard.nothing();
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.poisoned(), report.retried()), (3, 0, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_settle_waits_as_long_as_it_is_asked_to() {
    // No settle is retried in a tight loop.
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Delete if request.nth < 8 => Fate::Refuse(ErrorKind::Throttled),
        _ => Fate::Pass,
    });
    let worker = start(spy.clone(), script);
    let begin = Instant::now();
    heard.next().await;
    drained(&spy, WORK).await;
    assert_eq!(spy.count(Op::Delete), 9);
    assert!(begin.elapsed() > 5 * SECOND, "{:?}", begin.elapsed());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_that_never_wait_let_others_run() {
    const MOST: usize = 300_000;
    let backend = memory().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let script = script(move |order, cx| {
        let n = count.fetch_add(1, SeqCst);
        async move {
            if n < MOST {
                cx.client().enqueue(Act { order }).await?;
            }
            Ok(())
        }
    });
    put_jobs(&backend, ["again"]).await;
    let client = Client::new(backend.clone());
    let builder = job_core::Worker::builder(&client).data_arc(script);
    let worker = Running::new(builder);
    tokio::task::yield_now().await;
    let report = worker.stop().await;
    assert!(ran.load(SeqCst) < MOST, "{report}");
}
