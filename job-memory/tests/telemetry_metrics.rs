//! Metrics: what is counted, by which labels.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::*;
use job_core::backend::ErrorKind;
use job_core::telemetry::names::{METRICS, MetricKind};
use job_core::{Backoff, Client, JobError, Queue, Worker};
use metrics::set_default_local_recorder;
use metrics_util::MetricKind as Kind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde_json::json;
use tokio::time::sleep;

/// All values by name and labels, such as `job_completed_total{queue=work,job=act}`. Counters and
/// gauges are their value, histograms the number of their samples. Taking them sets all to zero.
#[derive(Debug)]
struct Counted {
    values: BTreeMap<String, f64>,
    samples: BTreeMap<String, Vec<f64>>,
}

impl Counted {
    /// Takes them; every one of them must be as the table has it.
    fn take(snapshotter: &Snapshotter) -> Self {
        let (mut values, mut all) = (BTreeMap::new(), BTreeMap::new());
        for (key, _, description, value) in snapshotter.snapshot().into_vec() {
            let (kind, key) = key.into_parts();
            let listed = METRICS.iter().find(|metric| metric.name == key.name());
            let listed = listed.unwrap_or_else(|| panic!("{} is not listed", key.name()));
            let expected = match listed.kind {
                MetricKind::Counter => Kind::Counter,
                MetricKind::Gauge => Kind::Gauge,
                _ => Kind::Histogram,
            };
            assert_eq!(kind, expected, "{}", key.name());
            let labels: Vec<_> = key.labels().map(|label| label.key()).collect();
            assert_eq!(labels, listed.labels, "{}", key.name());
            assert_eq!(description.as_deref(), Some(listed.description));
            let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
            let name = format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","));
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.0,
                DebugValue::Histogram(samples) => {
                    let mut samples: Vec<_> = samples.iter().map(|sample| sample.0).collect();
                    samples.sort_by(f64::total_cmp);
                    let count = samples.len() as f64;
                    all.insert(name.clone(), samples);
                    count
                }
            };
            values.insert(name, value);
        }
        Self { values, samples: all }
    }

    #[track_caller]
    fn is(&self, name: &str, value: f64) {
        assert_eq!(self.values.get(name), Some(&value), "{name}: {:#?}", self.values);
    }

    /// The samples of a histogram, in seconds, from the smallest on.
    #[track_caller]
    fn took(&self, name: &str, seconds: &[f64]) {
        let samples = self.samples.get(name).unwrap_or_else(|| panic!("no {name}"));
        let near = |(sample, seconds): (&f64, &f64)| (sample - seconds).abs() < 0.1;
        let equal = samples.len() == seconds.len() && samples.iter().zip(seconds).all(near);
        assert!(equal, "{name}: {samples:?}");
    }

    /// The names of what has any value but zero.
    fn names(&self) -> BTreeSet<&str> {
        let counted = self.values.iter().filter(|(_, value)| **value != 0.0);
        counted.map(|(name, _)| name.split('{').next().unwrap()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_counted_once() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);

    let spy = spied().await;
    let snoozed = Arc::new(AtomicBool::new(false));
    let (script, mut heard) = told(move |order, cx| {
        let snoozed = Arc::clone(&snoozed);
        async move {
            sleep(SECOND).await;
            match &*order {
                "twice" if cx.attempt() == 1 => Err("not yet".into()),
                "never" => Err(JobError::permanent("no")),
                "discard" => Err(JobError::discard("not needed")),
                "snooze" if !snoozed.swap(true, Relaxed) => Err(JobError::snooze(SECOND)),
                "long" => {
                    sleep(MINUTE).await;
                    Ok(())
                }
                "hang" => std::future::pending().await,
                _ => Ok(()),
            }
        }
    });
    let client = Client::new(spy.clone());
    let queue = Queue::new(WORK).backoff(Backoff::fixed(SECOND)).concurrency(4);
    let queue = queue.lease(30 * SECOND);
    let worker = Worker::builder(&client).data_arc(script).queue(queue).sample_every(SECOND);
    let worker = Running::new(worker);
    for order in ["fine", "twice", "never", "discard", "long"] {
        client.enqueue(Act { order: order.to_owned() }).await.unwrap();
    }
    client.enqueue(Act { order: "fine".into() }).delay(MINUTE).await.unwrap();
    assert!(client.enqueue(Act { order: "x".repeat(100_000) }).await.is_err());
    put_job(&spy, &with(job("x"), "delay_left_ms", json!(1000))).await;
    put_job(&spy, &with(job("x"), "options", json!({ "expires_in_ms": 0 }))).await;
    put(&spy, WORK, "no job").await;
    drained(&spy, WORK).await;

    spy.rule(|request| match request.op {
        Op::Replace => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    client.enqueue(Act { order: "twice".to_owned() }).await.unwrap();
    sleep(3 * SECOND).await;
    spy.heal();
    client.enqueue(Act { order: "hang".to_owned() }).await.unwrap();
    sleep(3 * SECOND).await;
    let busy = Counted::take(&snapshotter);
    busy.is("job_slots{queue=work}", 4.0);
    busy.is("job_slots_used{queue=work}", 1.0);
    busy.is("job_in_flight{queue=work}", 1.0);
    busy.is("job_backlog{queue=work}", 0.0);
    busy.is("job_poison_depth{queue=work}", 2.0);
    busy.is("job_enqueued_total{queue=work,job=act}", 8.0);
    busy.is("job_completed_total{queue=work,job=act}", 5.0);
    busy.is("job_failed_total{queue=work,job=act}", 3.0);
    busy.is("job_retried_total{queue=work,job=act}", 2.0);
    busy.is("job_poisoned_total{queue=work,job=act,reason=permanent}", 1.0);
    busy.is("job_poisoned_total{queue=work,job=unknown,reason=undecodable}", 1.0);
    busy.is("job_discarded_total{queue=work,job=act}", 1.0);
    busy.is("job_expired_total{queue=work,job=act}", 1.0);
    busy.is("job_deferred_total{queue=work,job=act,reason=not_due}", 1.0);
    busy.is("job_settle_failures_total{queue=work}", 1.0);
    busy.took(
        "job_run_duration_seconds{queue=work,job=act,outcome=done}",
        &[1.0, 1.0, 1.0, 1.0, 61.0],
    );
    busy.took("job_run_duration_seconds{queue=work,job=act,outcome=failed}", &[1.0; 3]);
    busy.is("job_enqueue_failed_total{queue=work,job=act}", 1.0);
    busy.is("job_backend_requests_total{operation=replace,result=other}", 1.0);
    // The lease of the one that hangs is lost, and a receive is never answered.
    let mut hung = false;
    spy.rule(move |request| match request.op {
        Op::Renew => Fate::Refuse(ErrorKind::LeaseLost),
        Op::Receive if !std::mem::replace(&mut hung, true) => Fate::Hang,
        _ => Fate::Pass,
    });
    sleep(20 * SECOND).await;
    spy.heal();
    client.enqueue(Act { order: "snooze".to_owned() }).await.unwrap();
    while heard.next().await.order != "hang" {}
    while heard.next().await.order != "hang" {}
    sleep(20 * SECOND).await;
    worker.handle.shutdown_now();
    worker.report().await;
    let end = Counted::take(&snapshotter);
    end.is("job_slots_used{queue=work}", 0.0);
    end.is("job_in_flight{queue=work}", 0.0);
    end.is("job_given_back_total{queue=work,job=act}", 1.0);
    end.is("job_leases_lost_total{queue=work}", 1.0);
    end.is("job_lease_renewals_total{queue=work,result=lease_lost}", 1.0);
    end.is("job_snoozed_total{queue=work,job=act}", 1.0);
    end.is("job_backend_requests_total{operation=receive,result=cancelled}", 1.0);
    let counted: BTreeSet<_> = busy.names().union(&end.names()).copied().collect();
    let names = METRICS.iter().map(|metric| metric.name);
    let missing: Vec<_> = names.filter(|name| !counted.contains(name)).collect();
    let elsewhere = [
        // Below.
        "job_crashed_total",
        "job_backlog",
        // In telemetry_http.rs.
        "job_runtime_stalls_total",
        // In the supervisor's own tests.
        "job_processes_started_total",
        "job_processes_died_total",
        "job_processes_recycled_total",
        "job_processes_killed_total",
    ];
    assert_eq!(missing, elsewhere);
}

/// It comes again and again, after waits of any length, so it is in no other test's figures.
#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_knows_is_counted_as_put_back() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let backend = memory().await;
    put_job(&backend, &with(job("x"), "name", json!("unknown"))).await;
    let worker = Running::new(builder(backend, told(|_, _| async { Ok(()) }).0));
    sleep(SECOND).await;
    worker.stop().await;
    let end = Counted::take(&snapshotter);
    end.is("job_deferred_total{queue=work,job=unknown,reason=unknown}", 1.0);
}

/// What a worker holds it shows without asking the backend, which it does but rarely.
#[tokio::test(start_paused = true)]
async fn what_is_held_is_shown_soon() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let spy = spied().await;
    spy.rule(|request| match request.op {
        Op::Stats => Fate::Hang,
        _ => Fate::Pass,
    });
    let (script, mut heard) = told(|_, _| std::future::pending());
    let worker = Running::new(builder(spy.clone(), script).sample_every(HOUR));
    sleep(SECOND).await;
    put_jobs(&spy, ["a", "b"]).await;
    heard.take(2).await;
    sleep(3 * SECOND).await;
    let busy = Counted::take(&snapshotter);
    busy.is("job_in_flight{queue=work}", 2.0);
    busy.is("job_slots_used{queue=work}", 2.0);
    worker.handle.shutdown_now();
    worker.report().await;
}

