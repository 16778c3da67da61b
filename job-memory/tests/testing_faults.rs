//! Faults on request: each happens, once, and is told if it does not.

mod kit;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use job_core::EnqueueErrorKind;
use job_core::backend::{Capabilities, ErrorKind};
use job_core::prelude::*;
use job_memory::MemoryBackend;
use job_memory::testing::{
    Ended, Operation, TestJobs, assert_enqueued, assert_idempotent, assert_poisoned,
};
use kit::{Log, lines, said, said_by, set_up, set_up_with};
use tokio::time::{Instant, sleep};

/// Says when it begins, in the middle, and when it is done.
#[job(queue = "work", max_attempts = 5, backoff = fixed("1m"))]
async fn act(what: String, log: Data<Log>, cx: JobContext) -> Result<(), JobError> {
    let say = |step: &str| log.lock().unwrap().push(format!("{what} {} {step}", cx.attempt()));
    let _gone = Gone(&log, &what);
    say("begins");
    match &*what {
        "quick" | "fail" | "permanent" => {}
        "long" => sleep(10 * MINUTE).await,
        _ => sleep(SECOND).await,
    }
    say("ends");
    match &*what {
        "fail" => Err("no luck".into()),
        "permanent" => Err(JobError::permanent("never")),
        _ => Ok(()),
    }
}

/// Says that the future of a handler is gone, however that came.
struct Gone<'a>(&'a Log, &'a str);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(format!("{} gone", self.1));
    }
}

#[job(queue = "other")]
async fn ping(n: u32, log: Data<Log>) -> Result<(), JobError> {
    log.lock().unwrap().push(format!("ping {n}"));
    Ok(())
}

