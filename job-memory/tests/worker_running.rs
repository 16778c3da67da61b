//! What becomes of a job, outcome by outcome.

mod common;

use std::panic::panic_any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use job_core::backend::Backend;
use job_core::{
    Backoff, Client, Handler, Job, JobContext, JobError, JobOptions, Queue, Requirements, Worker,
};
use job_memory::MemoryBackend;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep};

fn fixed(seconds: u64) -> Backoff {
    Backoff::fixed(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn done_is_deleted() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    put_jobs(&backend, ["a"]).await;
    let worker = start(backend.clone(), script);
    assert_eq!(heard.take(1).await, [("a".to_owned(), 1)]);
    drained(&backend, WORK).await;
    let report = worker.stop().await;
    assert_eq!(report.to_string(), "1 received, 1 started, 1 completed");
    assert_eq!(total(&backend, "work-poison").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_after_its_backoff_and_then_goes_to_poison() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, _| async { Err("no luck".into()) });
    put_jobs(&backend, ["a"]).await;
    let backoff = Backoff::custom(|n| 10 * SECOND * n);
    let worker = Running::new(builder(backend.clone(), script).backoff(backoff).max_attempts(3));
    let runs = [heard.next().await, heard.next().await, heard.next().await];
    assert_eq!(runs.each_ref().map(|run| run.attempt), [1, 2, 3]);
    assert_eq!(runs.each_ref().map(|run| run.at.as_secs()), [0, 10, 30]);
    drained(&backend, WORK).await;
    heard.nothing();

    let copy = only(poisoned(&backend).await);
    assert_eq!(copy["poison"]["reason"], "attempts_exhausted");
    assert_eq!(copy["poison"]["state"], "final");
    assert_eq!(copy["poison"]["queue"], "work");
    assert_eq!(copy["history"]["failed"], 3);
    assert_eq!(copy["args"], json!({ "order": "a" }));
    let errors: Vec<_> = copy["errors"].as_array().unwrap().iter().map(|e| &e["error"]).collect();
    assert_eq!(errors, ["no luck", "no luck", "no luck"]);
    let report = worker.stop().await;
    assert_eq!((report.retried(), report.poisoned(), report.started()), (2, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn the_copy_in_poison_is_the_job_with_its_history() {
    let backend = memory().await;
    let (script, _heard) = told(|_, cx| async move { Err(format!("try {}", cx.attempt()).into()) });
    let mut sent = with(job("a"), "meta", json!({ "tenant": "blue" }));
    sent["trace"] = json!({ "traceparent": "00-1-2-01" });
    sent["from_the_future"] = json!([1, 2]);
    put_job(&backend, &sent).await;
    let worker = Running::new(builder(backend.clone(), script).backoff(fixed(1)).max_attempts(2));
    drained(&backend, WORK).await;
    let copy = only(poisoned(&backend).await);
    for field in ["id", "name", "args", "meta", "trace", "enqueued_at", "from_the_future"] {
        assert_eq!(copy[field], sent[field], "{field}");
    }
    assert_eq!(copy["errors"][0]["error"], "try 1");
    assert_eq!(copy["errors"][1]["error"], "try 2");
    assert_eq!(copy["errors"][1]["attempt"], 2);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_say_when_and_that_uses_up_an_attempt() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, cx| async move {
        if cx.attempt() == 1 { Err(JobError::retry_after("busy", 77 * SECOND)) } else { Ok(()) }
    });
    put_jobs(&backend, ["a"]).await;
    let worker = Running::new(builder(backend.clone(), script).backoff(fixed(1)));
    heard.next().await;
    let second = heard.next().await;
    assert_eq!((second.attempt, second.at.as_secs()), (2, 77));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn permanent_goes_to_poison_at_once() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, _| async { Err(JobError::permanent("no such user")) });
    put_jobs(&backend, ["a"]).await;
    let worker = start(backend.clone(), script);
    drained(&backend, WORK).await;
    assert_eq!(heard.take(1).await.len(), 1);
    let copy = only(poisoned(&backend).await);
    assert_eq!(copy["poison"]["reason"], "permanent");
    assert_eq!(copy["errors"][0]["error"], "no such user");
    let report = worker.stop().await;
    assert_eq!((report.poisoned(), report.retried()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn discard_drops_it_and_counts_it() {
    let backend = memory().await;
    let (script, _heard) = told(|_, _| async { Err(JobError::discard("user is gone")) });
    put_jobs(&backend, ["a"]).await;
    let worker = start(backend.clone(), script);
    drained(&backend, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.discarded(), report.completed(), report.poisoned()), (1, 0, 0));
    assert_eq!(total(&backend, "work-poison").await, 0);
}

#[tokio::test(start_paused = true)]
async fn snoozing_uses_up_no_attempt() {
    let backend = memory().await;
    let left = Arc::new(Mutex::new(5));
    let (script, mut heard) = told(move |_, _| {
        let snooze = {
            let mut left = left.lock().unwrap();
            *left -= 1;
            *left >= 0
        };
        async move { if snooze { Err(JobError::snooze(MINUTE)) } else { Ok(()) } }
    });
    put_jobs(&backend, ["a"]).await;
    let worker = Running::new(builder(backend.clone(), script).max_attempts(1));
    for n in 0..6 {
        let run = heard.next().await;
        assert_eq!((run.attempt, run.at.as_secs()), (1, 60 * n));
    }
    drained(&backend, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.snoozed(), report.completed(), report.poisoned()), (5, 1, 0));
}

#[derive(Serialize, Deserialize)]
struct Twice {}
impl Job for Twice {
    const NAME: &'static str = "twice";
    const OPTIONS: JobOptions = JobOptions::new().queue("work").max_attempts(2).backoff(ONE);
}
const ONE: Backoff = Backoff::fixed(Duration::from_secs(1));
#[derive(Serialize, Deserialize)]
struct Often {}
impl Job for Often {
    const NAME: &'static str = "often";
    const OPTIONS: JobOptions = JobOptions::new().queue("work").backoff(ONE);
}
macro_rules! fails {
    ($($job:ident),*) => {$(
        impl Handler for $job {
            type Job = Self;
            async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
                Err("no".into())
            }
        }
    )*};
}
fails!(Twice, Often);

async fn attempts_of(name: &str, call: Option<u32>, queue: Option<u32>, worker: u32) -> u64 {
    let backend = memory().await;
    let mut body = with(with(job("x"), "name", json!(name)), "args", json!({}));
    if let Some(n) = call {
        body["options"] = json!({ "max_attempts": n });
    }
    put_job(&backend, &body).await;
    let mut settings = Queue::new(WORK);
    if let Some(n) = queue {
        settings = settings.max_attempts(n);
    }
    let builder = Worker::builder(&Client::new(backend.clone()))
        .without_linked_jobs()
        .register::<Twice>()
        .register::<Often>()
        .queue(settings)
        .max_attempts(worker);
    let worker = Running::new(builder);
    drained(&backend, WORK).await;
    assert_eq!(poisoned(&backend).await.len(), 1);
    worker.stop().await.started()
}

#[tokio::test(start_paused = true)]
async fn the_call_goes_before_the_job_before_the_queue_before_the_worker() {
    assert_eq!(attempts_of("often", None, None, 5).await, 5);
    assert_eq!(attempts_of("often", None, Some(4), 5).await, 4);
    assert_eq!(attempts_of("twice", None, Some(4), 5).await, 2);
    assert_eq!(attempts_of("twice", Some(3), Some(4), 5).await, 3);
    assert_eq!(attempts_of("twice", Some(1), Some(4), 5).await, 1);
    assert_eq!(attempts_of("twice", Some(0), None, 5).await, 1);
}

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload panics too");
    }
}