/// What a worker leaves behind at its end is nobody's any more.
#[tokio::test(start_paused = true)]
async fn a_worker_that_has_ended_holds_nothing() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let spy = spied().await;
    spy.rule(|request| match request.op {
        Op::Replace => Fate::Hang,
        _ => Fate::Pass,
    });
    let (script, _heard) = told(|_, _| async { Err("no luck".into()) });
    let worker = Running::new(builder(spy.clone(), script).sample_every(SECOND));
    put_jobs(&spy, ["a"]).await;
    reached(|| async { spy.count(Op::Replace) > 0 }).await;
    sleep(3 * SECOND).await;
    Counted::take(&snapshotter).is("job_slots_used{queue=work}", 1.0);
    worker.handle.shutdown_now();
    worker.report().await;
    let end = Counted::take(&snapshotter);
    end.is("job_slots_used{queue=work}", 0.0);
    end.is("job_in_flight{queue=work}", 0.0);
}

/// How long the first start had to wait, and whatever comes late of a backlog.
#[tokio::test(start_paused = true)]
async fn waits_are_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let backend = memory().await;
    let (script, mut heard) = told(|_, _| async {
        sleep(10 * SECOND).await;
        Ok(())
    });
    let queue = Queue::new(WORK).concurrency(1);
    let worker = Running::new(builder(backend.clone(), script).queue(queue).sample_every(SECOND));
    put_jobs(&backend, ["a", "b", "c"]).await;
    heard.next().await;
    sleep(5 * SECOND).await;
    let busy = Counted::take(&snapshotter);
    busy.is("job_backlog{queue=work}", 2.0);
    heard.take(2).await;
    drained(&backend, WORK).await;
    worker.stop().await;
    let mut waits = busy.samples["job_start_latency_seconds{queue=work,job=act}"].clone();
    let end = Counted::take(&snapshotter);
    waits.extend(&end.samples["job_start_latency_seconds{queue=work,job=act}"]);
    let seconds: Vec<_> = waits.iter().map(|wait| wait.round()).collect();
    assert_eq!(seconds, [0.0, 10.0, 20.0]);
}