async fn enqueue(jobs: &TestJobs, what: &str) -> JobId {
    jobs.enqueue(Act { what: what.into() }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_worker_killed_in_the_middle() {
    let (jobs, log) = set_up();
    let id = enqueue(&jobs, "it").await;
    jobs.enqueue(Ping { n: 1 }).await.unwrap();
    jobs.kill_mid_run::<Act>();
    let report = jobs.drain().await;
    assert_eq!(
        report.to_string(),
        "1 completed, 1 killed\n  act, attempt 1: killed\n  ping, attempt 1: completed"
    );
    assert_eq!(report.lost(), 1);
    assert_eq!(lines(&log), ["it 1 begins", "it gone", "ping 1"]);
    let said = said(|| assert_enqueued!(jobs, Act { what: "x" }));
    assert!(said.contains("on `work`, with a worker whose lease ends in 1m: "), "{said}");

    assert_eq!(jobs.advance_to_next().await, Some(MINUTE));
    let again = jobs.run_one().await.unwrap();
    assert_eq!((again.id, again.attempt, again.ended), (Some(id), 1, Ended::Completed));
    assert_eq!(lines(&log), ["it 1 begins", "it 1 ends", "it gone"]);
    assert!(jobs.drain().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_worker_again_and_again_is_quarantined() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "it").await;
    for _ in 0..4 {
        jobs.kill_mid_run::<Act>();
    }
    let report = jobs.drain_all().await;
    // The first is not marked, as any delivery may be lost; the next three are.
    assert_eq!((report.lost(), report.poisoned()), (4, 1), "{report}");
    assert_poisoned!(jobs, Act, reason = PoisonReason::Crashed, attempts = 3);
    let begins = lines(&log).iter().filter(|line| line.ends_with("begins")).count();
    assert_eq!(begins, 4);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_waits_is_killed_after_its_last_line() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "quick").await;
    jobs.kill_mid_run::<Act>();
    assert_eq!(jobs.run_one().await.unwrap().ended, Ended::Killed);
    assert_eq!(lines(&log), ["quick 1 begins", "quick 1 ends", "quick gone"]);
    assert_eq!(jobs.drain_all().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_killed_before_it_could_say_so() {
    let (jobs, log) = set_up_with(|worker| worker.queue(Queue::new("work").lease(7 * SECOND)));
    enqueue(&jobs, "it").await;
    jobs.kill_before_settle::<Act>();
    assert_eq!(jobs.drain().await.lost(), 1);
    assert_eq!(lines(&log), ["it 1 begins", "it 1 ends", "it gone"]);
    let wait = jobs.advance_to_next().await.unwrap();
    assert_eq!(wait, 6 * SECOND, "the lease is from the receive on");
    assert_eq!(jobs.drain().await.completed(), 1);
    assert_eq!(lines(&log).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "it").await;
    jobs.lose_lease::<Act>();
    let report = jobs.drain().await;
    assert_eq!(
        report.to_string(),
        "1 completed, 1 lost\n  act, attempt 1: lost\n  act, attempt 1: completed"
    );
    assert_eq!(lines(&log).iter().filter(|line| line.ends_with("ends")).count(), 2);

    // One that takes longer is cancelled when its lease cannot be renewed.
    enqueue(&jobs, "long").await;
    jobs.lose_lease::<Act>();
    let start = Instant::now();
    let ran = jobs.run_one().await.unwrap();
    assert_eq!(ran.ended, Ended::Lost);
    assert!(start.elapsed() <= 20 * SECOND, "{:?}", start.elapsed());
    assert_eq!(lines(&log), ["long 1 begins", "long gone"]);
    assert_eq!(jobs.drain().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails() {
    for (what, done) in [("it", Ended::Completed), ("quick", Ended::Completed)] {
        let (jobs, log) = set_up();
        enqueue(&jobs, what).await;
        jobs.fail_next_settle::<Act>();
        let report = jobs.drain().await;
        assert_eq!(report.to_string(), "1 lost\n  act, attempt 1: lost");
        assert!(jobs.advance_to_next().await.is_some());
        assert_eq!(jobs.run_one().await.unwrap().ended, done);
        assert_eq!(lines(&log).iter().filter(|line| line.ends_with("ends")).count(), 2);
    }
    for what in ["fail", "permanent"] {
        let (jobs, _log) = set_up();
        enqueue(&jobs, what).await;
        jobs.fail_next_settle::<Act>();
        assert_eq!(jobs.drain().await.lost(), 1);
        assert!(jobs.all_poisoned::<Act>().is_empty());
        let report = jobs.drain_all().await;
        assert_eq!((report.lost(), report.poisoned()), (0, 1), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_there_twice() {
    let (jobs, log) = set_up();
    jobs.duplicate_next::<Act>();
    jobs.enqueue(Ping { n: 1 }).await.unwrap();
    enqueue(&jobs, "quick").await;
    enqueue(&jobs, "quick").await;
    assert_enqueued!(jobs, Act, count = 3);
    let all = jobs.all_enqueued::<Act>();
    assert!(all[0].id == all[1].id && all[1].id != all[2].id);
    assert_eq!(jobs.drain().await.completed(), 4);
    assert_eq!(lines(&log).iter().filter(|line| line.ends_with("ends")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn jobs_in_another_order() {
    let (jobs, log) = set_up();
    for n in 1..=3 {
        jobs.enqueue(Ping { n }).await.unwrap();
    }
    enqueue(&jobs, "quick").await;
    jobs.enqueue(Ping { n: 4 }).await.unwrap();
    jobs.enqueue(Ping { n: 5 }).delay(SECOND).await.unwrap();
    jobs.reorder();
    jobs.drain().await;
    let lines: Vec<_> = lines(&log).into_iter().filter(|line| !line.ends_with("gone")).collect();
    assert_eq!(lines, ["ping 4", "quick 1 begins", "quick 1 ends", "ping 3", "ping 2", "ping 1"]);
    jobs.advance(SECOND).await;
    assert_eq!(jobs.drain().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "quick").await;
    jobs.drain().await;
    for kind in [ErrorKind::Throttled, ErrorKind::Unauthorized, ErrorKind::TooLarge] {
        jobs.fail_next(Operation::Send, kind);
        let error = jobs.enqueue(Ping { n: 1 }).await.unwrap_err();
        assert_eq!(error.kind(), EnqueueErrorKind::Rejected, "{kind:?}");
    }
    assert!(jobs.all_enqueued::<Ping>().is_empty());
    jobs.fail_next(Operation::Send, ErrorKind::Unavailable);
    let error = jobs.enqueue(Ping { n: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Unknown);

    // A queue that cannot be asked is asked again, and what can be repeated is.
    lines(&log);
    let start = Instant::now();
    enqueue(&jobs, "quick").await;
    jobs.fail_times(Operation::Receive, 3, ErrorKind::Unavailable);
    jobs.fail_times(Operation::Delete, 2, ErrorKind::Throttled);
    let report = jobs.drain().await;
    assert_eq!(report.to_string(), "1 completed\n  act, attempt 1: completed");
    assert_eq!(lines(&log).iter().filter(|line| line.ends_with("ends")).count(), 1);
    assert!(start.elapsed() > SECOND, "{:?}", start.elapsed());

    // What cannot is not: the job is run again by whoever gets it next.
    enqueue(&jobs, "quick").await;
    jobs.fail_next(Operation::Delete, ErrorKind::Unauthorized);
    assert_eq!(jobs.drain().await.lost(), 1);
    assert_eq!(jobs.drain_all().await.completed(), 1);

    enqueue(&jobs, "fail").await;
    jobs.fail_next(Operation::Replace, ErrorKind::Unavailable);
    assert_eq!(jobs.drain().await.retried(), 1);

    jobs.fail_next(Operation::Peek, ErrorKind::Unauthorized);
    jobs.fail_next(Operation::Stats, ErrorKind::Unauthorized);
    let poison = jobs.client().poison("work").unwrap();
    assert!(poison.list(1).await.is_err() && poison.count().await.is_err());
    assert!(poison.list(1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn queues_that_cannot_be_made_and_renewals_that_fail() {
    let (jobs, _log) = set_up();
    jobs.fail_next(Operation::CreateQueue, ErrorKind::Unavailable);
    assert!(enqueue_fails(&jobs).await);
    enqueue(&jobs, "long").await;
    jobs.fail_next(Operation::CreateQueue, ErrorKind::Unavailable);
    jobs.fail_times(Operation::Renew, 2, ErrorKind::Unavailable);
    assert_eq!(jobs.drain().await.completed(), 1);
}

async fn enqueue_fails(jobs: &TestJobs) -> bool {
    jobs.enqueue(Act { what: "quick".into() }).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "quick").await;
    jobs.drain().await;
    lines(&log);

    jobs.lose_answer(Operation::Send);
    let error = jobs.enqueue(Ping { n: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Unknown);
    assert_eq!(jobs.drain().await.completed(), 1);

    // Nobody hears of what was received until its lease ends.
    jobs.enqueue(Ping { n: 2 }).await.unwrap();
    jobs.lose_answer(Operation::Receive);
    assert!(jobs.drain().await.is_empty());
    let wait = jobs.advance_to_next().await.unwrap();
    assert!(wait > 50 * SECOND, "{wait:?}");
    assert_eq!(jobs.drain().await.completed(), 1);

    jobs.enqueue(Ping { n: 3 }).await.unwrap();
    jobs.lose_answer(Operation::Delete);
    assert_eq!(jobs.drain().await.completed(), 1);
    assert_eq!(lines(&log), ["ping 1", "ping 2", "ping 3"]);
    enqueue(&jobs, "fail").await;
    jobs.lose_answer(Operation::Replace);
    assert_eq!(jobs.drain().await.retried(), 1);
    assert_enqueued!(jobs, Act { what: "fail" }, delay = MINUTE, count = 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend() {
    let (jobs, _log) = set_up();
    jobs.slow_backend(2 * SECOND);
    let start = Instant::now();
    enqueue(&jobs, "quick").await;
    // One for the send that finds no queue, one to make it, one to send again.
    assert_eq!(start.elapsed(), 6 * SECOND);
    jobs.slow_backend(Duration::ZERO);
    let start = Instant::now();
    assert_eq!(jobs.drain().await.completed(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
    jobs.slow_backend(2 * SECOND);
    enqueue(&jobs, "quick").await;
    let start = Instant::now();
    assert_eq!(jobs.drain().await.completed(), 1);
    assert!(start.elapsed() >= 4 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_never_answers_in_time_is_told() {
    const NOT_GIVEN: &str =
        "a job is due that the backend does not give, however often it is asked";
    let (jobs, _log) = set_up();
    enqueue(&jobs, "quick").await;
    // A receive has a quarter of the lease.
    jobs.slow_backend(16 * SECOND);
    let told = said_by(jobs.drain()).await;
    assert!(told.starts_with(NOT_GIVEN), "{told}");
    assert!(told.contains("a quarter of the lease"), "{told}");
    jobs.slow_backend(Duration::ZERO);
    assert_eq!(jobs.drain().await.completed(), 1);

    enqueue(&jobs, "quick").await;
    jobs.fail_times(Operation::Receive, usize::MAX, ErrorKind::Unavailable);
    for told in [said_by(jobs.run_one()).await, said_by(jobs.drain_all()).await] {
        assert!(told.starts_with(NOT_GIVEN), "{told}");
    }
    let told = said(|| drop(jobs));
    assert!(told.contains("Receive to fail with Unavailable"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_run_inline_meet_no_faults() {
    const INLINE: &str = "faults need `drain`; leave `.inline()` out";
    let jobs = TestJobs::builder().data(Log::default()).inline().build();
    let orders: [&dyn Fn(); 5] = [
        &|| jobs.kill_mid_run::<Act>(),
        &|| jobs.kill_before_settle::<Act>(),
        &|| jobs.lose_lease::<Act>(),
        &|| jobs.fail_next_settle::<Act>(),
        &|| jobs.duplicate_next::<Act>(),
    ];
    for order in orders {
        assert_eq!(said(order), INLINE);
    }
    let told = said_by(async {
        assert_idempotent!(jobs, Ping { n: 1 }, || 0);
    });
    assert!(told.await.ends_with(INLINE));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_tests_own_outlasts_an_assertion() {
    let (jobs, log) = set_up();
    jobs.kill_before_settle::<Ping>();
    jobs.kill_before_settle::<Ping>();
    assert_idempotent!(jobs, Ping { n: 1 }, || 0);
    // Once for the assertion, twice for the test, and once more to be done.
    assert_eq!(lines(&log), ["ping 1"; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_never_happens_fails_the_test() {
    let (jobs, _log) = set_up();
    jobs.kill_mid_run::<Act>();
    jobs.duplicate_next::<Ping>();
    jobs.fail_times(Operation::Renew, 2, ErrorKind::Throttled);
    jobs.lose_answer(Operation::Delete);
    jobs.drain().await;
    assert_eq!(
        said(|| drop(jobs)),
        "faults were ordered that never happened, so the test has not tested them:\n  \
         kill_mid_run of `act`: no drain has run such a job after it\n  \
         duplicate_next of `ping`: no such job was enqueued after it\n  \
         Renew to fail with Throttled: 2 times too few\n  \
         the answer to Delete to be lost: 1 times too few"
    );
}

#[tokio::test(start_paused = true)]
async fn a_test_that_fails_says_that_and_nothing_of_faults() {
    let said = said_by(async {
        let (jobs, _log) = set_up();
        jobs.kill_mid_run::<Act>();
        assert_enqueued!(jobs, Ping);
    });
    assert!(said.await.starts_with("no `ping` is enqueued\n"));
}

#[tokio::test]
async fn faults_on_another_backend_that_can_do_less() {
    let mut poor = MemoryBackend::new().capabilities_of();
    poor.replace = false;
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder()
        .data_arc(Arc::clone(&log))
        .worker(|worker| {
            worker.queue(Queue::new("work").lease(SECOND / 5)).queue(Queue::new("other"))
        })
        .backend(MemoryBackend::with_capabilities(poor))
        .real_clock()
        .build();
    enqueue(&jobs, "quick").await;
    jobs.kill_before_settle::<Act>();
    assert_eq!(jobs.drain().await.lost(), 1);
    jobs.advance_to_next().await;
    assert_eq!(jobs.drain().await.completed(), 1);
    // A retry is a new message here.
    enqueue(&jobs, "fail").await;
    let report = jobs.drain().await;
    assert_eq!(report.to_string(), "1 retried\n  act, attempt 1: retried in 1m: no luck");
    assert_enqueued!(jobs, Act { what: "fail" }, delay = MINUTE, count = 1);
    enqueue(&jobs, "permanent").await;
    assert_eq!(jobs.drain().await.poisoned(), 1);
    let said = said(|| jobs.reorder());
    assert!(said.starts_with("`reorder` needs the kit's own queues"), "{said}");
}

/// What a backend says of itself.
trait CapabilitiesOf {
    fn capabilities_of(&self) -> Capabilities;
}

impl CapabilitiesOf for MemoryBackend {
    fn capabilities_of(&self) -> Capabilities {
        job_core::backend::Backend::capabilities(self).clone()
    }
}

type Paid = Mutex<BTreeSet<JobId>>;

/// Idempotent by the id of the job, and its receipt by that of the order.
#[job(queue = "bank")]
async fn pay(
    order: u32,
    paid: Data<Paid>,
    sum: Data<AtomicUsize>,
    cx: JobContext,
) -> Result<(), JobError> {
    if paid.lock().unwrap().insert(cx.id()) {
        sum.fetch_add(1, SeqCst);
    }
    cx.client().enqueue(Receipt { order }).await?;
    Ok(())
}

/// Not idempotent if it comes twice with different ids.
#[job(queue = "bank")]
async fn receipt(order: u32, receipts: Data<Mutex<Vec<u32>>>) -> Result<(), JobError> {
    receipts.lock().unwrap().push(order);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_job_sets_off_counts_too() {
    let (sum, receipts) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::<u32>::new())));
    let jobs = TestJobs::builder()
        .data(Paid::default())
        .data_arc(Arc::clone(&sum))
        .data_arc(Arc::clone(&receipts))
        .build();
    assert_idempotent!(jobs, Pay { order: 1 }, || sum.load(SeqCst));
    assert_eq!(sum.load(SeqCst), 1);
    let said = said_by(async {
        assert_idempotent!(jobs, Pay { order: 2 }, || receipts.lock().unwrap().clone());
    });
    let said = said.await;
    assert!(said.contains("after the first run:  [1, 1, 2]\n"), "{said}");
    assert!(said.contains("after the second run: [1, 1, 2, 2]\n"), "{said}");
}
