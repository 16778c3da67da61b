//! Raw queues: messages of others, whose bodies are theirs.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use job_core::{Backoff, JobError, Queue};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

fn queue() -> Queue {
    Queue::new(WORK).raw::<Act>().max_attempts(3).backoff(Backoff::fixed(10 * SECOND))
}

fn serving(spy: &Spy, script: Arc<Script>) -> Running {
    Running::new(builder(spy.clone(), script).queue(queue()))
}

#[tokio::test(start_paused = true)]
async fn bare_json_reaches_a_typed_handler() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, cx| async move {
        assert_eq!((cx.attempt(), cx.max_attempts(), cx.name()), (1, 3, "act"));
        assert_eq!(cx.all_meta().count(), 0);
        Ok(())
    });
    put(&spy, WORK, r#"{ "order" : "by \u0061 script" }"#).await;
    let worker = serving(&spy, script);
    assert_eq!(heard.next().await.order, "by a script");
    drained(&spy, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
    assert_eq!(spy.count(Op::Replace), 0);
}

#[tokio::test(start_paused = true)]
async fn an_envelope_there_is_only_json() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    let worker = serving(&spy, script);
    drained(&spy, WORK).await;
    heard.nothing();
    assert_eq!(only(poisoned(&spy).await)["poison"]["reason"], "bad_args");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retries_go_by_the_count_and_leave_the_body_as_it_is() {
    let body = Bytes::from_static(b"{\"order\":  \"a\" , \"extra\": [1,2] }\n");
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Err("no".into()) });
    put(&spy, WORK, body.clone()).await;
    let worker = serving(&spy, script);
    for (attempt, at) in [(1, 0), (2, 10), (3, 20)] {
        let run = heard.next().await;
        assert_eq!((run.attempt, run.at.as_secs()), (attempt, at));
        if attempt < 3 {
            sleep(9 * SECOND).await;
            assert_eq!(total(&spy, WORK).await, 1);
        }
    }
    drained(&spy, WORK).await;
    heard.nothing();
    assert_eq!(spy.count(Op::Replace), 0);
    let copy = only(poisoned(&spy).await);
    assert_eq!(copy["original"], json!({ "text": std::str::from_utf8(&body).unwrap() }));
    assert_eq!((&copy["name"], &copy["poison"]["queue"]), (&json!("act"), &json!("work")));
    assert_eq!(copy["poison"]["reason"], "attempts_exhausted");
    assert_eq!(copy["poison"]["error"], "no");
    let report = worker.stop().await;
    assert_eq!((report.retried(), report.poisoned()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_body_on_the_queue_is_never_rewritten() {
    let body = "{\"order\":\t\"a\"}";
    let spy = spied().await;
    let (script, mut heard) = told(|_, cx| async move {
        match cx.attempt() {
            1 => Err("again".into()),
            _ => Err(JobError::snooze(HOUR)),
        }
    });
    put(&spy, WORK, body).await;
    let worker = serving(&spy, script);
    heard.take(2).await;
    worker.stop().await;
    sleep(HOUR).await;
    assert_eq!(only(bodies(&spy, WORK).await), body);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_or_does_not_fit_ends_in_poison_with_its_bytes() {
    for (body, original) in [
        (&b"rubbish"[..], json!({ "text": "rubbish" })),
        (b"", json!({ "text": "" })),
        (b"{\"order\": 7}", json!({ "text": "{\"order\": 7}" })),
        (b"{\"order\": \"a\"} {}", json!({ "text": "{\"order\": \"a\"} {}" })),
        (b"\xff\xfe", json!({ "base64": "//4=" })),
    ] {
        let spy = spied().await;
        let (script, mut heard) = obedient();
        put(&spy, WORK, body).await;
        let worker = serving(&spy, script);
        let begin = Instant::now();
        drained(&spy, WORK).await;
        // A deploy may be under way here too.
        assert!((20 * SECOND..30 * SECOND).contains(&begin.elapsed()));
        heard.nothing();
        let copy = only(poisoned(&spy).await);
        assert_eq!(copy["original"], original);
        assert_eq!(copy["poison"]["reason"], "bad_args");
        let report = worker.stop().await;
        assert_eq!((report.put_back(), report.poisoned(), report.started()), (2, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_be_wrapped_stays_as_it_is() {
    let spy = spied().await;
    let (script, _heard) = told(|_, _| async { Err(JobError::permanent("no")) });
    let body = format!(r#"{{"order":"{}"}}"#, "x".repeat(48 * 1024 - 12));
    put(&spy, WORK, body.clone()).await;
    let worker = serving(&spy, script);
    drained(&spy, WORK).await;
    assert_eq!(only(bodies(&spy, "work-poison").await), body);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn snoozes_and_deploys_count() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, cx| async move {
        match cx.attempt() {
            1 => Err(JobError::snooze(MINUTE)),
            2 => std::future::pending().await,
            _ => Err("no".into()),
        }
    });
    put(&spy, WORK, r#"{"order":"a"}"#).await;
    let worker = serving(&spy, script.clone());
    heard.take(2).await;
    let report = worker.stop().await;
    assert_eq!((report.snoozed(), report.given_back()), (1, 1));
    assert_eq!(visible(&spy, WORK).await, 1);
    let worker = serving(&spy, script);
    assert_eq!(heard.next().await.attempt, 3);
    drained(&spy, WORK).await;
    assert_eq!(worker.stop().await.poisoned(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_its_worker_ends_in_poison() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { std::future::pending().await });
    put(&spy, WORK, r#"{"order":"a"}"#).await;
    for _ in 0..3 {
        let worker = serving(&spy, script.clone());
        heard.next().await;
        worker.kill().await;
    }
    let worker = serving(&spy, script);
    drained(&spy, WORK).await;
    heard.nothing();
    let copy: Value = only(poisoned(&spy).await);
    assert_eq!(copy["poison"]["reason"], "attempts_exhausted");
    assert!(copy["poison"]["error"].as_str().unwrap().contains("without a word"));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn its_copies_in_poison_have_one_id() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Err(JobError::permanent("no")) });
    put(&spy, WORK, r#"{"order":"a"}"#).await;
    spy.rule(|request| if request.op == Op::Delete { Fate::Hang } else { Fate::Pass });
    let worker = serving(&spy, script.clone());
    heard.next().await;
    reached(|| async { spy.count(Op::Delete) == 1 }).await;
    worker.kill().await;
    spy.heal();
    let worker = serving(&spy, script);
    drained(&spy, WORK).await;
    let copies = poisoned(&spy).await;
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0]["id"], copies[1]["id"]);
    worker.stop().await;
    sleep(Duration::ZERO).await;
}
