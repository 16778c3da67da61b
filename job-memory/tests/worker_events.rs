//! Messages from elsewhere: events whose type names a job, and plain JSON both ways.

mod common;

use std::sync::Arc;

use common::*;
use job_core::backend::Backend;
use job_core::{Backoff, Client, Data, Handler, JobContext, JobError, JobId, Queue, Worker, job};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// As storage calls it when it posts to a queue.
#[job(queue = "work", name = "Microsoft.Storage.BlobCreated", alias = "com.example.blob.created")]
#[serde(deny_unknown_fields)]
async fn blob_created(url: String, script: Data<Script>, cx: JobContext) -> Result<(), JobError> {
    script(url, cx).await
}

/// Takes the events themselves, whatever their type.
#[job(queue = "work")]
async fn audit(
    specversion: String,
    r#type: String,
    data: Value,
    script: Data<Script>,
    cx: JobContext,
) -> Result<(), JobError> {
    script(format!("{specversion} {type} {data}"), cx).await
}

fn cloud(kind: &str) -> Value {
    json!({
        "specversion": "1.0",
        "type": kind,
        "source": "/containers/c",
        "id": "e-1",
        "time": "2025-10-09T08:53:20Z",
        "subject": "b.png",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": { "order": "a" },
    })
}

fn grid(id: &str) -> Value {
    json!({
        "id": id,
        "topic": "/containers/c",
        "subject": "b.png",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2025-10-09T08:53:20Z",
        "data": { "url": "https://example.com/b.png" },
        "dataVersion": "1",
    })
}

/// Retries after 10 s, and puts back for two hours at most.
fn serving(backend: impl Backend, script: Arc<Script>) -> Running {
    let queue = Queue::new(WORK).max_attempts(3).backoff(Backoff::fixed(10 * SECOND));
    Running::new(builder(backend, script).queue(queue).put_back_limit(2 * HOUR))
}

fn raw<H: Handler>(backend: impl Backend, script: Arc<Script>) -> Running {
    let queue = Queue::new(WORK).raw::<H>().max_attempts(3).backoff(Backoff::fixed(10 * SECOND));
    Running::new(builder(backend, script).queue(queue))
}

