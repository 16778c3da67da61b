//! Log lines and spans: which there are, at which level, and what they say.

mod common;
mod recorded;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use job_core::backend::{Backend, ErrorKind};
use job_core::{Backoff, Client, JobError, Queue, WorkerBuilder};
use recorded::Recorded;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::Level;

/// What a job's order tells it to do.
fn by_order() -> (Arc<Script>, Heard) {
    told(|order, cx| async move {
        match &*order {
            "fail once" if cx.attempt() == 1 => Err("not yet".into()),
            "permanent" => Err(JobError::permanent("never")),
            "discard" => Err(JobError::discard("not needed")),
            "panic" => panic!("broken"),
            "hang" => std::future::pending().await,
            _ => Ok(()),
        }
    })
}

fn quick(builder: WorkerBuilder) -> WorkerBuilder {
    let queue = Queue::new(WORK).backoff(Backoff::fixed(SECOND)).max_attempts(2);
    builder.queue(queue.timeout(10 * SECOND).lease(30 * SECOND))
}

/// The lines about jobs, without those about the worker's own life.
fn lines(recorded: &Recorded) -> Vec<&'static str> {
    let own = ["queue_served", "worker_stopping", "worker_stopped"];
    let lines = recorded.events().into_iter().map(|told| told.name);
    lines.filter(|name| !own.contains(name)).collect()
}

#[tokio::test(start_paused = true)]
async fn at_info_there_is_one_line_a_failure_and_none_a_success() {
    let (recorded, _guard) = Recorded::from(Level::INFO);
    let spy = spied().await;
    let (script, _heard) = by_order();
    let worker = Running::new(quick(builder(spy.clone(), script)));
    for order in ["fine", "fine", "fail once", "permanent", "discard", "panic", "hang"] {
        put_job(&spy, &job(order)).await;
        drained(&spy, WORK).await;
    }
    worker.stop().await;
    let expected = [
        "job_retried",   // fail once
        "job_poisoned",  // permanent
        "job_discarded", // discard
        "job_retried",   // panic, twice
        "job_poisoned",
        "job_retried", // hang, twice
        "job_poisoned",
    ];
    assert_eq!(lines(&recorded), expected);
    let levels: Vec<_> = recorded.of("job_poisoned").iter().map(|told| told.level).collect();
    assert_eq!(levels, [Level::ERROR; 3]);
    assert!(recorded.of("job_poisoned")[0].field("message").contains("replay it"));
    assert!(recorded.of("job_retried").iter().all(|told| told.level == Level::WARN));
    recorded.check();
}

#[tokio::test(start_paused = true)]
async fn at_debug_there_is_one_line_a_job() {
    let (recorded, _guard) = Recorded::from(Level::DEBUG);
    let spy = spied().await;
    let (script, _heard) = obedient();
    let worker = Running::new(quick(builder(spy.clone(), script)));
    put_jobs(&spy, ["a", "b", "c"]).await;
    drained(&spy, WORK).await;
    worker.stop().await;
    assert_eq!(lines(&recorded), ["job_done"; 3]);
    let done = &recorded.of("job_done")[0];
    assert_eq!((done.field("queue"), done.field("job")), (WORK, "act"));
    assert_eq!((done.field("attempt"), done.field("duration")), ("1", "0ns"));
    recorded.check();
}

