//! Messages that nobody should have sent: none of them is lost, and none of them shows.

mod common;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use job_core::backend::{Backend, ErrorKind};
use job_core::{Client, Handler, Job, JobContext, JobError, JobOptions, Queue, Worker};
use job_memory::MemoryBackend;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Takes args that show how they are decoded.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    number: u8,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    any: Value,
}
#[derive(Default, Serialize, Deserialize)]
enum Kind {
    #[default]
    Small,
}
impl Job for Strict {
    const NAME: &'static str = "strict";
    const VERSION: u32 = 2;
    const OPTIONS: JobOptions = JobOptions::new().queue("work");
}
impl Handler for Strict {
    type Job = Self;
    async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

fn strict(args: Value) -> Value {
    with(with(job("x"), "name", json!("strict")), "args", args)
}

/// Serves both, and puts back for two hours at most.
fn serving(backend: impl Backend, script: Arc<Script>) -> Running {
    let settings = Queue::new(WORK).concurrency(2);
    Running::new(
        builder(backend, script).register::<Strict>().queue(settings).put_back_limit(2 * HOUR),
    )
}

/// What a body becomes in the poison queue, and how long that took.
async fn fate_of(body: impl Into<Bytes>) -> (Bytes, Duration) {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    put(&backend, WORK, body).await;
    put_jobs(&backend, ["well"]).await;
    let begin = Instant::now();
    let worker = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    let took = begin.elapsed();
    let report = worker.stop().await;
    assert_eq!((report.started(), report.completed(), report.poisoned()), (1, 1, 1), "{report}");
    assert_eq!((report.discarded(), report.expired()), (0, 0));
    heard.next().await;
    heard.nothing();
    (only(bodies(&backend, "work-poison").await), took)
}

async fn json_fate_of(body: impl Into<Bytes>) -> (Value, Duration) {
    let (copy, took) = fate_of(body).await;
    (serde_json::from_slice(&copy).unwrap(), took)
}

#[tokio::test(start_paused = true)]
async fn what_is_no_job_goes_to_poison_at_once_with_its_bytes() {
    let cases: [(&[u8], Value); 8] = [
        (b"not json", json!({ "text": "not json" })),
        (b"", json!({ "text": "" })),
        (b"[1,2]", json!({ "text": "[1,2]" })),
        (b"null", json!({ "text": "null" })),
        (b"{}", json!({ "text": "{}" })),
        (b"\xff\xfe\x00", json!({ "base64": "//4A" })),
        (b"{\"format\":1,\"id\":7}", json!({ "text": "{\"format\":1,\"id\":7}" })),
        (b"{\"format\":0}", json!({ "text": "{\"format\":0}" })),
    ];
    for (body, original) in cases {
        let (copy, took) = json_fate_of(body).await;
        assert_eq!(copy["original"], original);
        assert_eq!(copy["poison"]["reason"], "undecodable");
        assert_eq!(copy["poison"]["queue"], "work");
        assert!(!copy["poison"]["error"].as_str().unwrap().is_empty());
        assert!(took < SECOND, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_be_wrapped_goes_there_verbatim() {
    let most = MemoryBackend::new().capabilities().max_body;
    let text = "x".repeat(most);
    assert_eq!(fate_of(text.clone()).await.0, text);
    // Base64 makes it larger.
    let bytes = vec![0xff_u8; most * 9 / 10];
    assert_eq!(fate_of(bytes.clone()).await.0, bytes);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_knows_is_put_back_ever_longer_and_then_poisoned() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    let sent = with(job("a"), "name", json!("from_tomorrow"));
    put_job(&spy, &sent).await;
    let worker = serving(spy.clone(), script);
    let begin = Instant::now();
    drained(&spy, WORK).await;
    assert!((2 * HOUR..3 * HOUR).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    heard.nothing();
    let mut moments: Vec<_> = spy.requests(Op::Replace).iter().map(|put| put.at).collect();
    moments.pop();
    let waits: Vec<_> = moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(waits[0] <= 6 && (7 * 60..=15 * 60 + 5).contains(waits.last().unwrap()), "{waits:?}");
    assert!((10..40).contains(&waits.len()), "{waits:?}");
    let copy = only(poisoned(&spy).await);
    assert_eq!((&copy["id"], &copy["args"]), (&sent["id"], &sent["args"]));
    assert_eq!(copy["poison"]["reason"], "unknown_job");
    assert!(copy["history"]["failed"].is_null());
    let report = worker.stop().await;
    assert_eq!((report.poisoned(), report.started()), (1, 0));
    assert_eq!(report.put_back(), copy["history"]["put_back"].as_u64().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_put_back_runs_once_a_worker_knows_it_and_is_not_charged() {
    let backend = memory().await;
    put_job(&backend, &strict(json!({ "number": 7 }))).await;
    let (script, _heard) = obedient();
    let old = start(backend.clone(), script);
    sleep(HOUR).await;
    assert!(old.stop().await.put_back() > 3);
    let (script, _heard) = obedient();
    let new = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    let report = new.stop().await;
    assert_eq!((report.completed(), report.started()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_newer_waits_for_a_newer_worker() {
    let newer = with(strict(json!({ "number": 7 })), "args_version", json!(3));
    let (copy, took) = json_fate_of(newer.to_string()).await;
    assert_eq!(copy["poison"]["reason"], "newer_args");
    assert_eq!(copy["args"], json!({ "number": 7 }));
    assert!((2 * HOUR..3 * HOUR).contains(&took), "{took:?}");

    let newer = r#"{"format":2,"what":{"is":["this","?"]}}"#;
    let (copy, took) = json_fate_of(newer).await;
    assert_eq!(copy["poison"]["reason"], "newer_format");
    assert_eq!(copy["original"], json!({ "text": newer }));
    assert!((HOUR..3 * HOUR).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn older_args_are_tried() {
    let backend = memory().await;
    put_job(&backend, &strict(json!({ "number": 7 }))).await;
    put_job(&backend, &with(strict(json!({ "number": 7 })), "args_version", json!(2))).await;
    let (script, _heard) = obedient();
    let worker = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 2);
}

#[tokio::test(start_paused = true)]
async fn args_that_do_not_fit_are_put_back_and_the_reason_tells_where() {
    let nested = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    for (args, problem) in [
        (
            r#"{"number":"canary"}"#.to_owned(),
            "the args of version 1 do not fit at `number`: it is of another type",
        ),
        (
            r#"{"number":300}"#.to_owned(),
            "the args of version 1 do not fit at `number`: the value is not allowed",
        ),
        ("{}".to_owned(), "the args of version 1 do not fit at `.`: a field is missing"),
        ("[]".to_owned(), "the args of version 1 do not fit at `.`: it has another length"),
        ("null".to_owned(), "the args of version 1 do not fit at `.`: it is of another type"),
        (
            r#"{"number":1,"kind":"canary"}"#.to_owned(),
            "the args of version 1 do not fit at `kind`: there is no such variant",
        ),
        (
            r#"{"number":1,"number":2}"#.to_owned(),
            "the args of version 1 do not fit at `.`: a field is there twice",
        ),
        (format!(r#"{{"number":7,"any":{nested}}}"#), "it is nested too deep"),
    ] {
        let body = strict(json!("ARGS")).to_string().replace(r#""ARGS""#, &args);
        let (copy, took) = fate_of(body).await;
        // JSON nested like that is not to be read as a whole.
        let copy = String::from_utf8(copy.to_vec()).unwrap().replace(&nested, "[]");
        let copy: Value = serde_json::from_str(&copy).unwrap();
        assert_eq!(copy["poison"]["reason"], "bad_args");
        let error = copy["poison"]["error"].as_str().unwrap();
        assert!(
            error.contains(problem.trim_start_matches("the args of version 1 do not fit at `.`")),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
        assert!((2 * HOUR..3 * HOUR).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn args_nested_a_hundred_thousand_deep_harm_nobody() {
    let mut capabilities = MemoryBackend::new().capabilities().clone();
    capabilities.max_body = 1024 * 1024;
    let backend = MemoryBackend::with_capabilities(capabilities);
    create(&backend, WORK).await;
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for name in ["strict", "act", "unknown"] {
        let body = with(job("x"), "name", json!(name)).to_string();
        put(&backend, WORK, body.replace(r#"{"order":"x"}"#, &nested)).await;
        put(
            &backend,
            WORK,
            body.replace(r#"{"order":"x"}"#, &format!(r#"{{"number":1,"any":{nested}}}"#)),
        )
        .await;
        // Elsewhere than in the args.
        put(&backend, WORK, body.replacen('{', &format!(r#"{{"new":{nested},"#), 1)).await;
        put(&backend, WORK, body.replacen('{', &format!(r#"{{"meta":{nested},"#), 1)).await;
        put(&backend, WORK, body.replacen('{', &format!(r#"{{"history":{{"x":{nested}}},"#), 1))
            .await;
    }
    put(&backend, WORK, nested.clone()).await;
    put(&backend, WORK, "[".repeat(500_000)).await;
    put_jobs(&backend, ["well"]).await;
    let (script, mut heard) = obedient();
    let worker = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    let runs = heard.take(3).await;
    assert!(runs.contains(&("well".to_owned(), 1)));
    // Three with a field that nobody knows, or in the history, are jobs like any other.
    let report = worker.stop().await;
    assert_eq!(report.poisoned() + report.completed(), 18, "{report}");
    // What was in the history is nobody's.
    let copies = bodies(&backend, "work-poison").await;
    assert_eq!(copies.iter().filter(|body| body.len() < 100_000).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hostile_name_is_a_name_like_any_other() {
    for name in ["", "ACT", "act ", "act\0", "../act", "\u{202e}tca", "a\nb", &"n".repeat(30_000)] {
        let (copy, _) = json_fate_of(with(job("x"), "name", json!(name)).to_string()).await;
        assert_eq!(copy["name"], *name);
        assert_eq!(copy["poison"]["reason"], "unknown_job");
    }
}

#[tokio::test(start_paused = true)]
async fn absurd_numbers_in_a_message_do_no_harm() {
    let backend = memory().await;
    let max = u64::MAX;
    for (field, value) in [
        ("options", json!({ "max_attempts": 0 })),
        ("options", json!({ "max_attempts": u32::MAX })),
        ("options", json!({ "expires_in_ms": max })),
        ("enqueued_at", json!(max)),
        ("history", json!({ "failed": 0, "settled": { "message_id": "x", "count": u32::MAX } })),
        ("history", json!({ "put_back_ms": max, "snoozed": u32::MAX, "given_back": u32::MAX })),
        ("history", json!({ "expires_at": max })),
    ] {
        put_job(&backend, &with(job("a"), field, value)).await;
    }
    let (script, mut heard) = told(|_, cx| async move {
        assert!(cx.max_attempts() >= 1);
        Err(JobError::snooze(Duration::MAX))
    });
    let worker = serving(backend.clone(), script);
    assert_eq!(heard.take(7).await.len(), 7);
    sleep(MINUTE).await;
    assert_eq!(total(&backend, WORK).await, 7);
    assert_eq!(worker.stop().await.snoozed(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_history_of_countless_failures_ends_in_poison() {
    for history in [json!({ "failed": u32::MAX }), json!({ "failed": 20, "crashed": u32::MAX })] {
        let backend = memory().await;
        let (script, mut heard) = obedient();
        put_job(&backend, &with(job("a"), "history", history)).await;
        let worker = serving(backend.clone(), script);
        drained(&backend, WORK).await;
        heard.nothing();
        assert_eq!(poisoned(&backend).await.len(), 1);
        worker.stop().await;
    }
}

fn poison(state: &str) -> Value {
    let poison = json!({ "state": state, "reason": "permanent", "at": 1, "queue": "work" });
    let job = with(job("a"), "history", json!({ "failed": 7, "crashed": 3 }));
    with(with(job, "poison", poison), "delay_left_ms", json!(1000))
}

#[tokio::test(start_paused = true)]
async fn what_is_marked_as_poison_is_moved_and_never_run() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    let sent = poison("pending");
    put_job(&backend, &sent).await;
    put_job(&backend, &with(sent.clone(), "name", json!("unknown"))).await;
    let worker = serving(backend.clone(), script);
    drained(&backend, WORK).await;
    heard.nothing();
    for copy in poisoned(&backend).await {
        assert_eq!((&copy["id"], &copy["history"]), (&sent["id"], &sent["history"]));
        assert_eq!(
            (&copy["poison"]["state"], &copy["poison"]["reason"]),
            (&json!("final"), &json!("permanent"))
        );
    }
    let report = worker.stop().await;
    assert_eq!((report.poisoned(), report.started()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_moved_back_by_hand_runs_afresh() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, cx| async move {
        assert_eq!(cx.attempt(), 1);
        Ok(())
    });
    put_job(&backend, &poison("final")).await;
    let worker = serving(backend.clone(), script);
    assert_eq!(heard.next().await.attempt, 1);
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Moody {
    secret: String,
    how: String,
}
impl Job for Moody {
    const NAME: &'static str = "moody";
    const OPTIONS: JobOptions = JobOptions::new().queue("work").max_attempts(2);
}
impl Handler for Moody {
    type Job = Self;
    async fn call(job: Self, cx: JobContext) -> Result<(), JobError> {
        assert!(!job.secret.is_empty());
        tracing::info!(?cx, "running");
        match &*job.how {
            "panic" => panic!("moody"),
            "fail" => Err("moody".into()),
            "permanent" => Err(JobError::permanent("moody")),
            "discard" => Err(JobError::discard("moody")),
            "snooze" if cx.attempt() == 1 => Err(JobError::retry_after("moody", SECOND)),
            "hang" => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_job_s_args_reaches_a_log_or_an_error() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let spy = spied().await;
    let canary = "canary-4111";
    let moody = |how: &str| {
        let job = with(job("x"), "name", json!("moody"));
        let job = with(job, "meta", json!({ "tenant": canary }));
        with(job, "args", json!({ "secret": canary, "how": how }))
    };
    for how in ["well", "panic", "fail", "permanent", "discard", "snooze", "hang"] {
        put_job(&spy, &moody(how)).await;
    }
    // Every kind of refusal.
    put_job(&spy, &with(moody(""), "name", json!("unknown"))).await;
    put_job(&spy, &with(moody(""), "args_version", json!(9))).await;
    put_job(&spy, &with(moody(""), "format", json!(9))).await;
    put_job(&spy, &with(moody(""), "args", json!({ "secret": [canary] }))).await;
    put_job(&spy, &with(moody(""), "args", json!(canary))).await;
    put_job(&spy, &with(moody(""), "delay_left_ms", json!(1000))).await;
    put_job(&spy, &with(moody(""), "poison", poison("pending")["poison"].clone())).await;
    put_job(&spy, &with(moody(""), "options", json!({ "expires_in_ms": 0 }))).await;
    put_job(&spy, &with(moody(""), "history", json!(canary))).await;
    put(&spy, WORK, format!("{canary} is not JSON")).await;
    put(&spy, WORK, format!("{{\"{canary}\": \"{canary}\"}}")).await;
    put(&spy, WORK, format!("{{\"format\": \"{canary}\"}}")).await;
    put(&spy, WORK, format!("{canary}\u{0}").into_bytes()).await;
    let mut faults = 0;
    spy.rule(move |request| {
        if request.op == Op::Stats {
            return Fate::Pass;
        }
        faults += 1;
        match request.op {
            Op::Create => Fate::Pass,
            _ if faults % 5 == 0 => Fate::Refuse(ErrorKind::Unavailable),
            _ if faults % 7 == 0 => Fate::Lose,
            _ if faults % 11 == 0 => Fate::Refuse(ErrorKind::Other),
            _ => Fate::Pass,
        }
    });
    let client = Client::new(spy.clone());
    let settings = Queue::new(WORK).timeout(MINUTE).lease(30 * SECOND).concurrency(3);
    let builder = Worker::builder(&client)
        .without_linked_jobs()
        .register::<Moody>()
        .queue(settings)
        .data(canary)
        .put_back_limit(MINUTE)
        .grace(SECOND);
    tracing::info!(?builder, "set up");
    let worker = Running::new(builder);
    drained(&spy, WORK).await;
    spy.heal();
    put_job(&spy, &moody("hang")).await;
    sleep(MINUTE / 2).await;
    let report = worker.stop().await;
    tracing::info!(?report);

    let mut errors = String::new();
    for copy in poisoned(&spy).await {
        errors += &copy["errors"].to_string();
        errors += &copy["poison"].to_string();
    }
    assert!(errors.contains("moody") && !errors.contains("canary"), "{errors}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for said in ["job failed", "poison queue", "putting", "given back", "expired", "moody"] {
        assert!(log.contains(said), "{said} is not in the log");
    }
    let line = log.lines().find(|line| line.contains("canary"));
    assert_eq!(line, None);
}