fn meta(cx: &JobContext) -> Value {
    cx.all_meta().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cloud_event_runs_its_job() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, cx| async move {
        assert_eq!((cx.name(), cx.attempt()), ("act", 1));
        assert_eq!(
            meta(&cx),
            json!({
                "ce-specversion": "1.0",
                "ce-type": "act",
                "ce-source": "/containers/c",
                "ce-id": "e-1",
                "ce-time": "2025-10-09T08:53:20Z",
                "ce-subject": "b.png",
                "ce-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            })
        );
        Ok(())
    });
    put(&spy, WORK, cloud("act").to_string()).await;
    let worker = serving(spy.clone(), script);
    assert_eq!(heard.next().await.order, "a");
    drained(&spy, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
    assert_eq!(spy.count(Op::Replace), 0, "a job that succeeds costs no more than others");
}

#[tokio::test(start_paused = true)]
async fn an_event_grid_event_runs_its_job_alone_or_as_an_array_of_one() {
    let backend = memory().await;
    let (script, mut heard) = told(|url, cx| async move {
        assert_eq!(url, "https://example.com/b.png");
        assert_eq!(cx.name(), "Microsoft.Storage.BlobCreated");
        assert_eq!(cx.meta("ce-source"), Some("/containers/c"));
        Ok(())
    });
    put(&backend, WORK, grid("1").to_string()).await;
    put(&backend, WORK, json!([grid("2")]).to_string()).await;
    let mut by_alias = cloud("com.example.blob.created");
    by_alias["data"] = json!({ "url": "https://example.com/b.png" });
    put(&backend, WORK, by_alias.to_string()).await;
    let worker = serving(backend.clone(), script);
    heard.take(3).await;
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 3);
}

#[tokio::test(start_paused = true)]
async fn copies_of_an_event_are_one_job() {
    let backend = memory().await;
    let (tell, mut ids) = tokio::sync::mpsc::unbounded_channel::<JobId>();
    let script = script(move |_, cx: JobContext| {
        tell.send(cx.id()).unwrap();
        async { Ok(()) }
    });
    let mut other = cloud("act");
    other["source"] = json!("/elsewhere");
    for event in [cloud("act"), cloud("act"), other] {
        put(&backend, WORK, event.to_string()).await;
    }
    let worker =
        Running::new(builder(backend.clone(), script).queue(Queue::new(WORK).concurrency(1)));
    drained(&backend, WORK).await;
    worker.stop().await;
    let [a, b, c] = [ids.try_recv().unwrap(), ids.try_recv().unwrap(), ids.try_recv().unwrap()];
    assert_eq!((a == b, a == c), (true, false));
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_id_args_and_meta() {
    let backend = memory().await;
    let (tell, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let script = script(move |order, cx: JobContext| {
        tell.send((order, cx.id(), cx.attempt(), meta(&cx))).unwrap();
        async { Err("no".into()) }
    });
    put(&backend, WORK, cloud("act").to_string()).await;
    let worker = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    let first = seen.recv().await.unwrap();
    for attempt in [2, 3] {
        let again = seen.recv().await.unwrap();
        assert_eq!(again, (first.0.clone(), first.1, attempt, first.3.clone()));
    }
    let copy = only(poisoned(&backend).await);
    assert_eq!(copy["id"], first.1.to_string());
    assert_eq!((&copy["name"], &copy["args"]), (&json!("act"), &json!({ "order": "a" })));
    assert_eq!(copy["meta"], first.3);
    assert_eq!(copy["trace"]["traceparent"], first.3["ce-traceparent"]);
    assert_eq!(copy["poison"]["reason"], "attempts_exhausted");
    assert!(copy["original"].is_null());

    // And so does a replay.
    worker.stop().await;
    let client = Client::new(backend.clone());
    assert_eq!(client.poison(WORK).unwrap().replay().await.unwrap().ids(), [first.1]);
    assert_eq!(
        serde_json::from_slice::<Value>(&only(bodies(&backend, WORK).await)).unwrap()["meta"],
        first.3
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_kills_its_worker_is_quarantined_as_its_job() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { std::future::pending().await });
    put(&spy, WORK, cloud("act").to_string()).await;
    for _ in 0..4 {
        let worker = serving(spy.clone(), script.clone());
        heard.next().await;
        worker.kill().await;
    }
    let worker = serving(spy.clone(), script);
    drained(&spy, WORK).await;
    heard.nothing();
    let copy = only(poisoned(&spy).await);
    assert_eq!(copy["poison"]["reason"], "crashed");
    assert_eq!((&copy["args"], &copy["meta"]["ce-id"]), (&json!({ "order": "a" }), &json!("e-1")));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_that_nobody_knows_is_put_back_unchanged_and_poison_in_the_end() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    let body = cloud("from.tomorrow").to_string();
    put(&spy, WORK, body.clone()).await;
    let worker = serving(spy.clone(), script);
    let begin = Instant::now();
    sleep(HOUR).await;
    assert_eq!((total(&spy, WORK).await, spy.count(Op::Replace)), (1, 0));
    drained(&spy, WORK).await;
    assert!((2 * HOUR..4 * HOUR).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    heard.nothing();
    let copy = only(poisoned(&spy).await);
    assert_eq!(copy["original"], json!({ "text": body }));
    assert_eq!(
        (&copy["name"], &copy["poison"]["reason"]),
        (&json!("from.tomorrow"), &json!("unknown_job"))
    );
    let report = worker.stop().await;
    assert_eq!((report.started(), report.poisoned()), (0, 1));
    assert!(report.put_back() > 10);
}

#[tokio::test(start_paused = true)]
async fn put_back_it_runs_once_a_worker_knows_it_and_is_not_charged() {
    let backend = memory().await;
    put(&backend, WORK, grid("1").to_string()).await;
    let (old_script, mut old_heard) = obedient();
    let old = Worker::builder(&Client::new(backend.clone()))
        .data_arc(old_script)
        .jobs(["act"])
        .queue(Queue::new(WORK));
    let old = Running::new(old);
    sleep(HOUR).await;
    assert!(old.stop().await.put_back() > 3);
    old_heard.nothing();
    let (script, mut heard) = obedient();
    let new = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    assert_eq!(heard.next().await.attempt, 1);
    assert_eq!(new.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn data_that_do_not_fit_are_put_back_unchanged_and_the_reason_tells_where() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    let mut event = cloud("act");
    event["data"] = json!({ "order": { "canary": 1 } });
    put(&backend, WORK, event.to_string()).await;
    let worker = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    heard.nothing();
    let copy = only(poisoned(&backend).await);
    assert_eq!(copy["poison"]["reason"], "bad_args");
    assert_eq!(
        copy["poison"]["error"],
        "the args of version 1 do not fit at `order`: it is of another type"
    );
    assert_eq!(copy["original"], json!({ "text": event.to_string() }));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_claims_to_be_an_event_and_is_none_is_poison_at_once() {
    let mut old = cloud("act");
    old["specversion"] = json!("0.3");
    let mut binary = cloud("act");
    binary.as_object_mut().unwrap().remove("data");
    binary["data_base64"] = json!("AAECAw==");
    for (body, problem) in [
        (
            json!([grid("1"), grid("2")]),
            "the message holds 2 events, and a message is one job: post them one by one",
        ),
        (old, "the message is a CloudEvent, but not one of `specversion` 1.0"),
        (binary, "the message is a CloudEvent whose `data_base64` is not JSON in base64"),
        (
            json!({ "order": "plain" }),
            "the message is JSON but not a job envelope (line 1, column 17)",
        ),
    ] {
        let backend = memory().await;
        let (script, mut heard) = obedient();
        put(&backend, WORK, body.to_string()).await;
        let worker = serving(backend.clone(), script);
        let begin = Instant::now();
        drained(&backend, WORK).await;
        assert!(begin.elapsed() < SECOND);
        heard.nothing();
        let copy = only(poisoned(&backend).await);
        assert_eq!(copy["poison"]["reason"], "undecodable");
        assert_eq!(copy["poison"]["error"], problem);
        assert_eq!(copy["original"], json!({ "text": body.to_string() }));
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_as_long_as_the_queue_allows_is_tried_as_often_as_others() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Err("no".into()) });
    let most = spy.capabilities().max_body;
    let mut event = cloud("act");
    event["data"] = json!({ "order": "" });
    event["data"]["order"] = json!("x".repeat(most - event.to_string().len()));
    let body = event.to_string();
    assert_eq!(body.len(), most);
    put(&spy, WORK, body.clone()).await;
    let worker = serving(spy.clone(), script);
    for (attempt, at) in [(1, 0), (2, 10), (3, 20)] {
        let run = heard.next().await;
        assert_eq!((run.attempt, run.at.as_secs()), (attempt, at));
    }
    drained(&spy, WORK).await;
    heard.nothing();
    assert_eq!(only(bodies(&spy, "work-poison").await), body);
    let report = worker.stop().await;
    assert_eq!((report.retried(), report.poisoned()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_an_event_back() {
    let backend = memory().await;
    let (first, mut heard) = told(|_, _| async { std::future::pending().await });
    put(&backend, WORK, cloud("act").to_string()).await;
    let worker = serving(backend.clone(), first);
    heard.next().await;
    assert_eq!(worker.stop().await.given_back(), 1);
    assert_eq!(visible(&backend, WORK).await, 1);
    let (script, mut heard) = obedient();
    let worker = serving(backend.clone(), script);
    assert_eq!(heard.next().await.attempt, 1);
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_a_raw_queue_an_event_that_names_the_job_is_unwrapped() {
    let spy = spied().await;
    let (tell, mut ids) = tokio::sync::mpsc::unbounded_channel::<JobId>();
    let (script, mut heard) = told(move |url, cx| {
        assert_eq!((&*url, cx.meta("ce-subject")), ("https://example.com/b.png", Some("b.png")));
        tell.send(cx.id()).unwrap();
        async { Err("no".into()) }
    });
    let body = json!([grid("1")]).to_string();
    put(&spy, WORK, body.clone()).await;
    let worker = raw::<BlobCreated>(spy.clone(), script);
    assert_eq!(heard.take(3).await.last().unwrap().1, 3);
    drained(&spy, WORK).await;
    assert_eq!(spy.count(Op::Replace), 0, "the body on a raw queue is never rewritten");
    let copy = only(poisoned(&spy).await);
    assert_eq!(copy["original"], json!({ "text": body }));
    for _ in 0..3 {
        assert_eq!(copy["id"], ids.try_recv().unwrap().to_string());
    }
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn on_a_raw_queue_any_other_event_is_the_args_as_a_whole() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, cx| async move {
        assert_eq!(cx.all_meta().count(), 0);
        Ok(())
    });
    put(&backend, WORK, cloud("com.example.anything").to_string()).await;
    let worker = raw::<Audit>(backend.clone(), script);
    assert_eq!(heard.next().await.order, r#"1.0 com.example.anything {"order":"a"}"#);
    drained(&backend, WORK).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_functions_host_adds_is_not_among_the_args() {
    let backend = memory().await;
    let (script, mut heard) = told(|url, cx| async move {
        assert_eq!((&*url, cx.meta("$AzureWebJobsParentId")), ("a", Some("p-1")));
        Ok(())
    });
    // A type that refuses fields that it does not know.
    let body = json!({ "$AzureWebJobsParentId": "p-1", "url": "a" });
    put(&backend, WORK, body.to_string()).await;
    let worker = raw::<BlobCreated>(backend.clone(), script);
    heard.next().await;
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);

    // Any other is refused as ever, and the message stays as it was posted.
    let body = json!({ "$AzureWebJobsParentId": "p-1", "$other": 1, "url": "a" }).to_string();
    put(&backend, WORK, body.clone()).await;
    let (script, mut heard) = obedient();
    let worker = raw::<BlobCreated>(backend.clone(), script);
    drained(&backend, WORK).await;
    heard.nothing();
    assert_eq!(only(poisoned(&backend).await)["original"], json!({ "text": body }));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_functions_host_may_add_it_to_envelopes_and_events_too() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    put_job(&backend, &with(job("envelope"), "$AzureWebJobsParentId", json!("p-1"))).await;
    put_job(&backend, &with(cloud("act"), "$AzureWebJobsParentId", json!("p-1"))).await;
    let worker = serving(backend.clone(), script);
    heard.take(2).await;
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_posts_to_a_raw_queue() {
    let backend = memory().await;
    let client = Client::new(backend.clone());
    let act = || Act { order: "from a client".into() };
    client.enqueue(act()).raw().await.unwrap();
    client.enqueue(act()).raw().delay(MINUTE).await.unwrap();
    assert_eq!(only(bodies(&backend, WORK).await), r#"{"order":"from a client"}"#);
    let (script, mut heard) = obedient();
    let worker = raw::<Act>(backend.clone(), script);
    for at in [0, 60] {
        let run = heard.next().await;
        assert_eq!((&*run.order, run.attempt), ("from a client", 1));
        assert!((at..at + 6).contains(&run.at.as_secs()), "{:?}", run.at);
    }
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 2);
}
