//! Health, metrics and scaling figures, asked for as a probe would: by HTTP, on the real clock.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use common::*;
use job_core::backend::ErrorKind;
use job_core::middleware::{Call, JobFuture, JobService};
use job_core::{BoxError, Outcome, Queue, WorkerBuilder, WorkerError};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::sleep;
use tower::{Layer, Service};

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path}")).await
}

/// Asks until the answer has that status.
async fn until(address: SocketAddr, path: &str, status: u16) -> String {
    for _ in 0..6000 {
        let (is, body) = get(address, path).await;
        if is == status {
            return body;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never answered {status}, but {:?}", get(address, path).await);
}

/// Asks until somebody knows how much there is to do, and that is so.
async fn scaled(address: SocketAddr, so: impl Fn(&Value) -> bool) -> Value {
    let mut scale = Value::Null;
    for _ in 0..6000 {
        scale = serde_json::from_str(&until(address, "/scale", 200).await).unwrap();
        if so(&scale) {
            return scale;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it never was so: {scale}");
}

/// Asks until the worker is not ready, for a reason that begins so.
async fn until_said(address: SocketAddr, begin: &str) -> String {
    for _ in 0..6000 {
        let (_, body) = get(address, "/readyz").await;
        if body.starts_with(begin) {
            return body;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{begin} was never said, but {:?}", get(address, "/readyz").await);
}

/// Asks until the metrics have that line.
async fn until_shown(address: SocketAddr, line: &str) {
    let mut body = String::new();
    for _ in 0..6000 {
        body = get(address, "/metrics").await.1;
        if body.lines().any(|it| it == line) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{line} was never shown in\n{body}");
}

fn watched(spy: &Spy, script: Arc<Script>) -> WorkerBuilder {
    let queue = Queue::new(WORK).min_poll(5 * MILLI).max_poll(20 * MILLI).concurrency(2);
    builder(spy.clone(), script).queue(queue).http(LOOPBACK).sample_every(50 * MILLI)
}

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_worker_is_ready_while_it_can_receive() {
    let spy = spied().await;
    let gate = Arc::new(Notify::new());
    let open = Arc::clone(&gate);
    spy.rule(|request| match request.op {
        Op::Create => Fate::Refuse(ErrorKind::Unavailable),
        _ => Fate::Pass,
    });
    let (script, mut heard) = told(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(())
        }
    });
    let worker = Running::new(watched(&spy, script));
    let address = worker.handle.http_address().await;
    assert!(address.ip().is_loopback());

    // It cannot make its queues, but it lives.
    let body = until(address, "/readyz", 503).await;
    assert_eq!(body, "the worker looks for its queues\n");
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/scale").await.0, 503);
    spy.heal();
    assert_eq!(until(address, "/readyz", 200).await, "ok\n");

    // The backend fails, and recovers.
    spy.rule(|request| match request.op {
        Op::Receive => Fate::Refuse(ErrorKind::Unavailable),
        _ => Fate::Pass,
    });
    let body = until(address, "/readyz", 503).await;
    assert!(body.starts_with("work: receiving has failed "), "{body}");
    assert!(body.contains("the service is unavailable"), "{body}");
    assert_eq!(get(address, "/livez").await.0, 200, "a restart cures nothing");
    spy.heal();
    until(address, "/readyz", 200).await;

    // A shutdown that waits for its jobs.
    put_jobs(&spy, ["a"]).await;
    heard.next().await;
    worker.handle.shutdown();
    assert_eq!(until(address, "/readyz", 503).await, "the worker is stopping\n");
    assert_eq!(get(address, "/livez").await.0, 200);
    open.notify_one();
    assert_eq!(worker.report().await.completed(), 1);
    assert!(TcpStream::connect(address).await.is_err(), "it has ended before the worker");
}

/// Nothing is wrong with a queue that waits for the jobs of another one.
#[tokio::test]
async fn a_queue_that_waits_for_a_permit_is_ready() {
    let spy = spied().await;
    create(&spy.inner, "more").await;
    let gate = Arc::new(Notify::new());
    let open = Arc::clone(&gate);
    let (script, mut heard) = told(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(())
        }
    });
    // Its last word before that was a failure.
    spy.rule(|request| match request.op {
        Op::Receive if request.queue.as_str() == "more" => Fate::Refuse(ErrorKind::Unavailable),
        _ => Fate::Pass,
    });
    let more = Queue::new("more").min_poll(5 * MILLI).max_poll(20 * MILLI);
    let worker = Running::new(watched(&spy, script).queue(more).concurrency(1));
    let address = worker.handle.http_address().await;
    let body = until_said(address, "more: ").await;
    assert!(body.starts_with("more: receiving has failed "), "{body}");
    put_jobs(&spy, ["holds the permit"]).await;
    heard.next().await;
    assert_eq!(until(address, "/readyz", 200).await, "ok\n");
    open.notify_one();
    until_said(address, "more: ").await;
    spy.heal();
    until(address, "/readyz", 200).await;
    worker.stop().await;
}

/// A layer that is as the test says, and keeps each state until the next.
#[derive(Clone, Default)]
struct Gate {
    is: Arc<Mutex<Is>>,
    /// Somebody waits for it.
    waits: Arc<Notify>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Is {
    #[default]
    Open,
    Broken,
    Shut,
}

impl Gate {
    fn set(&self, is: Is) {
        *self.is.lock().unwrap() = is;
    }
}

impl Layer<JobService> for Gate {
    type Service = Gated;

    fn layer(&self, inner: JobService) -> Gated {
        Gated { gate: self.clone(), inner }
    }
}

#[derive(Clone)]
struct Gated {
    gate: Gate,
    inner: JobService,
}

impl Service<Call> for Gated {
    type Response = Outcome;
    type Error = BoxError;
    type Future = JobFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match *self.gate.is.lock().unwrap() {
            Is::Open => self.inner.poll_ready(cx),
            Is::Broken => Poll::Ready(Err("it is broken".into())),
            Is::Shut => {
                self.gate.waits.notify_one();
                Poll::Pending
            }
        }
    }

    fn call(&mut self, call: Call) -> JobFuture {
        self.inner.call(call)
    }
}

/// Where the service failed and nobody can ask it again, nothing is known to be well.
#[tokio::test]
async fn a_queue_that_waits_for_a_layer_after_a_failure_is_not_ready() {
    let spy = spied().await;
    let (script, _heard) = obedient();
    spy.rule(|request| match request.op {
        Op::Receive => Fate::Refuse(ErrorKind::Unavailable),
        _ => Fate::Pass,
    });
    let gate = Gate::default();
    let worker = Running::new(watched(&spy, script).layer(gate.clone()));
    let address = worker.handle.http_address().await;
    until_said(address, "work: receiving has failed ").await;
    gate.set(Is::Shut);
    gate.waits.notified().await;
    let (status, body) = get(address, "/readyz").await;
    assert!(status == 503 && body.contains("the service is unavailable"), "{status} {body}");
    worker.stop().await;
}

/// That a layer failed is over once it is ready, although nothing can be received yet.
#[tokio::test]
async fn a_queue_whose_layer_has_recovered_may_wait_for_a_permit() {
    let spy = spied().await;
    create(&spy.inner, "more").await;
    let go_on = Arc::new(Notify::new());
    let open = Arc::clone(&go_on);
    let (script, mut heard) = told(move |_, _| {
        let go_on = Arc::clone(&go_on);
        async move {
            go_on.notified().await;
            Ok(())
        }
    });
    let gate = Gate::default();
    gate.set(Is::Broken);
    let more = Queue::new("more").layer(gate.clone());
    let worker = Running::new(watched(&spy, script).queue(more).concurrency(1));
    let address = worker.handle.http_address().await;
    put_jobs(&spy, ["holds the permit"]).await;
    heard.next().await;
    let body = until_said(address, "more: ").await;
    assert!(body.contains("a layer fails to become ready"), "{body}");
    gate.set(Is::Open);
    assert_eq!(until(address, "/readyz", 200).await, "ok\n");
    let receives = spy.requests(Op::Receive);
    assert!(receives.iter().all(|request| request.queue.as_str() == WORK), "it has a permit");
    open.notify_one();
    worker.stop().await;
}

#[tokio::test]
async fn scale_says_how_much_there_is_to_do() {
    let spy = spied().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let open = Arc::clone(&gate);
    let (script, mut heard) = told(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    put_jobs(&spy, ["a", "b", "c", "d", "e"]).await;
    put(&spy, "work-poison", "what never ran").await;
    let worker = Running::new(watched(&spy, script));
    let address = worker.handle.http_address().await;
    heard.take(2).await;
    let scale = scaled(address, |it| it["in_flight"] == 2 && it["backlog"] == 3).await;
    for (field, value) in [("jobs", 5), ("slots", 2), ("depth", 5), ("poison", 1)] {
        assert_eq!(scale[field], value, "{field}: {scale}");
    }
    assert_eq!(scale["drain_seconds"], Value::Null, "nothing moves: {scale}");
    assert!(scale["oldest_age_seconds"].as_f64().unwrap() >= 0.0, "{scale}");
    assert!(scale["sampled_seconds_ago"].as_f64().unwrap() < 0.15, "{scale}");
    let drain = "the backlog at the pace of this worker since the figures before";
    let estimates = serde_json::json!([{ "field": "drain_seconds", "why": drain }]);
    assert_eq!(scale["estimates"], estimates, "{scale}");
    assert_eq!(scale["queues"][0]["queue"], WORK);
    assert_eq!(scale["queues"][0]["jobs"], 5);

    open.add_permits(5);
    drained(&spy, WORK).await;
    worker.stop().await;
}

/// Each queue is asked for by itself, and says why nothing is known of it.
#[tokio::test]
async fn a_queue_without_figures_hides_no_other() {
    let spy = spied().await;
    create(&spy.inner, "shut").await;
    put_jobs(&spy, ["a"]).await;
    let closed = |name: &'static str| {
        move |request: &Request| match request.op {
            Op::Stats if request.queue.as_str() == name => Fate::Refuse(ErrorKind::Unauthorized),
            // It stays where it is.
            Op::Receive => Fate::Refuse(ErrorKind::Throttled),
            _ => Fate::Pass,
        }
    };
    spy.rule(closed("shut"));
    let (script, _heard) = obedient();
    let worker = Running::new(watched(&spy, script).queue(Queue::new("shut")));
    let address = worker.handle.http_address().await;
    let one = scaled(address, |scale| scale["queues"][0]["problem"].is_string()).await;
    let (shut, work) = (&one["queues"][0], &one["queues"][1]);
    assert_eq!((&shut["backlog"], &work["backlog"]), (&Value::Null, &1.into()), "{one}");
    // What is not known of one is not known of all; what this worker does is.
    assert_eq!((&one["backlog"], &one["in_flight"]), (&Value::Null, &0.into()), "{one}");

    // Of a poison queue that nobody may look at, nothing else is hidden.
    spy.rule(closed("shut-poison"));
    let both = scaled(address, |scale| scale["backlog"] == 1).await;
    let (shut, work) = (&both["queues"][0], &both["queues"][1]);
    assert_eq!((&shut["poison"], &work["poison"]), (&Value::Null, &0.into()), "{both}");
    assert_eq!((&shut["backlog"], &both["poison"]), (&0.into(), &Value::Null), "{both}");
    let problem = shut["problem"].as_str().unwrap();
    assert!(problem.starts_with("shut-poison: ") && problem.contains("access denied"), "{both}");
    assert!(!both["oldest_age_seconds"].is_null(), "the other's is known: {both}");

    spy.rule(|request| match request.op {
        Op::Stats => Fate::Refuse(ErrorKind::Unauthorized),
        _ => Fate::Pass,
    });
    let body = until(address, "/scale", 503).await;
    assert!(body.contains("work: the figures are ") && body.contains("access denied"), "{body}");
    spy.heal();
    until(address, "/scale", 200).await;
    worker.stop().await;
}

/// What Prometheus reads, and what it does not.
#[tokio::test]
async fn metrics_are_for_prometheus() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    let worker = Running::new(watched(&spy, script));
    let address = worker.handle.http_address().await;
    until(address, "/readyz", 200).await;
    put_jobs(&spy, ["a", "b"]).await;
    heard.take(2).await;
    drained(&spy, WORK).await;
    let (status, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "# TYPE job_completed_total counter",
        "# HELP job_completed_total Jobs that ended well.",
        "# TYPE job_run_duration_seconds histogram",
        "job_slots{queue=\"work\"} 2",
        "job_run_duration_seconds_bucket{queue=\"work\",job=\"act\",outcome=\"done\",le=\"1800\"}",
        "job_backend_requests_total{operation=\"receive\",result=\"ok\"}",
    ] {
        assert!(body.contains(line), "{line} is missing in\n{body}");
    }
    let (status, body) = get(address, "/").await;
    assert_eq!((status, &*body), (404, "there are /livez, /readyz, /metrics and /scale\n"));
    assert_eq!(ask(address, "POST /livez").await.0, 405);
    assert_eq!(ask(address, "HEAD /livez").await, (200, String::new()));
    worker.stop().await;
}

#[tokio::test]
async fn a_program_can_show_metrics_of_its_own() {
    let spy = spied().await;
    let (script, _heard) = obedient();
    let worker = watched(&spy, script).render_metrics(|| "mine 1\n".to_owned());
    let worker = Running::new(worker);
    let address = worker.handle.http_address().await;
    assert_eq!(get(address, "/metrics").await, (200, "mine 1\n".to_owned()));
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_do_not_share_an_address() {
    let spy = spied().await;
    let (script, _heard) = obedient();
    let first = Running::new(watched(&spy, Arc::clone(&script)));
    let address = first.handle.http_address().await;
    let second = watched(&spy, script).http(address).build().unwrap();
    match second.run().await {
        Err(error @ WorkerError::Http { .. }) => {
            let expected = format!(
                "cannot listen on {address} for health and metrics; give each worker an address of \
                 its own"
            );
            assert_eq!(error.to_string(), expected);
        }
        other => panic!("{other:?}"),
    }
    first.stop().await;
}

/// On a thread of its own it answers whatever handlers do.
#[test]
fn a_worker_that_does_not_move_is_not_alive() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let asking = std::thread::spawn(move || {
        let address: SocketAddr = told.recv().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let body = until(address, "/livez", 503).await;
            assert!(body.contains("move what blocks into `tokio::task::spawn_blocking`"), "{body}");
            // The keeper of leases notices as well, and counts it once, however long it takes.
            until_shown(address, "job_runtime_stalls_total 1").await;
            release.send(()).unwrap();
            until(address, "/livez", 200).await;
        });
    });
    runtime.block_on(async {
        let spy = spied().await.apart();
        let script = script(move |_, _| {
            let released = Arc::clone(&released);
            async move {
                released.lock().unwrap().recv().unwrap();
                Ok(())
            }
        });
        let worker = Running::new(watched(&spy, script).stall_limit(SECOND));
        let address = worker.handle.http_address().await;
        until(address, "/readyz", 200).await;
        tell.send(address).unwrap();
        put_jobs(&spy, ["blocks"]).await;
        let asked = tokio::task::spawn_blocking(move || asking.join());
        asked.await.unwrap().unwrap();
        let report = worker.stop().await;
        assert_eq!((report.completed(), report.stalled()), (1, 1), "{report}");
    });
}

#[tokio::test]
async fn the_settings_come_from_a_config_and_are_described() {
    let config = r#"{ "http": "127.0.0.1:9090", "sample_every": "1m", "stall_limit": "2m" }"#;
    let config = serde_json::from_str(config).unwrap();
    let (script, _heard) = obedient();
    let worker = builder(memory().await, script).config(config).build().unwrap();
    let description = serde_json::to_value(worker.describe()).unwrap();
    let expected = serde_json::json!({ "address": "127.0.0.1:9090", "sample_every": "1m", "stall_limit": "2m" });
    assert_eq!(description["worker"]["http"], expected);
    let text = worker.describe().to_string();
    assert!(
        text.contains("HTTP            SAMPLES   STALL LIMIT\n127.0.0.1:9090  every 1m  2m\n"),
        "{text}"
    );

    let (script, _heard) = obedient();
    let wrong = builder(memory().await, script).stall_limit(Duration::ZERO).build().unwrap_err();
    assert!(wrong.to_string().contains("the worker's stall_limit is "), "{wrong}");
}
