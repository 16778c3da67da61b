//! Metrics: what is counted, by which labels.

mod common;

use std::collections::{BTreeMap, BTreeSet};

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
/// gauges are their value, histograms the number of their samples.
#[derive(Debug)]
struct Counted(BTreeMap<String, f64>);

impl Counted {
    /// Takes them; every one of them must be as the table has it.
    fn take(snapshotter: &Snapshotter) -> Self {
        let mut values = BTreeMap::new();
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
                DebugValue::Histogram(samples) => samples.len() as f64,
            };
            values.insert(name, value);
        }
        Self(values)
    }

    #[track_caller]
    fn is(&self, name: &str, value: f64) {
        assert_eq!(self.0.get(name), Some(&value), "{name}: {:#?}", self.0);
    }

    fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|name| name.split('{').next().unwrap()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_counted_once() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);

    let spy = spied().await;
    let (script, _heard) = told(|order, cx| async move {
        sleep(SECOND).await;
        match &*order {
            "twice" if cx.attempt() == 1 => Err("not yet".into()),
            "never" => Err(JobError::permanent("no")),
            "discard" => Err(JobError::discard("not needed")),
            "long" => {
                sleep(MINUTE).await;
                Ok(())
            }
            "hang" => std::future::pending().await,
            _ => Ok(()),
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
    put_job(&spy, &with(job("x"), "name", json!("unknown"))).await;
    put_job(&spy, &with(job("x"), "delay_left_ms", json!(1000))).await;
    put_job(&spy, &with(job("x"), "options", json!({ "expires_in_ms": 0 }))).await;
    put(&spy, WORK, "no job").await;
    reached(|| async { total(&spy, WORK).await == 1 }).await;

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
    busy.is("job_run_duration_seconds{queue=work,job=act,outcome=done}", 5.0);
    busy.is("job_backend_requests_total{operation=replace,result=other}", 1.0);
    worker.handle.shutdown_now();
    worker.report().await;
    let end = Counted::take(&snapshotter);
    end.is("job_slots_used{queue=work}", 0.0);
    end.is("job_given_back_total{queue=work,job=act}", 1.0);
    let names = METRICS.iter().map(|metric| metric.name);
    let missing: Vec<_> = names.filter(|name| !end.names().contains(name)).collect();
    let elsewhere = [
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