/// Panics when it is dropped before it is done.
struct Trap;
impl Drop for Trap {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Panics when somebody wants to know what it is.
#[derive(Debug)]
struct Unspeakable;
impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("cannot say");
    }
}
impl std::error::Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn a_panic_of_any_kind_is_a_failed_attempt_and_the_slot_lives_on() {
    let backend = memory().await;
    let (script, mut heard) = told(|order, _| async move {
        match &*order {
            "str" => panic!("ouch"),
            "string" => panic!("ouch {}", order.len()),
            "number" => panic_any(7),
            "bomb" => panic_any(Bomb),
            "late" => {
                tokio::task::yield_now().await;
                panic!("later")
            }
            _ => Ok(()),
        }
    });
    put_jobs(&backend, ["str", "string", "number", "bomb", "late", "well"]).await;
    let settings = Queue::new(WORK).concurrency(1).max_attempts(1);
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    heard.take(6).await;
    drained(&backend, WORK).await;
    let copies = poisoned(&backend).await;
    let errors: Vec<_> = copies.iter().map(|copy| copy["errors"][0]["error"].clone()).collect();
    assert_eq!(
        errors,
        [
            "the job panicked: ouch",
            "the job panicked: ouch 6",
            "the job panicked: with a payload that is no text",
            "the job panicked: with a payload that is no text",
            "the job panicked: later",
        ]
    );
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_panics_outside_of_its_run_is_a_failed_attempt_too() {
    let backend = memory().await;
    let (script, mut heard) = told(|order, _| async move {
        match &*order {
            // Dropped at its timeout, which panics.
            "trap" => {
                let _trap = Trap;
                std::future::pending().await
            }
            "unspeakable" => Err(Unspeakable.into()),
            _ => Ok(()),
        }
    });
    put_jobs(&backend, ["trap", "unspeakable", "well"]).await;
    let settings = Queue::new(WORK).concurrency(1).max_attempts(2).backoff(ONE).timeout(MINUTE);
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    heard.take(5).await;
    drained(&backend, WORK).await;
    let mut errors: Vec<_> = poisoned(&backend).await;
    errors.sort_by_key(|copy| copy["args"]["order"].to_string());
    assert_eq!(
        errors[0]["errors"][0]["error"],
        "the job timed out after 1m; give it a longer timeout or less to do"
    );
    assert_eq!(errors[1]["errors"][0]["error"], "the error panics when it is shown");
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.poisoned(), report.started()), (1, 2, 5));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_when_its_lease_is_lost_or_it_is_cancelled_keeps_its_slot() {
    let spy = spied().await;
    let (script, mut heard) = told(|order, cx| async move {
        if order == "trap" && cx.attempt() == 1 {
            let _trap = Trap;
            std::future::pending::<()>().await
        }
        Ok(())
    });
    put_jobs(&spy, ["trap"]).await;
    let settings = Queue::new(WORK).concurrency(1).lease(30 * SECOND);
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    heard.next().await;
    assert_eq!(spy.inner.purge(&name(WORK)).await.unwrap(), Some(1));
    sleep(MINUTE).await;
    put_jobs(&spy, ["well", "trap"]).await;
    assert_eq!(heard.take(2).await[0].0, "well");
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.given_back(), report.abandoned()), (1, 1, 0));
    assert_eq!(visible(&spy, WORK).await, 1);
}