#[tokio::test(start_paused = true)]
async fn spans_say_what_became_of_what() {
    let (recorded, _guard) = Recorded::from(Level::DEBUG);
    let spy = spied().await;
    let (script, mut heard) = told(|order, _| async move {
        sleep(SECOND).await;
        if order == "bad" { Err("no luck".into()) } else { Ok(()) }
    });
    let client = Client::new(spy.clone());
    let builder = job_core::Worker::builder(&client).data_arc(script);
    let worker = Running::new(quick(builder));
    let id = client.enqueue(Act { order: "good".to_owned() }).await.unwrap();
    heard.next().await;
    drained(&spy, WORK).await;
    client.enqueue_all(["bad", "good"].map(|it| Act { order: it.into() })).await.unwrap();
    drained(&spy, WORK).await;
    let refused = client.enqueue(Act { order: "x".repeat(100_000) }).await;
    assert!(refused.is_err());
    worker.stop().await;
    recorded.check();

    let id = id.to_string();
    let enqueues = recorded.spans("job.enqueue");
    let first = &enqueues[0];
    for (field, value) in [
        ("job.name", "act"),
        ("job.id", &*id),
        ("messaging.destination.name", WORK),
        ("messaging.system", "spy"),
        ("messaging.operation.type", "send"),
        ("job.outcome", "enqueued"),
        ("job.duration_ms", "0"),
        ("otel.kind", "producer"),
        ("otel.name", "enqueue work"),
    ] {
        assert_eq!(first.field(field), value, "{field}");
    }
    assert_eq!(enqueues[1].field("messaging.batch.message_count"), "2");
    assert_eq!(enqueues[2].field("job.outcome"), "rejected");
    assert_eq!(enqueues[2].field("error.type"), "too_large");

    let runs = recorded.spans("job.run");
    for (field, value) in [
        ("job.name", "act"),
        ("job.id", &*id),
        ("job.attempt", "1"),
        ("messaging.destination.name", WORK),
        ("messaging.system", "spy"),
        ("messaging.operation.type", "process"),
        ("job.outcome", "done"),
        ("job.duration_ms", "1000"),
        ("otel.kind", "consumer"),
        ("otel.name", "run work"),
    ] {
        assert_eq!(runs[0].field(field), value, "{field}");
    }
    let bad: Vec<_> = runs.iter().filter(|run| run.field("job.outcome") == "retry").collect();
    assert_eq!(bad.len(), 2);
    assert_eq!((bad[0].field("error.type"), bad[0].field("error.message")), ("error", "no luck"));
    assert_eq!(bad[1].field("job.attempt"), "2");

    let receives = recorded.spans("job.receive");
    assert!(receives.iter().any(|it| it.field("job.outcome") == "empty"));
    let brought = receives.iter().find(|it| it.field("job.outcome") == "received").unwrap();
    assert_eq!(brought.field("messaging.batch.message_count"), "1");

    let settles = recorded.spans("job.settle");
    let outcomes: Vec<_> = settles.iter().map(|it| it.field("job.outcome")).collect();
    assert!(outcomes.contains(&"completed") && outcomes.contains(&"retried"), "{outcomes:?}");
    let poisoned = settles.iter().find(|it| it.field("job.outcome") == "poisoned").unwrap();
    assert_eq!((poisoned.field("job.name"), poisoned.field("job.attempt")), ("act", "2"));
}

/// Whoever reads one of these wants to know which job may run twice.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_settled_says_which_job_it_is() {
    let (recorded, _guard) = Recorded::from(Level::INFO);
    let spy = spied().await;
    let (script, mut heard) = by_order();
    let worker = Running::new(quick(builder(spy.clone(), script)));
    for (order, op, kind, line) in [
        ("fine", Op::Delete, ErrorKind::Other, "settle_failed"),
        ("fine", Op::Delete, ErrorKind::Unauthorized, "settle_denied"),
        ("permanent", Op::Replace, ErrorKind::LeaseLost, "settle_too_late"),
        ("fail once", Op::Replace, ErrorKind::Unavailable, "settle_timed_out"),
        ("fail once", Op::Replace, ErrorKind::TooLarge, "history_lost"),
        ("hang", Op::Renew, ErrorKind::LeaseLost, "lease_lost"),
    ] {
        spy.rule(move |request| match request.op {
            own if own == op => Fate::Refuse(kind),
            _ => Fate::Pass,
        });
        let envelope = job(order);
        let message_id = put_job(&spy, &envelope).await.to_string();
        heard.next().await;
        reached(|| async { !recorded.of(line).is_empty() }).await;
        let told = &recorded.of(line)[0];
        assert_eq!(told.field("id"), envelope["id"].as_str().unwrap(), "{told:?}");
        assert_eq!((told.field("job"), told.field("message_id")), ("act", &*message_id));
        spy.heal();
        drained(&spy, WORK).await;
        while heard.try_next().is_some() {}
    }
    worker.stop().await;
    recorded.check();
}

