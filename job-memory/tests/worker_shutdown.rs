//! The end of a worker: in good order, in time, and with nothing lost or charged.

mod common;

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::*;
use job_core::backend::ErrorKind;
use job_core::{Client, JobContext, JobError, Queue, Report, Worker};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

const GRACE: Duration = Duration::from_secs(5);

/// Hangs, unless told otherwise: "sleep 3" ends after 3 s, "polite" when it is cancelled.
fn various() -> (Arc<Script>, Heard) {
    told(|order, cx: JobContext| async move {
        match order.split_once(' ') {
            Some(("sleep", seconds)) => sleep(SECOND * seconds.parse().unwrap()).await,
            _ if order == "polite" => cx.cancellation().cancelled().await,
            _ if order == "sulky" => {
                cx.cancellation().cancelled().await;
                return Err(JobError::permanent("cancelled"));
            }
            _ => pending().await,
        }
        Ok(())
    })
}

async fn timed(worker: Running) -> (Report, Duration) {
    let begin = Instant::now();
    let report = worker.report().await;
    (report, begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_at_once() {
    for wakes in [true, false] {
        let spy = spied().await.claim(|capabilities| capabilities.wakes = wakes);
        let (script, _heard) = various();
        let worker = start(spy.clone(), script);
        sleep(MINUTE).await;
        worker.handle.shutdown();
        let (report, took) = timed(worker).await;
        assert_eq!(report.to_string(), "nothing to do");
        assert!(took < SECOND / 100, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_stopped_before_it_ran_runs_nothing() {
    let backend = memory().await;
    put_jobs(&backend, ["a"]).await;
    let (script, mut heard) = various();
    let worker = builder(backend.clone(), script).build().unwrap();
    worker.handle().shutdown();
    assert_eq!(worker.run().await.unwrap().received(), 0);
    heard.nothing();
}

#[tokio::test(start_paused = true)]
async fn running_jobs_finish_within_the_grace_time() {
    let backend = memory().await;
    let (script, mut heard) = various();
    put_jobs(&backend, ["sleep 1", "sleep 4"]).await;
    let worker = start(backend.clone(), script);
    heard.take(2).await;
    worker.handle.shutdown();
    // Too late to be started.
    put_jobs(&backend, ["sleep 0"]).await;
    let (report, took) = timed(worker).await;
    assert_eq!(report.to_string(), "2 received, 2 started, 2 completed");
    assert_eq!(took.as_secs(), 4);
    assert_eq!((total(&backend, WORK).await, visible(&backend, WORK).await), (1, 1));
    heard.nothing();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_done_in_time_is_given_back_visible_and_not_charged() {
    let backend = memory().await;
    let (script, mut heard) = various();
    put_jobs(&backend, ["hang", "sulky", "sleep 2"]).await;
    let worker = start(backend.clone(), script);
    heard.take(3).await;
    worker.handle.shutdown();
    let (report, took) = timed(worker).await;
    assert!((GRACE..=GRACE + SECOND).contains(&took), "{took:?}");
    assert_eq!((report.completed(), report.given_back(), report.abandoned()), (1, 2, 0));
    assert_eq!((report.retried(), report.poisoned()), (0, 0));
    assert_eq!(visible(&backend, WORK).await, 2);
    for body in bodies(&backend, WORK).await {
        let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(envelope["history"]["given_back"], 1);
        assert!(envelope["history"]["failed"].is_null() && envelope["errors"].is_null());
    }
    let (script, mut heard) = obedient();
    let worker = start(backend.clone(), script);
    let mut runs = heard.take(2).await;
    runs.sort();
    assert_eq!(runs, [("hang".into(), 1), ("sulky".into(), 1)]);
    drained(&backend, WORK).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_finishes_when_it_is_cancelled_is_done() {
    let backend = memory().await;
    let (script, mut heard) = various();
    put_jobs(&backend, ["polite"]).await;
    let worker = start(backend.clone(), script);
    heard.take(1).await;
    worker.handle.shutdown();
    let (report, _) = timed(worker).await;
    assert_eq!((report.completed(), report.given_back()), (1, 0));
    assert_eq!(total(&backend, WORK).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_deploys_charge_nobody() {
    let backend = memory().await;
    put_job(&backend, &with(job("hang"), "options", serde_json::json!({"max_attempts": 1}))).await;
    for _ in 0..100 {
        let (script, mut heard) = various();
        let worker = Running::new(builder(backend.clone(), script).grace(SECOND));
        assert_eq!(heard.next().await.attempt, 1);
        assert_eq!(worker.stop().await.given_back(), 1);
    }
    assert_eq!(total(&backend, "work-poison").await, 0);
    let body = only(bodies(&backend, WORK).await);
    let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(envelope["history"]["given_back"], 100);
    assert!(envelope["history"]["crashed"].is_null());
}

#[tokio::test(start_paused = true)]
async fn now_skips_the_grace_time() {
    for later in [false, true] {
        let backend = memory().await;
        let (script, mut heard) = various();
        put_jobs(&backend, ["hang"]).await;
        let worker = start(backend.clone(), script);
        heard.take(1).await;
        let begin = Instant::now();
        if later {
            worker.handle.shutdown();
            sleep(SECOND).await;
            assert!(!worker.is_finished());
        }
        worker.handle.shutdown_now();
        worker.handle.shutdown();
        let (report, _) = timed(worker).await;
        assert_eq!(report.given_back(), 1);
        assert!(begin.elapsed() < 2 * SECOND, "{:?}", begin.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_grace_of_zero_is_no_grace() {
    let backend = memory().await;
    let (script, mut heard) = various();
    put_jobs(&backend, ["hang", "polite"]).await;
    let worker = Running::new(builder(backend.clone(), script).grace(Duration::ZERO));
    heard.take(2).await;
    worker.handle.shutdown();
    let (report, took) = timed(worker).await;
    assert_eq!((report.given_back(), report.completed()), (1, 1));
    assert!(took < SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_received_and_not_started_is_given_back() {
    let spy = spied().await;
    let (script, mut heard) = various();
    let worker = start(spy.clone(), script);
    sleep(SECOND).await;
    // The messages are on their way while the signal comes.
    spy.rule(|request| if request.op == Op::Receive { Fate::Slow(SECOND) } else { Fate::Pass });
    put_jobs(&spy, ["a", "b", "c"]).await;
    put(&spy, WORK, "rubbish").await;
    reached(|| async { visible(&spy, WORK).await == 0 }).await;
    worker.handle.shutdown();
    let (report, took) = timed(worker).await;
    heard.nothing();
    assert!(took <= SECOND, "{took:?}");
    assert_eq!(report.to_string(), "4 received, 4 given back");
    assert_eq!(visible(&spy, WORK).await, 4);
    // Their deliveries are accounted for: no start needs to be marked.
    spy.heal();
    let (script, mut heard) = obedient();
    let replaced = spy.count(Op::Replace);
    let worker = start(spy.clone(), script);
    heard.take(3).await;
    drained(&spy, WORK).await;
    // That of the rubbish, its fence.
    assert_eq!(spy.count(Op::Replace) - replaced, 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_after_the_signal_not_even_what_was_just_marked() {
    let spy = spied().await;
    let (script, mut heard) = various();
    put_jobs(&spy, ["hang"]).await;
    assert_eq!(steal(&spy.inner, WORK, SECOND).await, 1);
    spy.rule(|request| match request.op {
        Op::Replace if request.nth == 0 => Fate::Slow(3 * SECOND),
        _ => Fate::Pass,
    });
    let worker = start(spy.clone(), script);
    reached(|| async { spy.count(Op::Replace) == 1 }).await;
    worker.handle.shutdown();
    let (report, _) = timed(worker).await;
    heard.nothing();
    assert_eq!((report.started(), report.given_back()), (0, 1));
    let envelope: serde_json::Value =
        serde_json::from_slice(&only(bodies(&spy, WORK).await)).unwrap();
    assert!(envelope["history"]["started"].is_null(), "{envelope}");
    assert_eq!(envelope["history"]["given_back"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_or_hangs_does_not_hold_the_worker_up() {
    for fate in [Fate::Refuse(ErrorKind::Unavailable), Fate::Hang, Fate::Lose, Fate::Panic] {
        let spy = spied().await;
        let (script, mut heard) = various();
        put_jobs(&spy, ["sleep 1", "sleep 3", "hang"]).await;
        let worker = start(spy.clone(), script);
        heard.take(3).await;
        spy.rule(move |_| fate);
        sleep(2 * SECOND).await;
        worker.handle.shutdown();
        let (report, took) = timed(worker).await;
        assert!(took <= GRACE + 2 * SECOND, "{fate:?}: {took:?}");
        assert_eq!((report.completed(), report.abandoned()), (2, 0), "{fate:?}: {report}");
        // Nothing is lost by it.
        spy.heal();
        let (script, mut heard) = obedient();
        let worker = start(spy.clone(), script);
        drained(&spy, WORK).await;
        assert!(heard.take(1).await.iter().all(|(_, attempt)| *attempt == 1));
        assert_eq!(worker.stop().await.poisoned(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_run_until_something() {
    let backend = memory().await;
    let (script, mut heard) = various();
    put_jobs(&backend, ["sleep 2"]).await;
    let worker = builder(backend.clone(), script).build().unwrap();
    let (enough, until) = oneshot::channel::<()>();
    let run = tokio::spawn(worker.run_until(async {
        let _ = until.await;
    }));
    heard.next().await;
    enough.send(()).unwrap();
    assert_eq!(run.await.unwrap().unwrap().completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_stops_everything() {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let spy = spied().await;
    let dropped = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&dropped);
    let (script, mut heard) = told(move |_, _| {
        let guard = OnDrop(Arc::clone(&tell));
        async move {
            let _guard = guard;
            pending().await
        }
    });
    put_jobs(&spy, ["a"]).await;
    let worker = start(spy.clone(), script);
    heard.next().await;
    worker.kill().await;
    reached(|| async { dropped.load(SeqCst) }).await;
    // Neither received nor renewed any more.
    let requests = spy.count(Op::Receive) + spy.count(Op::Renew);
    sleep(HOUR).await;
    assert_eq!(spy.count(Op::Receive) + spy.count(Op::Renew), requests);
    assert_eq!(visible(&spy, WORK).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_made_is_an_error_unless_it_may_be_there() {
    let (script, _heard) = various();
    let spy = spied().await;
    spy.rule(|request| match request.op {
        Op::Create => Fate::Refuse(ErrorKind::Invalid),
        _ => Fate::Pass,
    });
    let error = builder(spy.clone(), script.clone()).build().unwrap().run().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "queue `work` can be neither found nor created; check the backend's settings"
    );
    // One that may not create, or not yet.
    for kind in [ErrorKind::Unauthorized, ErrorKind::Throttled] {
        let until = Instant::now() + MINUTE;
        spy.rule(move |request| match request.op {
            Op::Create if Instant::now() < until => Fate::Refuse(kind),
            _ => Fate::Pass,
        });
        put_jobs(&spy.inner, ["sleep 1"]).await;
        let worker = start(spy.clone(), script.clone());
        drained(&spy, WORK).await;
        assert_eq!(worker.stop().await.completed(), 1);
    }
    // A shutdown ends the wait for it.
    spy.rule(|_| Fate::Refuse(ErrorKind::Throttled));
    let worker = start(spy.clone(), script);
    sleep(MINUTE).await;
    assert_eq!(worker.stop().await, Report::default());
}

/// On real threads: a handler that blocks one of them cannot be stopped, and does not hold the
/// worker up.
#[test]
fn a_handler_that_blocks_its_thread_is_abandoned() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (free, blocked) = mpsc::channel::<()>();
    runtime.block_on(async {
        let backend = memory().await;
        let blocked = Mutex::new(Some(blocked));
        let (script, mut heard) = told(move |_, _| {
            let blocked = blocked.lock().unwrap().take().unwrap();
            async move {
                let _ = blocked.recv();
                Ok(())
            }
        });
        put_jobs(&backend, ["a"]).await;
        let settings = Queue::new(WORK).lease(MINUTE);
        let grace = Duration::from_millis(100);
        let worker = Running::new(builder(backend.clone(), script).queue(settings).grace(grace));
        heard.next().await;
        worker.handle.shutdown();
        let (report, took) = timed(worker).await;
        assert!(took < grace + 2 * SECOND, "{took:?}");
        assert_eq!((report.abandoned(), report.given_back(), report.completed()), (1, 0, 0));
        // It is hidden past the end of the process.
        assert_eq!((total(&backend, WORK).await, visible(&backend, WORK).await), (1, 0));
    });
    drop(free);
}

#[test]
fn no_job_is_lost_or_charged_however_the_signal_falls() {
    // Real threads, and a signal at any moment.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let backend = memory().await;
        let client = Client::new(backend.clone());
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let script = script(move |_, cx| {
            let n = count.fetch_add(1, SeqCst);
            async move {
                assert_eq!(cx.attempt(), 1);
                if n.is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        });
        const JOBS: usize = 5000;
        client.enqueue_all((0..JOBS).map(|n| Act { order: n.to_string() })).await.unwrap();
        let mut completed = 0;
        let mut rounds = 0_u32;
        while completed < JOBS as u64 {
            rounds += 1;
            assert!(rounds < 100_000, "{completed}");
            let settings = Queue::new(WORK).concurrency(8);
            let worker = Worker::builder(&client)
                .data_arc(Arc::clone(&script))
                .queue(settings)
                .build()
                .unwrap();
            let handle = worker.handle();
            let run = tokio::spawn(worker.run());
            for _ in 0..rounds * 7 % 50 {
                tokio::task::yield_now().await;
            }
            let stopped = Instant::now();
            handle.shutdown();
            let report = run.await.unwrap().unwrap();
            assert!(stopped.elapsed() < SECOND, "{:?}: {report}", stopped.elapsed());
            assert_eq!(report.started(), report.completed());
            assert_eq!(report.received(), report.completed() + report.given_back(), "{report}");
            completed += report.completed();
        }
        assert_eq!((total(&backend, WORK).await, ran.load(SeqCst)), (0, JOBS));
    });
}

#[cfg(unix)]
mod signals {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const CHILD: &str = "WORKER_SHUTDOWN_CHILD";

    /// Not a test of its own: the process that the others send signals to.
    #[test]
    fn child() {
        let Ok(order) = std::env::var(CHILD) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = memory().await;
            put_jobs(&backend, [order]).await;
            let (tell, heard) = oneshot::channel();
            let tell = Mutex::new(Some(tell));
            let script = script(move |order, _| {
                let _ = tell.lock().unwrap().take().unwrap().send(());
                async move {
                    if order == "hang" {
                        pending::<()>().await;
                    }
                    sleep(Duration::from_millis(200)).await;
                    Ok(())
                }
            });
            let worker = builder(backend.clone(), script).grace(MINUTE).build().unwrap();
            let handle = worker.handle();
            let say = async {
                heard.await.unwrap();
                say("running");
                handle.stopping().await;
                say("stopping");
                pending::<()>().await;
            };
            let report = tokio::select! {
                report = worker.run_until_shutdown_signal() => report.unwrap(),
                () = say => unreachable!(),
            };
            say_all(&report, visible(&backend, WORK).await);
        });
    }

    #[expect(clippy::print_stdout, reason = "the parent reads it")]
    fn say(line: &str) {
        println!("\n# {line}");
    }

    fn say_all(report: &Report, visible: u64) {
        say(&format!("{report}; {visible} visible"));
    }

    struct Process {
        child: Child,
        lines: Box<dyn Iterator<Item = String>>,
    }

    impl Process {
        fn start(order: &str) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "signals::child", "--nocapture", "--test-threads=1"])
                .env(CHILD, order)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let lines = lines.map(Result::unwrap);
            let lines = lines.filter_map(|line| line.strip_prefix("# ").map(str::to_owned));
            Self { child, lines: Box::new(lines) }
        }

        fn line(&mut self) -> String {
            self.lines.next().expect("the child should say something")
        }

        fn signal(&self, signal: &str) {
            let pid = self.child.id().to_string();
            let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
            assert!(sent.success());
        }

        fn end(mut self) {
            assert!(self.child.wait().unwrap().success());
        }
    }

    #[test]
    fn sigterm_lets_running_jobs_finish() {
        let mut process = Process::start("short");
        assert_eq!(process.line(), "running");
        process.signal("-TERM");
        assert_eq!(process.line(), "stopping");
        assert_eq!(process.line(), "1 received, 1 started, 1 completed; 0 visible");
        process.end();
    }

    #[test]
    fn a_second_signal_skips_the_grace_time() {
        for (first, second) in [("-TERM", "-TERM"), ("-INT", "-TERM")] {
            let mut process = Process::start("hang");
            assert_eq!(process.line(), "running");
            process.signal(first);
            assert_eq!(process.line(), "stopping");
            process.signal(second);
            assert_eq!(process.line(), "1 received, 1 started, 1 given back; 1 visible");
            process.end();
        }
    }
}