/// Whatever was refused before anything was sent is not on the queue either.
#[tokio::test(start_paused = true)]
async fn enqueues_that_are_refused_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let client = Client::new(memory().await);
    let act = |order: &str| Act { order: order.to_owned() };
    client.enqueue(act(&"x".repeat(100_000))).await.unwrap_err();
    client.enqueue(act("x")).max_attempts(0).await.unwrap_err();
    client.enqueue(act("x")).queue("No Queue").await.unwrap_err();
    client.enqueue_all([act("x"), act("y")]).expires_in(SECOND).delay(MINUTE).await.unwrap_err();
    client.enqueue_all([act("x"), act("y")]).queue("No Queue").await.unwrap_err();
    let counted = Counted::take(&snapshotter);
    counted.is("job_enqueue_failed_total{queue=work,job=act}", 4.0);
    counted.is("job_enqueue_failed_total{queue=unknown,job=act}", 3.0);
}

/// Received while the worker was asked to stop: its job is known all the same.
#[tokio::test(start_paused = true)]
async fn what_is_given_back_at_once_has_a_name() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let spy = spied().await;
    spy.rule(|request| match request.op {
        Op::Receive => Fate::Slow(5 * SECOND),
        _ => Fate::Pass,
    });
    put_jobs(&spy, ["late"]).await;
    let (script, _heard) = obedient();
    let worker = start(spy.clone(), script);
    reached(|| async { spy.count(Op::Receive) > 0 }).await;
    worker.stop().await;
    let counted = Counted::take(&snapshotter);
    counted.is("job_deferred_total{queue=work,job=act,reason=stopping}", 1.0);
}

