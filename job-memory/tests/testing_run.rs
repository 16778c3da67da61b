//! Running jobs in a test: what a drain runs, and when; clocks, isolation, jobs that run inline.

mod kit;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use job_core::prelude::*;
use job_core::{EnqueueErrorKind, WorkerBuilder};
use job_memory::MemoryBackend;
use job_memory::testing::{Ended, TestJobs, assert_enqueued, assert_poisoned, refute_enqueued};
use kit::{Log, lines, said, said_by, set_up, set_up_with};
use tokio::time::{Instant, sleep};

#[job(queue = "mail", max_attempts = 3, backoff = fixed("10m"))]
async fn act(what: String, log: Data<Log>, cx: JobContext) -> Result<(), JobError> {
    log.lock().unwrap().push(format!("{what} {}", cx.attempt()));
    match &*what {
        "fail" => Err("no luck".into()),
        "flaky" if cx.attempt() < 3 => Err("not yet".into()),
        "permanent" => Err(JobError::permanent("never")),
        "discard" => Err(JobError::discard("not needed")),
        "snooze" if log.lock().unwrap().len() == 1 => Err(JobError::snooze(HOUR)),
        "panic" => panic!("at the disco"),
        "slow" => {
            sleep(7 * SECOND).await;
            Ok(())
        }
        "hang" => std::future::pending().await,
        "follow" => {
            cx.client().enqueue(Act { what: "follower".into() }).queue("bank").await?;
            cx.client().enqueue(Act { what: "later".into() }).delay(HOUR).await?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Has a queue of its own.
#[job(queue = "bank")]
async fn charge(order: u64, log: Data<Log>) -> Result<(), JobError> {
    log.lock().unwrap().push(format!("charge {order}"));
    Ok(())
}

#[job]
async fn lonely(never: Data<AtomicU32>) -> Result<(), JobError> {
    let _ = never;
    Ok(())
}

/// Nobody runs it here.
#[job(queue = "elsewhere")]
struct Elsewhere {
    n: u32,
}

async fn enqueue(jobs: &TestJobs, what: &str) -> JobId {
    jobs.enqueue(Act { what: what.into() }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_before_a_drain_and_no_time_passes_by_itself() {
    let (jobs, log) = set_up();
    let (start, at) = (Instant::now(), jobs.now());
    enqueue(&jobs, "one").await;
    sleep(HOUR).await;
    assert_eq!(lines(&log), [""; 0]);
    let report = jobs.drain().await;
    assert_eq!(lines(&log), ["one 1"]);
    assert_eq!(report.to_string(), "1 completed\n  act, attempt 1: completed");
    assert_eq!(start.elapsed(), HOUR);
    assert_eq!(jobs.now().duration_since(at).unwrap(), HOUR);
    assert!(jobs.drain().await.is_empty());
    assert_eq!(jobs.drain().await.to_string(), "nothing was due");
}

#[tokio::test(start_paused = true)]
async fn a_report_tells_how_every_run_ended() {
    let (jobs, log) = set_up();
    for what in ["ok", "flaky", "fail", "permanent", "discard", "panic"] {
        enqueue(&jobs, what).await;
    }
    jobs.enqueue(Charge { order: 1 }).await.unwrap();
    let report = jobs.drain().await;
    assert_eq!(
        report.to_string(),
        "2 completed, 1 discarded, 1 poisoned, 3 retried\n  \
         act, attempt 1: completed\n  \
         act, attempt 1: retried in 10m: not yet\n  \
         act, attempt 1: retried in 10m: no luck\n  \
         act, attempt 1: poisoned (permanent error): never\n  \
         act, attempt 1: discarded: not needed\n  \
         act, attempt 1: retried in 10m: the job panicked: at the disco\n  \
         charge, attempt 1: completed"
    );
    assert_eq!((report.completed(), report.retried(), report.poisoned()), (2, 3, 1));
    assert_eq!((report.discarded(), report.lost(), report.snoozed()), (1, 0, 0));
    assert_eq!(report.of::<Charge>().completed(), 1);
    assert_eq!(report.of::<Act>().runs().len(), 6);
    assert_poisoned!(jobs, Act { what: "permanent" });
    assert_enqueued!(jobs, Act, count = 3, delay = 10 * MINUTE);
    assert_eq!(lines(&log).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_drain_runs_what_is_due_and_no_more() {
    let (jobs, log) = set_up();
    let start = Instant::now();
    enqueue(&jobs, "follow").await;
    enqueue(&jobs, "flaky").await;
    let report = jobs.drain().await;
    // The follower is at `bank`, where the worker knows the job, too.
    assert_eq!(lines(&log), ["follow 1", "flaky 1", "follower 1"]);
    assert_eq!(report.completed(), 2);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_enqueued!(jobs, Act { what: "later" }, delay = HOUR);
}

#[tokio::test(start_paused = true)]
async fn time_goes_to_the_next_job_and_no_further() {
    let (jobs, log) = set_up();
    assert_eq!(jobs.advance_to_next().await, None);
    enqueue(&jobs, "flaky").await;
    assert_eq!(jobs.advance_to_next().await, Some(Duration::ZERO));
    jobs.drain().await;
    jobs.enqueue(Charge { order: 1 }).delay(3 * MINUTE).await.unwrap();
    let start = Instant::now();
    assert_eq!(jobs.advance_to_next().await, Some(3 * MINUTE));
    assert_eq!(start.elapsed(), 3 * MINUTE);
    assert_eq!(lines(&log), ["flaky 1"]);
    assert_eq!(jobs.drain().await.runs().len(), 1);
    assert_eq!(jobs.advance_to_next().await, Some(7 * MINUTE));
    jobs.drain().await;
    assert_eq!(lines(&log), ["charge 1", "flaky 2"]);

    jobs.advance(10 * MINUTE - SECOND).await;
    assert!(jobs.drain().await.is_empty());
    jobs.advance(SECOND).await;
    assert_eq!(jobs.drain().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_in_the_order_in_which_they_are_due() {
    let (jobs, log) = set_up();
    jobs.enqueue(Charge { order: 3 }).delay(3 * SECOND).await.unwrap();
    jobs.enqueue(Act { what: "b".into() }).delay(2 * SECOND).await.unwrap();
    jobs.enqueue(Charge { order: 1 }).await.unwrap();
    enqueue(&jobs, "a").await;
    jobs.advance(MINUTE).await;
    let id = enqueue(&jobs, "last").await;
    let first = jobs.run_one().await.unwrap();
    assert!(first.is::<Charge>() && first.ended == Ended::Completed && first.attempt == 1);
    assert_eq!(lines(&log), ["charge 1"]);
    let mut last = None;
    while let Some(ran) = jobs.run_one().await {
        last = Some(ran);
    }
    assert_eq!(lines(&log), ["a 1", "b 1", "charge 3", "last 1"]);
    assert_eq!(last.unwrap().id, Some(id));
}

#[tokio::test(start_paused = true)]
async fn all_retries_until_nothing_is_left() {
    let (jobs, log) = set_up();
    let start = Instant::now();
    enqueue(&jobs, "fail").await;
    enqueue(&jobs, "flaky").await;
    let report = jobs.drain_all().await;
    assert_eq!((report.retried(), report.completed(), report.poisoned()), (4, 1, 1), "{report}");
    assert_eq!(start.elapsed(), 20 * MINUTE);
    assert_eq!(lines(&log).len(), 6);
    assert_poisoned!(
        jobs,
        Act { what: "fail" },
        reason = PoisonReason::AttemptsExhausted,
        error = "no luck",
        attempts = 3
    );
}

#[tokio::test(start_paused = true)]
async fn handlers_may_take_their_time() {
    let (jobs, log) = set_up();
    let start = Instant::now();
    jobs.enqueue(Charge { order: 1 }).delay(5 * SECOND).await.unwrap();
    enqueue(&jobs, "slow").await;
    // It is due by the time that the slow one is done.
    assert_eq!(jobs.drain().await.completed(), 2);
    assert_eq!(start.elapsed(), 7 * SECOND);

    lines(&log);
    enqueue(&jobs, "hang").await;
    let report = jobs.drain().await;
    assert_eq!(
        report.runs()[0].ended.to_string(),
        "retried in 10m: the job timed out after 30m; give it a longer timeout or less to do"
    );
}

/// Real work on another thread must not let the clock jump to the job's timeout.
#[job(timeout = "1s")]
async fn compute() -> Result<(), JobError> {
    let nap = || std::thread::sleep(Duration::from_millis(30));
    tokio::task::spawn_blocking(nap).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn work_on_other_threads_takes_no_time() {
    let jobs = TestJobs::new();
    jobs.enqueue(Compute).await.unwrap();
    let start = Instant::now();
    assert_eq!(jobs.drain().await.completed(), 1);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_snooze_uses_up_no_attempt() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "snooze").await;
    let report = jobs.drain().await;
    assert_eq!(report.to_string(), "1 snoozed\n  act, attempt 1: snoozed for 1h");
    assert_enqueued!(jobs, Act { what: "snooze" }, delay = HOUR);
    assert_eq!(jobs.drain_all().await.completed(), 1);
    assert_eq!(lines(&log), ["snooze 1", "snooze 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_dropped() {
    let (jobs, log) = set_up();
    jobs.enqueue(Charge { order: 1 }).expires_in(MINUTE).await.unwrap();
    jobs.advance(2 * MINUTE).await;
    let report = jobs.drain().await;
    assert_eq!((report.expired(), report.runs().len()), (1, 1), "{report}");
    assert_eq!(lines(&log), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn delays_of_weeks_are_one_step() {
    let (jobs, _log) = set_up();
    jobs.enqueue(Charge { order: 1 }).delay(30 * DAY).await.unwrap();
    assert_enqueued!(jobs, Charge, delay = 30 * DAY);
    jobs.advance(30 * DAY).await;
    assert_eq!(jobs.drain().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_moment_is_a_moment_of_the_queues() {
    let (jobs, _log) = set_up();
    jobs.advance(DAY).await;
    jobs.enqueue(Charge { order: 1 }).at(jobs.now() + HOUR).await.unwrap();
    assert_enqueued!(jobs, Charge, delay = HOUR);
    assert_eq!(jobs.advance_to_next().await, Some(HOUR));
    assert_eq!(jobs.drain().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_dropped_is_a_crash_and_the_next_one_goes_on() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "slow").await;
    jobs.enqueue(Charge { order: 1 }).await.unwrap();
    let cut = tokio::time::timeout(3 * SECOND, jobs.drain()).await;
    assert!(cut.is_err());
    let report = jobs.drain().await;
    assert_eq!(report.to_string(), "1 completed\n  charge, attempt 1: completed");
    assert_eq!(jobs.drain_all().await.completed(), 1);
    assert_eq!(lines(&log), ["slow 1", "charge 1", "slow 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_its_data_is_found_when_it_is_due() {
    let (jobs, _log) = set_up();
    jobs.enqueue(Lonely).delay(MINUTE).await.unwrap();
    assert!(jobs.drain().await.is_empty());
    jobs.advance(MINUTE).await;
    let expected = "job `lonely` needs Data<core::sync::atomic::AtomicU32>, which the worker was \
                    not given; add `.data(..)`, or `.data_arc(..)` for a trait object to the \
                    builder of `TestJobs`";
    assert_eq!(said_by(jobs.drain()).await, expected);
    assert_eq!(said_by(jobs.run_one()).await, expected);
    assert_eq!(said(|| drop(jobs.perform(Lonely))), expected);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_serves_is_told_and_left_alone() {
    let (jobs, _log) = set_up();
    jobs.enqueue(Elsewhere { n: 1 }).await.unwrap();
    jobs.enqueue(Elsewhere { n: 2 }).await.unwrap();
    jobs.enqueue(Elsewhere { n: 3 }).delay(HOUR).await.unwrap();
    assert_eq!(
        jobs.drain().await.to_string(),
        "nothing was due\n  2 due on queue `elsewhere`, which this worker does not serve"
    );
    assert_enqueued!(jobs, Elsewhere { n: 2 });
    let report = jobs.drain().await;
    let unserved: Vec<_> = report.unserved().map(|(name, n)| (name.as_str(), n)).collect();
    assert_eq!(unserved, [("elsewhere", 2)]);
    // On a queue that is served, a job that nobody knows is put back.
    jobs.enqueue(Elsewhere { n: 4 }).queue("bank").await.unwrap();
    let report = jobs.drain().await;
    assert_eq!((report.put_back(), report.runs().len()), (1, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_the_set_up_are_found_at_once() {
    let broken = || {
        let builder = TestJobs::builder().data(1_u8).data(2_u8);
        builder.worker(|worker| worker.queue(Queue::new("mail").lease(Duration::ZERO))).build()
    };
    let said = said(broken);
    assert!(said.starts_with("the worker of this test cannot be built: "), "{said}");
    assert!(said.contains("two values for Data<u8>") && said.contains("the lease of"), "{said}");
    let said = self::said(|| TestJobs::builder().default_queue("no good").build());
    assert!(said.starts_with("`.default_queue(\"no good\")`: "), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_enqueues_itself_for_ever() {
    #[job]
    async fn again(cx: JobContext) -> Result<(), JobError> {
        cx.client().enqueue(Again).await?;
        Ok(())
    }
    let jobs = TestJobs::new();
    jobs.enqueue(Again).await.unwrap();
    assert_eq!(
        said_by(jobs.drain()).await,
        "10000 jobs have run and there are still some due, the last: again, attempt 1: completed; \
         does a job enqueue itself, or come again at once for ever? `run_one` runs one at a time"
    );
    assert!(jobs.run_one().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn jobs_as_values() {
    let (jobs, _log) = set_up();
    let enqueue = jobs.enqueue(Act { what: "flaky".into() }).meta("tenant", "acme");
    let id = enqueue.await.unwrap();
    jobs.enqueue(Act { what: "permanent".into() }).await.unwrap();
    jobs.drain().await;
    let all = jobs.all_enqueued::<Act>();
    assert_eq!((all.len(), &*all[0].what, all[0].id), (1, "flaky", id));
    assert_eq!((all[0].queue.as_str(), all[0].delay, all[0].attempt), ("mail", 10 * MINUTE, 2));
    assert_eq!((all[0].meta("tenant"), all[0].meta("x")), (Some("acme"), None));
    assert_eq!((all[0].error.as_deref(), all[0].reason), (Some("not yet"), None));
    let poisoned = jobs.all_poisoned::<Act>();
    assert_eq!((poisoned.len(), &*poisoned[0].what), (1, "permanent"));
    assert_eq!(poisoned[0].reason, Some(PoisonReason::Permanent));
    assert!(!format!("{:?}", all[0]).contains("flaky"));
}

#[tokio::test(start_paused = true)]
async fn the_poison_queue_is_the_real_one() {
    let (jobs, log) = set_up();
    enqueue(&jobs, "permanent").await;
    jobs.drain().await;
    let poison = jobs.client().poison("mail").unwrap();
    assert_eq!(poison.count().await.unwrap(), 1);
    assert_eq!(poison.replay().await.unwrap().replayed(), 1);
    assert!(jobs.all_poisoned::<Act>().is_empty());
    assert_eq!(jobs.drain().await.poisoned(), 1);
    poison.purge().await.unwrap();
    assert!(jobs.all_poisoned::<Act>().is_empty());
    assert_eq!(lines(&log), ["permanent 1", "permanent 1"]);
}

#[tokio::test(start_paused = true)]
async fn raw_messages_are_known_by_their_queue() {
    let (jobs, log) = set_up_with(|worker| {
        let queues = ["mail", "bank"].map(Queue::new);
        let worker = queues.into_iter().fold(worker, WorkerBuilder::queue);
        worker.queue(Queue::new("inbox").raw::<Act>().backoff(Backoff::fixed(MINUTE)))
    });
    jobs.enqueue(Act { what: "flaky".into() }).queue("inbox").raw().await.unwrap();
    assert_enqueued!(jobs, Act { what: "flaky" }, queue = "inbox");
    refute_enqueued!(jobs, Act { what: "flaky" }, queue = "mail");
    let report = jobs.drain_all().await;
    assert_eq!((report.of::<Act>().retried(), report.completed()), (2, 1), "{report}");
    assert_eq!(lines(&log), ["flaky 1", "flaky 2", "flaky 3"]);
    jobs.enqueue(Act { what: "fail".into() }).queue("inbox").raw().await.unwrap();
    assert_eq!(jobs.drain_all().await.poisoned(), 1);
}

#[tokio::test(start_paused = true)]
async fn several_do_not_see_one_another() {
    let ((a, log_a), (b, log_b)) = (set_up(), set_up());
    enqueue(&a, "a").await;
    enqueue(&b, "b").await;
    refute_enqueued!(a, Act { what: "b" });
    let (ran_a, ran_b) = tokio::join!(a.drain(), b.drain());
    assert_eq!((ran_a.completed(), ran_b.completed()), (1, 1));
    assert_eq!((lines(&log_a), lines(&log_b)), (vec!["a 1".to_owned()], vec!["b 1".to_owned()]));
    assert!(a.drain().await.is_empty());
}

/// Threads with a clock each, all at once.
#[test]
fn tests_in_parallel_do_not_see_one_another() {
    let ran: BTreeSet<_> = std::thread::scope(|scope| {
        let threads = (0..8_u64).map(|n| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .start_paused(true)
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let (jobs, log) = set_up();
                    for _ in 0..n {
                        enqueue(&jobs, "flaky").await;
                    }
                    jobs.enqueue(Charge { order: n }).delay(HOUR).await.unwrap();
                    assert_eq!(jobs.drain_all().await.completed() as u64, n + 1);
                    let lines = lines(&log);
                    assert_eq!(lines.len() as u64, 3 * n + 1);
                    lines.into_iter().next_back().unwrap()
                })
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ran.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_drain_can_be_spawned_and_two_take_turns() {
    let (jobs, log) = set_up();
    for n in 0..5 {
        enqueue(&jobs, &n.to_string()).await;
    }
    let jobs = Arc::new(jobs);
    let other = tokio::spawn({
        let jobs = Arc::clone(&jobs);
        async move { jobs.drain().await }
    });
    let (own, other) = (jobs.drain().await, other.await.unwrap());
    assert_eq!(own.completed() + other.completed(), 5);
    assert_eq!(lines(&log).len(), 5);
}

#[tokio::test]
async fn on_the_real_clock_the_time_of_the_queues_can_be_put_forward() {
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder().data_arc(Arc::clone(&log)).real_clock().build();
    let start = Instant::now();
    enqueue(&jobs, "flaky").await;
    jobs.enqueue(Charge { order: 1 }).delay(3 * DAY).await.unwrap();
    assert_eq!(jobs.drain().await.retried(), 1);
    let wait = jobs.advance_to_next().await.unwrap();
    assert!(wait <= 10 * MINUTE && wait > 9 * MINUTE, "{wait:?}");
    assert_eq!(jobs.drain().await.retried(), 1);
    jobs.advance(DAY).await;
    assert_eq!(jobs.drain().await.completed(), 1);
    assert_eq!(jobs.drain_all().await.of::<Charge>().completed(), 1);
    assert_eq!(lines(&log), ["flaky 1", "flaky 2", "flaky 3", "charge 1"]);

    // A worker that was killed holds its lease by the same clock.
    jobs.kill_mid_run::<Charge>();
    jobs.enqueue(Charge { order: 2 }).await.unwrap();
    assert_eq!(jobs.drain_all().await.completed(), 1);
    assert_eq!(lines(&log), ["charge 2", "charge 2"]);
    assert!(start.elapsed() < 5 * SECOND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads() {
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder().data_arc(Arc::clone(&log)).real_clock().build();
    for n in 0..50 {
        jobs.enqueue(Charge { order: n }).await.unwrap();
        enqueue(&jobs, "flaky").await;
    }
    for _ in 0..5 {
        jobs.kill_mid_run::<Charge>();
        jobs.kill_before_settle::<Act>();
        jobs.lose_lease::<Charge>();
    }
    let report = jobs.drain_all().await;
    assert_eq!((report.completed(), report.lost(), report.retried()), (100, 15, 100), "{report}");
    assert_eq!(lines(&log).len(), 50 + 150 + 15);
}

#[tokio::test]
async fn delays_shorter_than_the_queues_can_tell_apart() {
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder().data_arc(log).real_clock().build();
    for micros in [2_414_300, 1, 999_999] {
        let delay = Duration::from_micros(micros);
        jobs.enqueue(Charge { order: 1 }).delay(delay).await.unwrap();
        jobs.advance_to_next().await;
        assert_eq!(jobs.drain().await.completed(), 1);
    }
}

/// A socket that is slow for real: under a paused clock the time limit would come first.
#[job(max_attempts = 2, backoff = fixed("1h"))]
async fn knock(port: u16) -> Result<(), JobError> {
    use tokio::io::AsyncReadExt;
    let answer = async {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let answer = tokio::time::timeout(20 * SECOND, answer).await??;
    if answer == "come in" { Ok(()) } else { Err(answer.into()) }
}

#[tokio::test]
async fn on_the_real_clock_a_test_may_hold_sockets() {
    use std::io::Write;
    let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    let doorman = std::thread::spawn(move || {
        for answer in ["go away", "come in"] {
            let (mut guest, _) = door.accept().unwrap();
            std::thread::sleep(Duration::from_millis(50));
            guest.write_all(answer.as_bytes()).unwrap();
        }
    });
    let jobs = TestJobs::builder().real_clock().build();
    jobs.enqueue(Knock { port }).await.unwrap();
    let report = jobs.drain().await;
    assert_eq!(report.to_string(), "1 retried\n  knock, attempt 1: retried in 1h: go away");
    jobs.advance_to_next().await;
    assert_eq!(jobs.drain().await.completed(), 1);
    doorman.join().unwrap();
}

#[tokio::test]
async fn a_clock_that_is_not_paused_is_told() {
    let said = said(TestJobs::new);
    assert!(said.starts_with("the clock is not paused, so delays would be waited for: "), "{said}");
    assert!(said.contains("#[tokio::test(start_paused = true)]"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_paused_by_mistake_is_told() {
    let said = said(|| TestJobs::builder().real_clock().build());
    assert!(said.starts_with("the clock is paused, so the timeouts of sockets"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn inline_jobs_run_within_the_call() {
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder().data_arc(Arc::clone(&log)).inline().build();
    enqueue(&jobs, "one").await;
    assert_eq!(lines(&log), ["one 1"]);
    refute_enqueued!(jobs, Act);

    let error = jobs.enqueue(Act { what: "fail".into() }).await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Rejected);
    let backend = error.source().unwrap();
    assert!(backend.to_string().ends_with("the job ran inline and failed: no luck)"), "{backend}");
    assert_eq!(backend.source().unwrap().to_string(), "no luck");
    jobs.enqueue(Act { what: "permanent".into() }).await.unwrap_err();
    assert!(jobs.all_poisoned::<Act>().is_empty() && jobs.all_enqueued::<Act>().is_empty());

    // What the handler enqueues runs within it, and what is not due waits.
    lines(&log);
    enqueue(&jobs, "follow").await;
    assert_eq!(lines(&log), ["follow 1", "follower 1"]);
    assert_enqueued!(jobs, Act { what: "later" }, delay = HOUR, count = 1);
    enqueue(&jobs, "discard").await;
    lines(&log);
    enqueue(&jobs, "snooze").await;
    assert_enqueued!(jobs, Act { what: "snooze" }, delay = HOUR, count = 1);
    jobs.advance(HOUR).await;
    assert_eq!(jobs.drain().await.completed(), 2);
    let results =
        jobs.client().enqueue_all(["a", "fail", "b"].map(|what| Act { what: what.into() }));
    let error = results.await.unwrap_err();
    assert_eq!(error.errors().count(), 1);
}

/// An error with all of its sources.
fn chain(error: &(dyn Error + 'static)) -> String {
    let sources = std::iter::successors(Some(error), |&error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_inline_fails_its_enqueue() {
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder().data_arc(Arc::clone(&log)).inline().build();
    for twice in [jobs.enqueue(Lonely).await, jobs.enqueue(Lonely).await] {
        let error = chain(&twice.unwrap_err());
        assert!(
            error.contains("job `lonely` needs Data<core::sync::atomic::AtomicU32>"),
            "{error}"
        );
        assert!(error.contains("to the builder of `TestJobs`"), "{error}");
    }
    let error = chain(&jobs.enqueue(Elsewhere { n: 1 }).await.unwrap_err());
    assert!(error.contains("does not serve queue `elsewhere`"), "{error}");
    enqueue(&jobs, "one").await;
    let unknown = jobs.enqueue(Elsewhere { n: 1 }).queue("mail").await;
    let error = chain(&unknown.unwrap_err());
    assert!(error.contains("`elsewhere`: no handler of that name"), "{error}");
    refute_enqueued!(jobs, Elsewhere);
    refute_enqueued!(jobs, Lonely);

    // What is not due is not run.
    jobs.enqueue(Elsewhere { n: 2 }).delay(HOUR).await.unwrap();
    jobs.enqueue(Lonely).delay(HOUR).await.unwrap();
    assert_enqueued!(jobs, Elsewhere { n: 2 });

    // A worker that is for some jobs only leaves the others to others.
    let builder = TestJobs::builder().data_arc(log).inline();
    let jobs = builder.worker(|worker| worker.jobs(["act"])).build();
    jobs.enqueue(Charge { order: 1 }).await.unwrap();
    jobs.enqueue(Lonely).queue("mail").await.unwrap();
    assert_enqueued!(jobs, Charge { order: 1 });
    assert_enqueued!(jobs, Lonely);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_for_other_workers_are_left_alone() {
    let (jobs, _log) = set_up_with(|worker| worker.queue(Queue::new("mail")));
    jobs.enqueue(Lonely).await.unwrap();
    enqueue(&jobs, "one").await;
    let report = jobs.drain().await;
    assert_eq!(
        report.to_string(),
        "1 completed\n  act, attempt 1: completed\n  \
         1 due on queue `default`, which this worker does not serve"
    );
    let (jobs, _log) = set_up_with(|worker| worker.jobs(["act"]));
    jobs.enqueue(Lonely).queue("mail").await.unwrap();
    assert_eq!(jobs.drain().await.put_back(), 1);
}

/// Enqueues the next of its kind.
#[job(queue = "deep")]
async fn dig(depth: u32, cx: JobContext) -> Result<(), JobError> {
    if depth > 0 {
        cx.client().enqueue(Dig { depth: depth - 1 }).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn inline_jobs_may_enqueue_others_but_not_without_end() {
    let jobs = TestJobs::builder().inline().build();
    jobs.enqueue(Dig { depth: 19 }).await.unwrap();
    let error = chain(&jobs.enqueue(Dig { depth: 80 }).await.unwrap_err());
    assert!(error.contains("jobs enqueue jobs more than 20 deep; use `drain`"), "{error}");
}

/// An app that enqueues jobs of its own.
struct App {
    client: Client,
}

#[job(queue = "app")]
async fn greet(app: Data<App>) -> Result<(), JobError> {
    app.client.enqueue(Elsewhere { n: 7 }).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_handlers_share_may_hold_the_client() {
    let builder = TestJobs::builder().worker(|worker| {
        let app = App { client: worker.client().clone() };
        worker.data(app)
    });
    let jobs = builder.build();
    jobs.enqueue(Greet).await.unwrap();
    assert_eq!(jobs.drain().await.completed(), 1);
    assert_enqueued!(jobs, Elsewhere { n: 7 });
}

/// Its delays are random.
#[job(queue = "jitter", max_attempts = 6, backoff = exponential("10s", "10m"))]
async fn fidget(n: u32, log: Data<Log>, cx: JobContext) -> Result<(), JobError> {
    log.lock().unwrap().push(format!("fidget {n} {}", cx.attempt()));
    Err("again".into())
}

#[test]
fn the_same_order_every_time() {
    let run = || {
        let paused = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().start_paused(true).build().unwrap().block_on(async {
                let (jobs, log) = set_up();
                for n in 0..5 {
                    jobs.enqueue(Fidget { n }).await.unwrap();
                }
                let report = jobs.drain_all().await.to_string();
                (lines(&log), report)
            })
        };
        std::thread::spawn(paused).join().unwrap()
    };
    let first = run();
    assert_eq!(first.0.len(), 30);
    for _ in 0..50 {
        assert_eq!(run(), first);
    }
}

#[test]
fn without_a_runtime_the_clock_is_asked_for() {
    let said = said(TestJobs::new);
    assert!(said.starts_with("the clock is not paused"), "{said}");
}

#[tokio::test]
async fn another_backend_has_names_of_the_tests_own() {
    let shared = MemoryBackend::new();
    let jobs = |log: &Arc<Log>| {
        TestJobs::builder().data_arc(Arc::clone(log)).backend(shared.clone()).real_clock().build()
    };
    let (log_a, log_b) = (Arc::new(Log::default()), Arc::new(Log::default()));
    let (a, b) = (jobs(&log_a), jobs(&log_b));
    enqueue(&a, "a").await;
    enqueue(&b, "b").await;
    enqueue(&b, "permanent").await;
    assert_eq!(a.drain().await.completed(), 1);
    let report = b.drain().await;
    assert_eq!((report.completed(), report.poisoned()), (1, 1));
    assert_eq!(lines(&log_a), ["a 1"]);
    assert_eq!(lines(&log_b), ["b 1", "permanent 1"]);
    assert_poisoned!(b, Act { what: "permanent" });
    assert_eq!(b.client().poison("mail").unwrap().list(5).await.unwrap().len(), 1);
    assert_eq!(a.client().poison("mail").unwrap().count().await.unwrap(), 0);

    // Time is that of the other backend: it is waited for, but not for ever.
    let start = Instant::now();
    a.enqueue(Charge { order: 1 }).delay(SECOND / 20).await.unwrap();
    a.advance_to_next().await;
    assert!(start.elapsed() >= SECOND / 20);
    assert_eq!(a.drain().await.completed(), 1);
    a.enqueue(Charge { order: 2 }).delay(HOUR).await.unwrap();
    let said = said_by(a.advance_to_next()).await;
    assert!(said.starts_with("the next job is due in ") && said.contains("waited for"), "{said}");
}
