//! Leases: renewed while a job runs, never used once they are lost.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use common::*;
use job_core::backend::{Backend, ErrorKind};
use job_core::{Backoff, JobError, Queue};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep};

const LEASE: Duration = Duration::from_secs(30);

fn queue() -> Queue {
    Queue::new(WORK).lease(LEASE).backoff(Backoff::fixed(SECOND)).timeout(HOUR)
}

/// Runs until it is dropped, and tells when that was.
fn hanging() -> (Arc<Script>, Heard, tokio::sync::mpsc::UnboundedReceiver<Duration>) {
    struct Tell(tokio::sync::mpsc::UnboundedSender<Duration>, Instant);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(self.1.elapsed());
        }
    }
    let (tell, ends) = unbounded_channel();
    let (script, heard) = told(move |_, cx| {
        let tell = Tell(tell.clone(), Instant::now());
        async move {
            let _tell = tell;
            if cx.attempt() == 1 && cx.meta("again").is_none() {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    (script, heard, ends)
}

#[tokio::test(start_paused = true)]
async fn a_job_of_many_leases_runs_once() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async {
        sleep(7 * LEASE / 2).await;
        Ok(())
    });
    put_jobs(&spy, ["a", "b", "c"]).await;
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    drained(&spy, WORK).await;
    heard.take(3).await;
    heard.nothing();
    // A third of a lease at most between two renewals, and all of them in one request.
    let renewals = spy.requests(Op::Renew);
    assert!((10..=14).contains(&renewals.len()), "{}", renewals.len());
    assert!(renewals.iter().all(|renewal| renewal.items == 3));
    for pair in renewals.windows(2) {
        assert!(pair[1].at - pair[0].at <= LEASE / 3 + SECOND);
    }
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.started(), report.lease_lost()), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn workers_that_started_together_do_not_renew_together() {
    let mut moments = Vec::new();
    for _ in 0..8 {
        let spy = spied().await;
        let (script, mut heard) = told(|_, _| async {
            sleep(LEASE).await;
            Ok(())
        });
        put_jobs(&spy, ["a"]).await;
        let worker = Running::new(builder(spy.clone(), script).queue(queue()));
        let begin = Instant::now();
        heard.next().await;
        drained(&spy, WORK).await;
        let first = spy.requests(Op::Renew)[0].at - begin;
        assert!((LEASE * 3 / 12..=LEASE / 3 + SECOND / 10).contains(&first), "{first:?}");
        moments.push(first.as_millis() / 50);
        worker.stop().await;
    }
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() > 3, "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_cancels_its_handler_and_settles_nothing() {
    let spy = spied().await;
    let (script, mut heard, mut ends) = hanging();
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Renew => Fate::Refuse(ErrorKind::LeaseLost),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    heard.next().await;
    let lived = ends.recv().await.unwrap();
    assert!(lived <= LEASE / 3 + SECOND, "{lived:?}");
    assert_eq!(spy.count(Op::Delete) + spy.count(Op::Replace) + spy.count(Op::Release), 0);
    spy.heal();
    // It ran, and nothing counts against it; but a start is marked from now on.
    put_job(&spy, &with(job("b"), "meta", json!({ "again": "1" }))).await;
    assert_eq!(heard.take(2).await, [("b".to_owned(), 1), ("a".to_owned(), 1)]);
    let report = worker.stop().await;
    assert_eq!((report.lease_lost(), report.completed()), (1, 1));
}

/// When the handler is dropped if every renewal fares like that.
async fn life_without_renewals(fate: Fate) -> Duration {
    let spy = spied().await;
    let (script, mut heard, mut ends) = hanging();
    put_jobs(&spy, ["a"]).await;
    spy.rule(move |request| if request.op == Op::Renew { fate } else { Fate::Pass });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    heard.next().await;
    let lived = ends.recv().await.unwrap();
    worker.kill().await;
    lived
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_ends_its_handler_before_it_ends() {
    // Several times: the keeper's jitter must not matter.
    for _ in 0..10 {
        for fate in [
            Fate::Refuse(ErrorKind::Throttled),
            Fate::Refuse(ErrorKind::Unavailable),
            Fate::Refuse(ErrorKind::Unauthorized),
            Fate::Lose,
            Fate::Hang,
            Fate::Panic,
            Fate::Short,
        ] {
            let lived = life_without_renewals(fate).await;
            assert!(lived < LEASE, "{fate:?}: {lived:?}");
            assert!(lived >= LEASE - 4 * SECOND, "{fate:?}: {lived:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_stop_at_its_timeout_is_not_renewed_for_ever() {
    // Its slot is stuck in a request, so nothing else would end the lease.
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| if request.op == Op::Delete { Fate::Hang } else { Fate::Pass });
    let worker = Running::new(builder(spy.clone(), script).queue(queue().timeout(MINUTE)));
    heard.next().await;
    reached(|| async { visible(&spy, WORK).await == 1 || spy.count(Op::Receive) > 3 }).await;
    assert!(spy.count(Op::Renew) <= 12);
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_renewal_response_does_not_end_the_job() {
    for slow in [false, true] {
        let spy = spied().await;
        let (script, mut heard) = told(|_, _| async {
            sleep(LEASE / 2).await;
            Ok(())
        });
        put_jobs(&spy, ["a"]).await;
        spy.rule(move |request| match request.op {
            Op::Renew if request.nth == 0 => {
                if slow {
                    Fate::Slow(LEASE)
                } else {
                    Fate::Lose
                }
            }
            _ => Fate::Pass,
        });
        let worker = Running::new(builder(spy.clone(), script).queue(queue()));
        heard.next().await;
        drained(&spy, WORK).await;
        let report = worker.stop().await;
        // Its delete came to nothing, for the receipt was unknown; the redelivery was deleted.
        assert_eq!((report.completed(), report.started()), (1, 1), "{report}");
        heard.nothing();
    }
}

#[tokio::test(start_paused = true)]
async fn a_settle_does_not_wait_for_renewals_that_fail() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async {
        sleep(LEASE * 2 / 5).await;
        Ok(())
    });
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Renew => Fate::Refuse(ErrorKind::Throttled),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    let begin = Instant::now();
    heard.next().await;
    drained(&spy, WORK).await;
    assert!(begin.elapsed() < LEASE / 2, "{:?}", begin.elapsed());
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.lease_lost()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_whose_delete_fails_is_deleted_when_it_comes_again() {
    for fate in [
        Fate::Refuse(ErrorKind::Other),
        Fate::Refuse(ErrorKind::Unavailable),
        Fate::Hang,
        Fate::Short,
    ] {
        let spy = spied().await;
        let (script, mut heard) = obedient();
        // Eight of them make a group.
        put_jobs(&spy, (0..10).map(|n| n.to_string())).await;
        let end = Instant::now() + 2 * MINUTE;
        spy.rule(move |request| match request.op {
            Op::Delete if Instant::now() < end => fate,
            _ => Fate::Pass,
        });
        let worker = Running::new(builder(spy.clone(), script).queue(queue().concurrency(3)));
        heard.take(10).await;
        drained(&spy, WORK).await;
        assert!(Instant::now() >= end);
        heard.nothing();
        let report = worker.stop().await;
        assert_eq!((report.completed(), report.started()), (10, 10), "{fate:?}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_delete_response_is_no_failure() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a", "b", "c"]).await;
    spy.rule(|request| match request.op {
        Op::Delete if request.nth == 0 => Fate::Lose,
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    heard.take(3).await;
    drained(&spy, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.settle_failed(), report.lease_lost()), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn settling_waits_for_a_backend_that_comes_back() {
    let spy = spied().await;
    let (script, mut heard) = told(|order, cx| async move {
        match (&*order, cx.attempt()) {
            ("retry", 1) => Err("again".into()),
            ("permanent", _) => Err(JobError::permanent("no")),
            _ => Ok(()),
        }
    });
    put_jobs(&spy, ["done", "retry", "permanent"]).await;
    let end = Instant::now() + 15 * SECOND;
    spy.rule(move |request| match request.op {
        Op::Create | Op::Receive | Op::Stats => Fate::Pass,
        _ if Instant::now() < end => Fate::Refuse(ErrorKind::Unavailable),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    drained(&spy, WORK).await;
    let runs = heard.take(4).await;
    assert_eq!(runs.last().unwrap(), &("retry".to_owned(), 2));
    heard.nothing();
    assert_eq!(poisoned(&spy).await.len(), 1);
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.retried(), report.poisoned()), (2, 1, 1));
    assert_eq!((report.settle_failed(), report.lease_lost()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_cannot_be_written_comes_again_and_is_not_charged() {
    let spy = spied().await;
    let (script, mut heard) =
        told(|_, cx| async move { if cx.attempt() == 1 { Err("again".into()) } else { Ok(()) } });
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Replace if request.nth == 0 => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    assert_eq!(heard.take(3).await.iter().map(|run| run.1).collect::<Vec<_>>(), [1, 1, 2]);
    let report = worker.stop().await;
    assert_eq!((report.settle_failed(), report.retried(), report.completed()), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_s_jobs_come_again_after_their_lease() {
    let backend = memory().await;
    let (script, mut heard, _ends) = hanging();
    put_jobs(&backend, ["a"]).await;
    let begin = Instant::now();
    let first = Running::new(builder(backend.clone(), Arc::clone(&script)).queue(queue()));
    heard.next().await;
    first.kill().await;
    let second = Running::new(builder(backend.clone(), script).queue(queue()));
    let again = heard.next().await;
    assert_eq!(again.attempt, 1);
    assert!((LEASE..LEASE + 6 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    second.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_worker_ends_in_poison_and_its_neighbours_are_not_charged() {
    let backend = memory().await;
    let (script, mut heard) = told(|order, _| async move {
        if order == "killer" {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let kill = with(job("killer"), "options", json!({ "max_attempts": 99 }));
    put_job(&backend, &kill).await;
    put_jobs(&backend, (0..3).map(|n| n.to_string())).await;
    let mut starts = 0;
    let mut attempts = Vec::new();
    while total(&backend, "work-poison").await == 0 {
        assert!(starts < 10);
        let settings = queue().concurrency(4);
        let worker = Running::new(builder(backend.clone(), Arc::clone(&script)).queue(settings));
        let killed = async {
            loop {
                let run = heard.next().await;
                if run.order == "killer" {
                    break run;
                }
                // The neighbours have not been charged, whatever they went through.
                assert_eq!(run.attempt, 1);
            }
        };
        tokio::select! {
            run = killed => {
                starts += 1;
                attempts.push(run.attempt);
                // What never started, and what was received and not yet settled, dies with it.
                put_jobs(&backend, [format!("new {starts}")]).await;
                worker.kill().await;
            }
            () = reached(|| async { total(&backend, "work-poison").await == 1 }) => {
                worker.kill().await;
            }
        }
    }
    // The first start was not marked, so it is not counted.
    assert_eq!(attempts, [1, 1, 2, 3]);
    let copy = only(poisoned(&backend).await);
    assert_eq!(copy["poison"]["reason"], "crashed");
    assert_eq!(copy["history"]["crashed"], 3);
    let error = copy["poison"]["error"].as_str().unwrap();
    assert!(error.contains("out-of-memory"), "{error}");
    let worker = Running::new(builder(backend.clone(), script).queue(queue()));
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.poisoned(), 0);
}

/// Without a supervisor there is no process for suspects: they run in place, and beside others.
#[tokio::test(start_paused = true)]
async fn suspects_run_like_others_where_there_is_but_one_process() {
    // As each of them was there when two workers went away.
    let suspect = |order| with(job(order), "history", json!({ "crashed": 2 }));
    for concurrency in [1, 3] {
        let spy = spied().await;
        let all_run = Arc::new(Barrier::new(concurrency));
        let (script, mut heard) = told(move |_, _| {
            let all_run = Arc::clone(&all_run);
            async move {
                // They can only end together.
                all_run.wait().await;
                Ok(())
            }
        });
        put_job(&spy, &suspect("a")).await;
        put_jobs(&spy, ["b"]).await;
        put_job(&spy, &suspect("c")).await;
        let settings = queue().concurrency(concurrency);
        let worker = Running::new(builder(spy.clone(), script).queue(settings));
        let mut runs = heard.take(3).await;
        drained(&spy, WORK).await;
        runs.sort();
        assert_eq!(runs, [("a".to_owned(), 3), ("b".to_owned(), 1), ("c".to_owned(), 3)]);
        let report = worker.stop().await;
        assert_eq!((report.completed(), report.given_back(), report.poisoned()), (3, 0, 0));
        // Those two alone are marked.
        assert_eq!(spy.count(Op::Replace), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_received_and_never_started_is_never_charged() {
    // Each worker dies between receive and start: nothing is ever marked.
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a", "b"]).await;
    for _ in 0..12 {
        spy.rule(|request| if request.op == Op::Receive { Fate::Lose } else { Fate::Pass });
        let receives = spy.count(Op::Receive);
        let worker = Running::new(builder(spy.clone(), script.clone()).queue(queue()));
        reached(|| async { spy.count(Op::Receive) > receives }).await;
        worker.kill().await;
        sleep(LEASE).await;
    }
    spy.heal();
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    let mut runs = heard.take(2).await;
    runs.sort();
    assert_eq!(runs, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    drained(&spy, WORK).await;
    assert_eq!(worker.stop().await.poisoned(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_mark_was_not_answered_is_no_crash() {
    // The mark is written, nobody hears of it, so the job does not start; again and again.
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    // Suspect from the beginning.
    assert_eq!(steal(&spy.inner, WORK, SECOND).await, 1);
    spy.rule(|request| match request.op {
        Op::Replace if request.nth < 12 => Fate::Lose,
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    assert_eq!(heard.next().await.attempt, 1);
    drained(&spy, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.started(), report.completed(), report.poisoned()), (1, 1, 0), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_and_could_not_be_settled_is_no_crash() {
    let spy = spied().await;
    let (script, mut heard) =
        told(|_, cx| async move { if cx.attempt() < 2 { Err("again".into()) } else { Ok(()) } });
    put_jobs(&spy, ["a"]).await;
    assert_eq!(steal(&spy.inner, WORK, SECOND).await, 1);
    // Marks are written, results are not: five times over.
    spy.rule(|request| {
        let mark = String::from_utf8_lossy(&request.body).contains(r#""started""#);
        match request.op {
            Op::Replace if !mark && request.nth < 10 => Fate::Refuse(ErrorKind::Other),
            _ => Fate::Pass,
        }
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    let runs = heard.take(7).await;
    assert_eq!(runs.iter().map(|run| run.1).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 1, 2]);
    drained(&spy, WORK).await;
    assert_eq!(worker.stop().await.poisoned(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_poison_and_delete_moves_it_again_and_never_runs_it() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Err(JobError::permanent("no")) });
    let sent = job("a");
    put_job(&spy, &sent).await;
    spy.rule(|request| if request.op == Op::Delete { Fate::Hang } else { Fate::Pass });
    let worker = Running::new(builder(spy.clone(), script.clone()).queue(queue()));
    heard.next().await;
    reached(|| async { spy.count(Op::Delete) == 1 }).await;
    worker.kill().await;
    assert_eq!(poisoned(&spy).await.len(), 1);
    spy.heal();
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    drained(&spy, WORK).await;
    heard.nothing();
    let copies = poisoned(&spy).await;
    assert_eq!(copies.len(), 2);
    for copy in copies {
        assert_eq!(copy["id"], sent["id"]);
        assert_eq!(copy["poison"]["reason"], "permanent");
        assert_eq!(copy["poison"]["state"], "final");
    }
    assert_eq!(worker.stop().await.poisoned(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_fence_is_written_before_the_copy_is_sent() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Err(JobError::permanent("no")) });
    put_jobs(&spy, ["a"]).await;
    let until = Instant::now() + 10 * MINUTE;
    spy.rule(move |request| match request.op {
        Op::Send if Instant::now() < until => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    heard.next().await;
    drained(&spy, WORK).await;
    assert!(Instant::now() > until);
    heard.nothing();
    assert!(String::from_utf8_lossy(&spy.requests(Op::Replace)[0].body).contains("pending"));
    let copy = only(poisoned(&spy).await);
    assert_eq!(copy["poison"]["reason"], "permanent");
    assert_eq!(copy["errors"][0]["error"], "no");
    assert_eq!(worker.stop().await.poisoned(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_sent_counts_even_if_the_original_is_deleted_late() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async { Err(JobError::permanent("no")) });
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Delete if request.nth == 0 => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    heard.next().await;
    drained(&spy, WORK).await;
    assert_eq!(poisoned(&spy).await.len(), 1);
    let report = worker.stop().await;
    assert_eq!((report.poisoned(), report.settle_failed()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn where_bodies_cannot_be_rewritten_a_retry_is_a_new_message() {
    let mut capabilities = job_memory::MemoryBackend::new().capabilities().clone();
    capabilities.replace = false;
    let backend = job_memory::MemoryBackend::with_capabilities(capabilities);
    create(&backend, WORK).await;
    let spy = Spy::new(backend);
    let (script, mut heard) =
        told(|_, cx| async move { if cx.attempt() < 3 { Err("again".into()) } else { Ok(()) } });
    put_jobs(&spy, ["a"]).await;
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    assert_eq!(heard.take(3).await.last().unwrap().1, 3);
    drained(&spy, WORK).await;
    assert_eq!((spy.count(Op::Replace), spy.count(Op::Send)), (0, 1 + 2));
    let report = worker.stop().await;
    assert_eq!((report.retried(), report.completed()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_sent_anew_or_to_poison_comes_again_after_its_lease() {
    let mut capabilities = job_memory::MemoryBackend::new().capabilities().clone();
    capabilities.replace = false;
    let backend = job_memory::MemoryBackend::with_capabilities(capabilities);
    create(&backend, WORK).await;
    let spy = Spy::new(backend);
    let (script, mut heard) = obedient();
    // Neither of them is ever begun, so no timeout ends its lease.
    put_job(&spy, &with(job("a"), "delay_left_ms", json!(1000))).await;
    put(&spy, WORK, "rubbish").await;
    let begin = Instant::now();
    spy.rule(move |request| match request.op {
        Op::Send if begin.elapsed() < SECOND => Fate::Refuse(ErrorKind::Other),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    let run = heard.next().await;
    assert!((LEASE..LEASE + 10 * SECOND).contains(&run.at), "{run:?}");
    drained(&spy, WORK).await;
    assert_eq!(only(poisoned(&spy).await)["poison"]["reason"], "undecodable");
    let report = worker.stop().await;
    assert_eq!((report.settle_failed(), report.completed(), report.poisoned()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_anew_is_not_run_twice_though_its_lease_was_lost_meanwhile() {
    let mut capabilities = job_memory::MemoryBackend::new().capabilities().clone();
    capabilities.replace = false;
    let backend = job_memory::MemoryBackend::with_capabilities(capabilities);
    create(&backend, WORK).await;
    let spy = Spy::new(backend);
    let (script, mut heard) =
        told(|_, cx| async move { if cx.attempt() == 1 { Err("again".into()) } else { Ok(()) } });
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Send if request.nth == 1 => Fate::Slow(LEASE / 2),
        Op::Renew => Fate::Refuse(ErrorKind::LeaseLost),
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    drained(&spy, WORK).await;
    assert_eq!(heard.take(2).await, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    heard.nothing();
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_backoff_leaves_the_slot_and_the_job_alive() {
    static PANIC: AtomicBool = AtomicBool::new(true);
    let backend = memory().await;
    let (script, mut heard) =
        told(|_, cx| async move { if cx.attempt() == 1 { Err("again".into()) } else { Ok(()) } });
    put_jobs(&backend, ["a"]).await;
    let backoff = Backoff::custom(|_| {
        assert!(!PANIC.swap(false, SeqCst), "a backoff of the user's");
        SECOND
    });
    let settings = queue().concurrency(1).backoff(backoff);
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    let runs = [heard.next().await, heard.next().await, heard.next().await];
    assert_eq!(runs.each_ref().map(|run| run.attempt), [1, 1, 2]);
    // Its lease is not renewed any more.
    assert!((LEASE..LEASE + 10 * SECOND).contains(&runs[1].at), "{runs:?}");
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_backend_leaves_the_slots_alive() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Receive if request.nth < 5 => Fate::Panic,
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue().concurrency(2)));
    heard.next().await;
    drained(&spy, WORK).await;
    assert!(!worker.is_finished());
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_move_to_poison_only_costs_a_lease() {
    let spy = spied().await;
    put(&spy, WORK, "rubbish").await;
    spy.rule(|request| match request.op {
        Op::Send if request.nth == 1 => Fate::Panic,
        _ => Fate::Pass,
    });
    let (script, _heard) = obedient();
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    let begin = Instant::now();
    drained(&spy, WORK).await;
    assert!(begin.elapsed() <= LEASE + 10 * SECOND, "{:?}", begin.elapsed());
    assert_eq!(only(poisoned(&spy).await)["poison"]["reason"], "undecodable");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_done_is_not_run_again_because_its_delete_panicked() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a", "b", "c"]).await;
    spy.rule(|request| match request.op {
        Op::Delete if request.nth == 1 => Fate::Panic,
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue().concurrency(1)));
    let begin = Instant::now();
    drained(&spy, WORK).await;
    assert!(begin.elapsed() <= LEASE + 10 * SECOND, "{:?}", begin.elapsed());
    heard.take(3).await;
    heard.nothing();
    assert_eq!(worker.stop().await.started(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_never_answered_does_not_stop_its_queue() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    spy.rule(|request| match request.op {
        Op::Receive if request.nth == 1 => Fate::Hang,
        _ => Fate::Pass,
    });
    let worker = Running::new(builder(spy.clone(), script).queue(queue()));
    let run = heard.next().await;
    assert!(run.at <= LEASE, "{run:?}");
    drained(&spy, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}