/// It is found out when the receipt is to be taken, before any request is made with it.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_before_settling_is_told_once() {
    let (recorded, _guard) = Recorded::from(Level::INFO);
    let spy = spied().await;
    let go_on = Arc::new(Notify::new());
    let open = Arc::clone(&go_on);
    let (script, mut heard) = told(move |order, _| {
        let go_on = Arc::clone(&go_on);
        async move {
            go_on.notified().await;
            if order == "fine" { Ok(()) } else { Err("no luck".into()) }
        }
    });
    // Whenever it is renewed, the job has not timed out.
    let queue = Queue::new(WORK).timeout(MINUTE).lease(30 * SECOND);
    let worker = Running::new(builder(spy.clone(), script).queue(queue));
    for (nth, (order, step)) in
        [("fine", "deleting a finished job"), ("fails", "putting a job off")]
            .into_iter()
            .enumerate()
    {
        spy.rule(|request| match request.op {
            Op::Renew => Fate::Late(5 * SECOND),
            _ => Fate::Pass,
        });
        let envelope = job(order);
        let message_id = put_job(&spy, &envelope).await.to_string();
        heard.next().await;
        let renewals = spy.count(Op::Renew);
        reached(|| async { spy.count(Op::Renew) > renewals }).await;
        // The job ends while its lease is being renewed, which comes to nothing.
        spy.inner.purge(&name(WORK)).await.unwrap();
        open.notify_one();
        reached(|| async { recorded.of("lease_ended").len() > nth }).await;
        let told = &recorded.of("lease_ended")[nth];
        assert_eq!(told.field("id"), envelope["id"].as_str().unwrap(), "{told:?}");
        assert_eq!((told.field("job"), told.field("message_id")), ("act", &*message_id));
        assert_eq!((told.level, told.field("step")), (Level::WARN, step));
    }
    let report = worker.stop().await;
    assert_eq!((report.lease_lost(), recorded.of("lease_ended").len()), (2, 2), "{report}");
    for other in ["lease_lost", "settle_too_late"] {
        assert!(recorded.of(other).is_empty(), "{other}");
    }
    recorded.check();
}

/// The first failure in a row is for people; the others are for those who look closer.
#[tokio::test(start_paused = true)]
async fn figures_that_cannot_be_had_are_told_once() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let _counts = metrics::set_default_local_recorder(&recorder);
    let (recorded, _guard) = Recorded::from(Level::DEBUG);
    let spy = spied().await;
    let (script, _heard) = obedient();
    let worker = Running::new(quick(builder(spy.clone(), script)).sample_every(SECOND));
    for queues in [&[WORK, "work-poison"][..], &["work-poison"]] {
        spy.rule(move |request| match request.op {
            Op::Stats if queues.contains(&request.queue.as_str()) => {
                Fate::Refuse(ErrorKind::Unauthorized)
            }
            _ => Fate::Pass,
        });
        sleep(10 * SECOND).await;
        spy.heal();
        sleep(10 * SECOND).await;
    }
    worker.stop().await;
    let first = recorded.of("sample_failed");
    assert_eq!(first.iter().map(|told| told.level).collect::<Vec<_>>(), [Level::WARN; 2]);
    assert!(first[0].field("error").contains("access denied"), "{first:?}");
    // It is named which of them cannot be looked at.
    let queues: Vec<_> = first.iter().map(|told| told.field("queue")).collect();
    assert_eq!(queues, [WORK, "work-poison"]);
    let others = recorded.of("sample_failed_again");
    assert!(others.len() >= 6 && others[0].level == Level::DEBUG, "{others:?}");
    recorded.check();
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_logs_is_in_the_span_of_its_run() {
    let (recorded, _guard) = Recorded::from(Level::INFO);
    let spy = spied().await;
    let (script, _heard) = told(|_, _| async {
        sleep(SECOND).await;
        tracing::info!(target: "job_core::worker", "said by the handler");
        Err(JobError::permanent("logged after the run"))
    });
    let worker = Running::new(quick(builder(spy.clone(), script)));
    put_jobs(&spy, ["a"]).await;
    drained(&spy, WORK).await;
    worker.stop().await;
    assert_eq!(recorded.spans("job.run").len(), 1);
    assert!(recorded.spans("job.receive").is_empty(), "it is for `debug`");
    let events = recorded.events();
    let said = events.iter().find(|told| told.field("message") == "said by the handler").unwrap();
    assert_eq!(said.within, ["job.run"]);
    assert!(recorded.of("job_poisoned")[0].within.is_empty(), "the run is over by then");
}

