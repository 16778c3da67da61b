//! Single runs of single handlers, under conditions that the test sets.

mod kit;

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use job_core::prelude::*;
use job_core::{Args, ArgsError, Outcome, PerformError};
use job_memory::testing::{TestJobs, assert_enqueued, refute_enqueued};
use kit::{said, said_by};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::timeout::TimeoutLayer;

/// What a handler saw.
type Seen = Mutex<Vec<String>>;

#[job(queue = "work", timeout = "20s", max_attempts = 5)]
async fn look(what: String, seen: Data<Seen>, cx: JobContext) -> Result<(), JobError> {
    let left = cx.deadline() - Instant::now();
    let line = format!(
        "{what} {}/{} {} {left:?} {:?} {}",
        cx.attempt(),
        cx.max_attempts(),
        cx.queue(),
        cx.meta("tenant"),
        cx.is_cancelled()
    );
    seen.lock().unwrap().push(line);
    match &*what {
        "error" => Err("broken".into()),
        "busy" => Err(JobError::retry_after("busy", MINUTE)),
        "permanent" => Err(JobError::permanent("never")),
        "discard" => Err(JobError::discard("not needed")),
        "snooze" => Err(JobError::snooze(HOUR)),
        "panic" => panic!("at the disco"),
        "wait" => {
            sleep(30 * SECOND).await;
            Ok(())
        }
        "polite" => {
            cx.cancellation().cancelled().await;
            Ok(())
        }
        "deaf" => std::future::pending().await,
        "enqueue" => {
            cx.client().enqueue(Look { what: "child".into() }).await?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn set_up() -> (TestJobs, std::sync::Arc<Seen>) {
    let seen = std::sync::Arc::new(Seen::default());
    (TestJobs::builder().data_arc(std::sync::Arc::clone(&seen)).build(), seen)
}

fn to(what: &str) -> Look {
    Look { what: what.into() }
}

fn seen(seen: &Seen) -> String {
    seen.lock().unwrap().pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn by_default_it_is_a_first_attempt() {
    let (jobs, log) = set_up();
    jobs.perform(to("it")).await.expect_done();
    assert_eq!(seen(&log), "it 1/5 work 20s None false");
    refute_enqueued!(jobs, Look);
    assert!(jobs.drain().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_test_says_what_the_context_is() {
    let (jobs, log) = set_up();
    let perform = jobs.perform(to("it")).attempt(3).max_attempts(4).timeout(7 * SECOND);
    perform.meta("tenant", "acme").await.expect_done();
    assert_eq!(seen(&log), "it 3/4 work 7s Some(\"acme\") false");
    let token = CancellationToken::new();
    jobs.perform(to("it")).cancel_on(token.clone()).await.expect_done();
    assert_eq!(seen(&log), "it 1/5 work 20s None false");
    token.cancel();
    jobs.perform(to("it")).cancel_on(token).await.expect_done();
    assert_eq!(seen(&log), "it 1/5 work 20s None true");
}

#[tokio::test(start_paused = true)]
async fn every_outcome_can_be_expected() {
    let (jobs, _log) = set_up();
    let retry = jobs.perform(to("error")).await.expect_retry();
    assert_eq!((retry.error.to_string(), retry.after), ("broken".into(), None));
    assert_eq!(jobs.perform(to("busy")).await.expect_retry().after, Some(MINUTE));
    assert_eq!(jobs.perform(to("permanent")).await.expect_permanent().to_string(), "never");
    assert_eq!(jobs.perform(to("discard")).await.expect_discard().to_string(), "not needed");
    assert_eq!(jobs.perform(to("snooze")).await.expect_snooze(), HOUR);
    let panicked = jobs.perform(to("panic")).await.expect_retry();
    assert_eq!(panicked.error.to_string(), "the job panicked: at the disco");
    let late = jobs.perform(to("wait")).await.expect_retry();
    assert!(late.error.to_string().starts_with("the job timed out after 20s"), "{}", late.error);
    jobs.perform(to("wait")).timeout(MINUTE).await.expect_done();
    assert!(matches!(jobs.perform(to("it")).await.outcome(), Outcome::Done));
}

#[tokio::test(start_paused = true)]
async fn what_it_was_instead_is_told() {
    let (jobs, _log) = set_up();
    let done = jobs.perform(to("it")).await;
    assert_eq!(
        said(|| done.expect_retry()),
        "`look` was expected to be tried again, but it is done"
    );
    for (what, was) in [
        ("error", "it failed, to be tried again by its backoff: broken"),
        ("busy", "it failed, to be tried again after 1m: busy"),
        ("permanent", "it failed for good: never"),
        ("discard", "it was discarded: not needed"),
        ("snooze", "it snoozed for 1h"),
    ] {
        let performed = jobs.perform(to(what)).await;
        let expected = format!("`look` was expected to be done, but {was}");
        assert_eq!(said(|| performed.expect_done()), expected);
    }
    let cancelled = jobs.perform(to("deaf")).cancelled().await;
    assert_eq!(
        said(|| cancelled.expect_snooze()),
        "`look` was expected to snooze, but it was given back, unfinished"
    );
}

#[tokio::test(start_paused = true)]
async fn a_last_attempt_is_not_tried_again() {
    let (jobs, _log) = set_up();
    let last = jobs.perform(to("busy")).attempt(5).await;
    assert_eq!(
        said(|| last.expect_retry()),
        "`look` was expected to be tried again, but it failed on its last attempt, 5 of 5: busy"
    );
    let over = jobs.perform(to("error")).attempt(3).max_attempts(2).await;
    assert!(said(|| over.expect_retry()).contains("last attempt, 3 of 2"));
    let error = jobs.perform(to("error")).attempt(5).await.expect_exhausted();
    assert_eq!(error.to_string(), "broken");
    let early = jobs.perform(to("error")).attempt(4).await;
    assert_eq!(
        said(|| early.expect_exhausted()),
        "`look` was expected to use up its attempts, but it failed, to be tried again by its \
         backoff: broken"
    );
    drop(jobs.perform(to("error")).attempt(4).await.expect_retry());
}

#[tokio::test(start_paused = true)]
async fn no_timeout_is_too_long() {
    let (jobs, _log) = set_up();
    jobs.perform(to("wait")).timeout(std::time::Duration::MAX).await.expect_done();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_has_half_a_second() {
    let (jobs, _log) = set_up();
    let token = CancellationToken::new();
    let stop = async {
        sleep(3 * SECOND).await;
        token.cancel();
    };
    let start = Instant::now();
    let polite = async { jobs.perform(to("polite")).cancel_on(token.clone()).await };
    let (polite, ()) = tokio::join!(polite, stop);
    polite.expect_done();
    assert_eq!(start.elapsed(), 3 * SECOND);
    jobs.perform(to("deaf")).cancelled().await.expect_given_back();
    assert_eq!(start.elapsed(), 3 * SECOND + SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_handler_enqueues_is_on_its_queue() {
    let (jobs, _log) = set_up();
    jobs.perform(to("enqueue")).await.expect_done();
    assert_enqueued!(jobs, Look { what: "child" });
}

#[tokio::test(start_paused = true)]
async fn layers_are_there() {
    let log = Seen::default();
    let jobs = TestJobs::builder()
        .data(log)
        .worker(|worker| worker.job_layer::<Look>(TimeoutLayer::new(2 * SECOND)))
        .build();
    let late = jobs.perform(to("wait")).await.expect_retry();
    assert_eq!(late.error.to_string(), "request timed out");
}

/// Reads another name than it writes.
#[derive(Serialize, Deserialize)]
struct Lopsided {
    #[serde(rename(serialize = "isbn"))]
    number: u64,
}

impl Job for Lopsided {
    const NAME: &'static str = "lopsided";
}

#[handler]
async fn lopsided(job: Lopsided) -> Result<(), JobError> {
    let _ = job.number;
    Ok(())
}

/// Cannot be written at all.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("secret"))
    }
}

impl<'de> Deserialize<'de> for Unwritable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

impl Job for Unwritable {
    const NAME: &'static str = "unwritable";

    fn from_args(_: Args<'_>) -> Result<Self, ArgsError> {
        Ok(Self)
    }
}

#[handler]
async fn unwritable(_job: Unwritable) -> Result<(), JobError> {
    Ok(())
}

#[job(queue = "nowhere")]
struct NobodysJob {
    n: u32,
}

#[tokio::test(start_paused = true)]
async fn mistakes_of_serdes_are_found() {
    let (jobs, _log) = set_up();
    let line = line!() + 1;
    let said = said_by(async { jobs.perform(Lopsided { number: 7 }).await }).await;
    assert_eq!(
        said,
        format!(
            "`perform` at {}:{line}:37: job `lopsided` cannot read its own args back: the args of \
             version 1 do not fit at `.`: a field is missing. What serde writes of its type it \
             does not read again: look at the `#[serde(..)]` attributes of that field. In \
             production the job would be put back for a day, and then be poison",
            file!()
        )
    );
    let said = said_by(async { jobs.perform(Unwritable).await }).await;
    assert!(said.contains("its args cannot be serialised to JSON"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let said = said_by(async { jobs.perform(NobodysJob { n: 1 }).await }).await;
    assert!(said.contains("the worker does not serve queue `nowhere`"), "{said}");
    let said = said_by(async { jobs.perform(NobodysJob { n: 1 }).queue("work").await }).await;
    assert!(said.contains("does not run job `nobodys_job`: no handler of that name"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_performs_without_the_kit_too() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl fmt::Debug for Count {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }
    #[job(queue = "raw")]
    async fn tick(n: usize, count: Data<Count>) -> Result<(), JobError> {
        count.0.fetch_add(n, SeqCst);
        Ok(())
    }
    let client = Client::new(job_memory::MemoryBackend::new());
    let count = std::sync::Arc::new(Count::default());
    let worker = Worker::builder(&client)
        .data_arc(std::sync::Arc::clone(&count))
        .queue(Queue::new("raw").raw::<Tick>())
        .queue(Queue::new("other"))
        .jobs(["tick"])
        .build()
        .unwrap();
    let (raw, other) = (QueueName::new("raw").unwrap(), QueueName::new("other").unwrap());
    let done = |outcome| assert!(matches!(outcome, Outcome::Done));
    done(worker.perform_message(&raw, r#"{"n":3}"#).await.unwrap());
    done(worker.perform(client.enqueue(Tick { n: 4 }).raw()).await.unwrap());
    done(worker.perform(client.enqueue(Tick { n: 5 }).queue("other")).await.unwrap());
    assert_eq!(count.0.load(SeqCst), 12);

    let error = worker.perform_message(&other, "canary").await.unwrap_err();
    assert!(matches!(&error, PerformError::Refused { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"));
    let error = worker.perform_message(&raw, r#"{"n":"canary"}"#).await.unwrap_err();
    assert!(matches!(&error, PerformError::Unreadable { job: "tick", .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"));
    let error = worker.perform_message(&raw, &b"\xff"[..]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the worker does not run job `tick`: the message is not UTF-8 text"
    );
    let perform = worker.perform(client.enqueue(Tick { n: 1 })).attempt(2);
    assert_eq!(
        format!("{perform:?}"),
        "Perform { attempt: Some(2), max_attempts: None, timeout: None, .. }"
    );
}