#[derive(Serialize)]
struct Touchy {}
impl<'de> Deserialize<'de> for Touchy {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(d)?;
        panic!("cannot take {value}");
    }
}
impl Job for Touchy {
    const NAME: &'static str = "touchy";
    const OPTIONS: JobOptions = JobOptions::new().queue("work").max_attempts(2).backoff(ONE);
}
impl Handler for Touchy {
    type Job = Self;
    async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn args_whose_decoding_panics_are_a_failed_attempt_that_does_not_show_them() {
    let backend = memory().await;
    let body = with(with(job("x"), "name", json!("touchy")), "args", json!({ "card": "canary" }));
    put_job(&backend, &body).await;
    let builder = Worker::builder(&Client::new(backend.clone()))
        .without_linked_jobs()
        .register::<Touchy>()
        .queue(Queue::new(WORK).concurrency(1));
    let worker = Running::new(builder);
    drained(&backend, WORK).await;
    let copy = only(poisoned(&backend).await);
    assert_eq!(copy["poison"]["reason"], "attempts_exhausted");
    assert_eq!(copy["history"]["failed"], 2);
    let errors = copy["errors"].to_string();
    assert!(errors.contains("panicked") && !errors.contains("canary"), "{errors}");
    assert_eq!(worker.stop().await.started(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_drops_the_future_and_cancels_the_token() {
    let backend = memory().await;
    let (dropped, mut drops) = unbounded_channel();
    let (script, mut heard) = told(move |_, cx| {
        let dropped = dropped.clone();
        struct OnDrop(Option<Box<dyn FnOnce() + Send>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.take().unwrap()();
            }
        }
        async move {
            if cx.attempt() == 2 {
                return Ok(());
            }
            let token = cx.cancellation().clone();
            let _on_drop = OnDrop(Some(Box::new(move || {
                dropped.send(token.is_cancelled()).unwrap();
            })));
            assert!(!cx.is_cancelled());
            std::future::pending().await
        }
    });
    put_jobs(&backend, ["a"]).await;
    let worker = Running::new(builder(backend.clone(), script).timeout(MINUTE).backoff(fixed(10)));
    heard.next().await;
    assert_eq!(drops.recv().await, Some(true));
    let second = heard.next().await;
    assert_eq!((second.attempt, second.at.as_secs()), (2, 70));
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_context_tells_of_the_run() {
    let backend = memory().await;
    let (tell, mut told) = unbounded_channel();
    let script = script(move |_, cx| {
        tell.send(cx.clone()).unwrap();
        async move { if cx.is_last_attempt() { Ok(()) } else { Err("again".into()) } }
    });
    let sent = with(job("a"), "meta", json!({ "tenant": "blue", "by": "x" }));
    put_job(&backend, &sent).await;
    let begin = Instant::now();
    let builder =
        builder(backend.clone(), script).timeout(MINUTE).backoff(fixed(10)).max_attempts(2);
    let worker = Running::new(builder);
    for attempt in [1, 2] {
        let cx: JobContext = told.recv().await.unwrap();
        assert_eq!(cx.attempt(), attempt);
        assert_eq!(cx.is_last_attempt(), attempt == 2);
        assert_eq!(cx.id().to_string(), sent["id"]);
        assert_eq!((cx.name(), cx.queue().as_str(), cx.max_attempts()), ("act", "work", 2));
        assert_eq!(cx.meta("tenant"), Some("blue"));
        assert_eq!(cx.all_meta().count(), 2);
        let deadline = cx.deadline() - begin;
        assert_eq!(deadline.as_secs(), if attempt == 1 { 60 } else { 70 });
        let enqueued = cx.enqueued_at().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(enqueued.as_millis(), 1_700_000_000_000);
        assert!(Arc::ptr_eq(cx.client().backend(), cx.client().backend()));
    }
    drained(&backend, WORK).await;
    worker.stop().await;
}

trait Greet: Send + Sync {
    fn greet(&self) -> &'static str;
}
struct English;
impl Greet for English {
    fn greet(&self) -> &'static str {
        "hello"
    }
}
#[derive(Serialize, Deserialize)]
struct Greeting {}
impl Job for Greeting {
    const NAME: &'static str = "greeting";
    const OPTIONS: JobOptions = JobOptions::new().queue("work");
}
impl Handler for Greeting {
    type Job = Self;
    async fn call(_job: Self, cx: JobContext) -> Result<(), JobError> {
        let (text, number) = (cx.data::<dyn Greet>()?, cx.data::<u32>()?);
        Err(JobError::permanent(format!(
            "{} {} {}",
            text.greet(),
            *number,
            cx.data::<u8>().is_err()
        )))
    }
    fn requires(needs: &mut Requirements) {
        needs.data::<dyn Greet>();
        needs.data::<u32>();
    }
}

#[tokio::test(start_paused = true)]
async fn data_reaches_the_handler() {
    let backend = memory().await;
    put_job(&backend, &with(with(job("x"), "name", json!("greeting")), "args", json!({}))).await;
    let builder = Worker::builder(&Client::new(backend.clone()))
        .without_linked_jobs()
        .register::<Greeting>()
        .data_arc::<dyn Greet>(Arc::new(English))
        .data(7_u32);
    let worker = Running::new(builder);
    drained(&backend, WORK).await;
    assert_eq!(only(poisoned(&backend).await)["errors"][0]["error"], "hello 7 true");
    worker.stop().await;
}

#[derive(Serialize, Deserialize)]
struct Fresh {}
impl Job for Fresh {
    const NAME: &'static str = "fresh";
    const OPTIONS: JobOptions = JobOptions::new()
        .queue("work")
        .expires_in(Duration::from_secs(60))
        .max_attempts(999)
        .backoff(ONE);
}
fails!(Fresh);

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_dropped_and_counted() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    let by_call =
        |seconds: u64| with(job("a"), "options", json!({ "expires_in_ms": seconds * 1000 }));
    let by_job = with(with(job("x"), "name", json!("fresh")), "args", json!({}));
    put_job(&backend, &by_call(10)).await;
    put_job(&backend, &by_call(120)).await;
    put_job(&backend, &by_job).await;
    // The call goes before the job.
    put_job(&backend, &with(by_job, "options", json!({ "expires_in_ms": 600_000 }))).await;
    sleep(90 * SECOND).await;
    let worker = Running::new(builder(backend.clone(), script).register::<Fresh>());
    heard.next().await;
    // It is retried until it is too old for that.
    drained(&backend, WORK).await;
    heard.nothing();
    let report = worker.stop().await;
    assert_eq!((report.expired(), report.completed()), (3, 1));
    assert!(report.retried() > 10);
    assert_eq!(total(&backend, "work-poison").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_longest_is_made_of_hops() {
    let mut capabilities = MemoryBackend::new().capabilities().clone();
    capabilities.max_delay = 10 * MINUTE;
    let backend = MemoryBackend::with_capabilities(capabilities);
    create(&backend, WORK).await;
    let (script, mut heard) = told(|_, cx| async move {
        if cx.attempt() == 1 { Err(JobError::retry_after("later", 35 * MINUTE)) } else { Ok(()) }
    });
    let left = 25 * 60 * 1000_u64;
    put_job(&backend, &with(job("a"), "delay_left_ms", json!(left))).await;
    let worker = start(backend.clone(), script);
    let first = heard.next().await;
    assert_eq!((first.attempt, first.at.as_secs()), (1, 25 * 60));
    let second = heard.next().await;
    assert_eq!((second.attempt, second.at.as_secs()), (2, 60 * 60));
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.hopped(), 3 + 3);
}

#[tokio::test(start_paused = true)]
async fn an_enqueue_in_this_process_wakes_the_worker() {
    // No wake-ups by the backend, and long polls.
    let spy = spied().await.claim(|capabilities| capabilities.wakes = false);
    let (script, mut heard) = obedient();
    let client = Client::new(spy.clone());
    let settings = Queue::new(WORK).min_poll(HOUR).max_poll(HOUR);
    let worker =
        Running::new(Worker::builder(&client).data_arc(script).queue(settings).grace(SECOND));
    sleep(MINUTE).await;
    client.enqueue(Act { order: "a".into() }).await.unwrap();
    assert_eq!(heard.next().await.at.as_secs(), 60);
    client.enqueue(Act { order: "b".into() }).await.unwrap();
    assert_eq!(heard.next().await.at.as_secs(), 60);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_enqueues_another_by_its_context() {
    let backend = memory().await;
    let (script, mut heard) = told(|order, cx: JobContext| async move {
        if order.len() < 5 {
            cx.client().enqueue(Act { order: order + "x" }).await?;
        }
        Ok(())
    });
    put_jobs(&backend, ["x"]).await;
    let worker = start(backend.clone(), script);
    assert_eq!(heard.take(5).await[4].0, "xxxxx");
    drained(&backend, WORK).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_a_queue() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, _| async {
        sleep(SECOND).await;
        Ok(())
    });
    put_jobs(&backend, (0..200).map(|n| n.to_string())).await;
    let settings = || Queue::new(WORK).concurrency(4);
    let workers =
        [0, 1].map(|_| Running::new(builder(backend.clone(), script.clone()).queue(settings())));
    let mut runs = heard.take(200).await;
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 200);
    drained(&backend, WORK).await;
    heard.nothing();
    let mut completed = 0;
    for worker in workers {
        let report = worker.stop().await;
        assert!(report.completed() > 50, "{report}");
        completed += report.completed();
    }
    assert_eq!(completed, 200);
}

#[derive(Serialize, Deserialize)]
struct Elsewhere {}
impl Job for Elsewhere {
    const NAME: &'static str = "elsewhere";
    const OPTIONS: JobOptions = JobOptions::new().queue("other");
}
impl Handler for Elsewhere {
    type Job = Self;
    async fn call(_job: Self, cx: JobContext) -> Result<(), JobError> {
        Err(JobError::permanent(cx.queue().to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn several_queues_are_served_and_a_job_runs_from_any_of_them() {
    let backend = memory().await;
    create(&backend, "other").await;
    let (script, mut heard) = obedient();
    put(&backend, "other", job("strayed").to_string()).await;
    put(&backend, WORK, job("home").to_string()).await;
    let elsewhere = with(with(job("x"), "name", json!("elsewhere")), "args", json!({}));
    put(&backend, "other", elsewhere.to_string()).await;
    let worker = Running::new(builder(backend.clone(), script).register::<Elsewhere>());
    heard.take(2).await;
    drained(&backend, WORK).await;
    drained(&backend, "other").await;
    let copies = bodies(&backend, "other-poison").await;
    assert!(String::from_utf8_lossy(&copies[0]).contains(r#""error":"other""#));
    assert_eq!(worker.stop().await.completed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_some_jobs_leaves_the_others_alone() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    let other = with(with(job("x"), "name", json!("often")), "args", json!({}));
    put_job(&backend, &other).await;
    put_jobs(&backend, ["mine"]).await;
    let worker = Running::new(builder(backend.clone(), script).register::<Often>().jobs(["act"]));
    heard.take(1).await;
    sleep(MINUTE).await;
    heard.nothing();
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.started(), report.poisoned()), (1, 1, 0));
    assert!(report.put_back() > 0);
    assert_eq!(total(&backend, WORK).await, 1);
}