/// Whatever can happen to a job, a lease or a request is told as the table has it.
#[tokio::test(start_paused = true)]
async fn everything_that_is_told_is_in_the_table() {
    let (recorded, _guard) = Recorded::from(Level::TRACE);
    let spy = spied().await;
    let (script, _heard) = by_order();
    for order in ["fine", "fail once", "permanent", "discard", "panic", "hang"] {
        put_job(&spy, &job(order)).await;
    }
    put_job(&spy, &with(job("x"), "name", json!("unknown"))).await;
    put_job(&spy, &with(job("x"), "args", json!({ "order": 5_318_008 }))).await;
    put_job(&spy, &job("kept to itself")).await;
    put_job(&spy, &with(job("x"), "delay_left_ms", json!(1000))).await;
    put_job(&spy, &with(job("x"), "options", json!({ "expires_in_ms": 0 }))).await;
    put(&spy, WORK, "no job, but kept to itself").await;
    let mut received = 0;
    spy.rule(move |request| match request.op {
        Op::Receive => {
            received += 1;
            match received {
                1 => Fate::Refuse(ErrorKind::Throttled),
                2 => Fate::Refuse(ErrorKind::Unavailable),
                3 => Fate::Refuse(ErrorKind::QueueNotFound),
                _ => Fate::Pass,
            }
        }
        Op::Renew if request.nth == 0 => Fate::Refuse(ErrorKind::Unavailable),
        Op::Renew if request.nth == 3 => Fate::Refuse(ErrorKind::LeaseLost),
        Op::Delete if request.nth == 0 => Fate::Refuse(ErrorKind::Unauthorized),
        Op::Replace if request.nth == 0 => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let limit = Duration::from_secs(3600);
    let worker = Running::new(quick(builder(spy.clone(), script)).put_back_limit(limit));
    reached(|| async { total(&spy, WORK).await == 0 }).await;
    put_job(&spy, &job("hang")).await;
    reached(|| async { visible(&spy, WORK).await == 0 }).await;
    worker.handle.shutdown_now();
    worker.report().await;
    recorded.check();
    let all = format!("{recorded:?}");
    for args in ["kept to itself", "5318008"] {
        assert!(all.contains("job_done") && !all.contains(args), "{args} is in {all}");
    }

    let told: std::collections::BTreeSet<_> =
        recorded.events().into_iter().map(|told| told.name).collect();
    for name in [
        "job_done",
        "job_retried",
        "job_poisoned",
        "job_discarded",
        "job_given_back",
        "job_expired",
        "job_not_due",
        "job_put_back",
        "message_poisoned",
        "args_put_back",
        "args_poisoned",
        "receive_throttled",
        "receive_failed",
        "receive_refused",
        "settle_denied",
        "settle_failed",
        "queue_served",
        "worker_stopping",
        "worker_stopped",
    ] {
        assert!(told.contains(name), "{name} is missing in {told:?}");
    }
}