/// A start that was announced and never reported: its worker went away.
#[tokio::test(start_paused = true)]
async fn a_crash_is_counted_when_it_is_found_out() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let backend = memory().await;
    put_jobs(&backend, ["deadly"]).await;
    for _ in 0..2 {
        let (script, mut heard) = told(|_, _| std::future::pending());
        let worker = start(backend.clone(), script);
        heard.next().await;
        worker.kill().await;
    }
    let (script, mut heard) = obedient();
    let worker = start(backend.clone(), script);
    heard.next().await;
    worker.stop().await;
    // The first time nobody had announced it.
    Counted::take(&snapshotter).is("job_crashed_total{queue=work}", 1.0);
}

/// The stop comes when the new mark is written, and with it the crash, but nothing started yet.
#[tokio::test(start_paused = true)]
async fn a_crash_that_is_found_during_a_shutdown_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let spy = spied().await;
    put_jobs(&spy, ["deadly"]).await;
    for _ in 0..2 {
        let (script, mut heard) = told(|_, _| std::future::pending());
        let worker = start(spy.clone(), script);
        heard.next().await;
        worker.kill().await;
    }
    spy.rule(|request| match request.op {
        Op::Replace => Fate::Slow(SECOND),
        _ => Fate::Pass,
    });
    let marks = spy.count(Op::Replace);
    let (script, mut heard) = obedient();
    let worker = start(spy.clone(), Arc::clone(&script));
    reached(|| async { spy.count(Op::Replace) > marks }).await;
    let report = worker.stop().await;
    heard.nothing();
    assert_eq!(report.given_back(), 1, "{report}");
    let stopped = Counted::take(&snapshotter);
    stopped.is("job_crashed_total{queue=work}", 1.0);
    stopped.is("job_deferred_total{queue=work,job=act,reason=stopping}", 1.0);

    let worker = start(spy.clone(), script);
    heard.next().await;
    drained(&spy, WORK).await;
    worker.stop().await;
    Counted::take(&snapshotter).is("job_crashed_total{queue=work}", 0.0);
}

/// It may be found several times until it is on record.
#[tokio::test(start_paused = true)]
async fn a_crash_that_cannot_be_written_down_is_counted_once() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let spy = spied().await;
    put_jobs(&spy, ["deadly"]).await;
    for _ in 0..2 {
        let (script, mut heard) = told(|_, _| std::future::pending());
        let worker = start(spy.clone(), script);
        heard.next().await;
        worker.kill().await;
    }
    let mut refused = false;
    spy.rule(move |request| match request.op {
        Op::Replace if !std::mem::replace(&mut refused, true) => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let (script, mut heard) = obedient();
    let worker = start(spy.clone(), script);
    heard.next().await;
    drained(&spy, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.received(), report.completed()), (2, 1), "{report}");
    Counted::take(&snapshotter).is("job_crashed_total{queue=work}", 1.0);
}

/// The mark of a start that ended well may be there still, where nobody could write so.
#[tokio::test(start_paused = true)]
async fn a_start_that_was_survived_is_no_crash() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    let spy = spied().await;
    put_jobs(&spy, ["fails"]).await;
    steal(&spy, WORK, SECOND).await;
    spy.rule(|request| match (request.op, request.nth) {
        // The first one marks the start.
        (Op::Replace, 1) => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let (script, mut heard) = told(|_, cx| async move {
        let first = cx.attempt() == 1;
        sleep(SECOND).await;
        if first { Err("no luck".into()) } else { Ok(()) }
    });
    let worker = start(spy.clone(), script);
    assert_eq!(heard.take(3).await.len(), 3);
    drained(&spy, WORK).await;
    worker.stop().await;
    assert!(spy.requests(Op::Replace).len() > 2, "the start was not marked");
    Counted::take(&snapshotter).is("job_crashed_total{queue=work}", 0.0);
}
