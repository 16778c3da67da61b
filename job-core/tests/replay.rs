//! Replaying poison queues: what goes back, in which order, and what happens when it cannot.

mod support;

use std::time::Duration;

use job_core::backend::ErrorKind;
use job_core::{JobId, PoisonErrorKind, PoisonQueue, PoisonReason, Replay};
use serde_json::{Value, json};
use support::{CANARY, Fake, Poisoned, capable, everything};

const SECOND: Duration = Duration::from_secs(1);

fn fake() -> Fake {
    Fake::with_queue(capable(), "mail")
}

fn poison(fake: &Fake) -> PoisonQueue {
    fake.client().poison("mail").unwrap()
}

fn replay(fake: &Fake) -> Replay {
    poison(fake).replay()
}

fn fill(fake: &Fake, jobs: usize) -> Vec<JobId> {
    let post = |_| {
        let job = Poisoned::new("send_welcome", "mail");
        fake.post("mail-poison", job.body());
        job.id
    };
    (0..jobs).map(post).collect()
}

fn ids_on(fake: &Fake, queue: &str) -> Vec<String> {
    let id = |body: Value| body["id"].as_str().unwrap().to_owned();
    fake.bodies(queue).into_iter().map(id).collect()
}

#[tokio::test]
async fn it_keeps_the_id_and_starts_attempts_afresh() {
    let fake = fake();
    let job = Poisoned::new("send_welcome", "mail");
    fake.post("mail-poison", job.body());
    let waiting = replay(&fake);
    assert!(fake.take_calls().is_empty(), "nothing happens until it is awaited");
    let report = waiting.await.unwrap();
    assert_eq!((report.matched(), report.replayed(), report.skipped()), (1, 1, 0));
    assert_eq!(report.ids(), [job.id]);
    assert!(report.is_complete());
    assert_eq!(report.to_string(), "1 of 1 jobs replayed, 0 left");

    assert_eq!(fake.len("mail-poison"), 0);
    let body = &fake.bodies("mail")[0];
    assert_eq!(body["id"], job.id.to_string());
    assert_eq!(body["args"]["text"], CANARY);
    assert_eq!(body["options"]["max_attempts"], 4);
    assert_eq!(body["meta"]["tenant"], "acme");
    assert!(body.get("history").is_none() && body.get("poison").is_none(), "{body}");
    fake.look("mail", |messages| {
        assert_eq!(messages[0].hint, None, "a deduplicating service would drop it");
        assert_eq!((messages[0].delay, messages[0].ttl), (Duration::ZERO, None));
    });
}

#[tokio::test]
async fn it_sends_before_it_deletes() {
    let fake = fake();
    fill(&fake, 2);
    replay(&fake).await.unwrap();
    let calls = fake.take_calls();
    let expected = [
        "receive mail-poison",
        "send mail 1",
        "delete mail-poison",
        "send mail 1",
        "delete mail-poison",
        "receive mail-poison",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn each_goes_back_to_where_it_came_from() {
    let fake = fake();
    for queue in ["mail", "other"] {
        fake.post(queue, "{}");
    }
    fake.post("mail-poison", Poisoned::new("a", "other").body());
    fake.post("mail-poison", Poisoned::new("b", "mail-poison").body());
    fake.post("mail-poison", Poisoned::new("c", "Not A Queue").body());
    fake.post("mail-poison", Poisoned::new("d", "mail").unmarked().body());
    assert_eq!(replay(&fake).await.unwrap().replayed(), 4);
    assert_eq!((fake.len("mail"), fake.len("other"), fake.len("mail-poison")), (4, 2, 0));
}

#[tokio::test]
async fn what_was_no_job_goes_back_byte_for_byte() {
    let fake = fake();
    let wrapped = |original: Value| {
        let job = Poisoned::new("", "mail").set("/args", Value::Null);
        fake.post("mail-poison", job.set("/original", original).body());
    };
    wrapped(json!({ "text": "{\"a\" :1}\n" }));
    wrapped(json!({ "base64": "/v8A" }));
    fake.post("mail-poison", "bare\u{1}");
    // Damaged: nobody can tell what it was.
    wrapped(json!({ "base64": "?" }));
    let report = replay(&fake).await.unwrap();
    assert_eq!((report.replayed(), report.refused().len()), (3, 1));
    let bodies: Vec<_> = fake.look("mail", |m| m.iter().map(|m| m.body.to_vec()).collect());
    assert_eq!(bodies, [b"{\"a\" :1}\n".to_vec(), b"\xfe\xff\x00".to_vec(), b"bare\x01".to_vec()]);
    assert_eq!(fake.visible("mail-poison"), 1);
}

#[tokio::test]
async fn filters_must_all_match() {
    let fake = fake();
    let jobs = [
        Poisoned::new("a", "mail"),
        Poisoned::new("a", "mail").set("/poison/error", json!("no such user")),
        Poisoned::new("b", "mail").set("/poison/reason", json!("crashed")),
        Poisoned::new("b", "mail").set("/poison/reason", json!("permanent")),
    ];
    for job in &jobs {
        fake.post("mail-poison", job.body());
    }
    let dry = || replay(&fake).dry_run();
    let ids = |report: job_core::ReplayReport| report.ids().to_vec();
    assert_eq!(ids(dry().await.unwrap()).len(), 4);
    assert_eq!(ids(dry().name("a").await.unwrap()), [jobs[0].id, jobs[1].id]);
    assert_eq!(ids(dry().error_contains("such user").await.unwrap()), [jobs[1].id]);
    assert_eq!(ids(dry().reason(PoisonReason::Crashed).await.unwrap()), [jobs[2].id]);
    assert_eq!(ids(dry().id(jobs[3].id).await.unwrap()), [jobs[3].id]);
    assert_eq!(ids(dry().id(jobs[0].id).id(jobs[3].id).await.unwrap()).len(), 2);
    assert_eq!(ids(dry().id(jobs[0].id).name("b").await.unwrap()), []);
    assert_eq!(ids(dry().name("b").error_contains("refused").await.unwrap()).len(), 2);

    let report = dry().name("a").await.unwrap();
    assert_eq!((report.matched(), report.replayed(), report.skipped()), (2, 0, 2));
    assert!(report.is_dry_run() && report.is_complete());
    assert_eq!((fake.len("mail"), fake.visible("mail-poison")), (0, 4));

    let report = replay(&fake).name("b").reason(PoisonReason::Crashed).await.unwrap();
    assert_eq!((report.matched(), report.replayed(), report.skipped()), (1, 1, 3));
    assert_eq!(ids_on(&fake, "mail"), [jobs[2].id.to_string()]);
    assert_eq!(fake.visible("mail-poison"), 3);
}

#[tokio::test]
async fn the_limit_holds() {
    let fake = fake();
    let ids = fill(&fake, 10);
    let report = replay(&fake).limit(3).await.unwrap();
    assert_eq!(report.ids(), &ids[..3]);
    assert!(!report.is_complete());
    assert_eq!(fake.visible("mail-poison"), 7);
    assert_eq!(replay(&fake).limit(0).await.unwrap().matched(), 0);
}

#[tokio::test]
async fn a_large_queue_goes_through_in_many_receives() {
    let mut capabilities = capable();
    capabilities.max_receive = 32;
    capabilities.remote = true;
    let fake = Fake::with_queue(capabilities, "mail");
    let mut ids = fill(&fake, 500);
    let report = replay(&fake).await.unwrap();
    assert_eq!(report.ids(), ids);
    assert!(fake.most_sending() > 1 && fake.most_sending() <= 16);
    let mut sent = ids_on(&fake, "mail");
    sent.sort();
    ids.sort();
    assert_eq!(sent, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(fake.len("mail-poison"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_rate_holds() {
    let fake = fake();
    fill(&fake, 10);
    let report = replay(&fake).rate(2, SECOND).await.unwrap();
    assert_eq!(report.replayed(), 10);
    let times: Vec<_> = fake.look("mail", |m| m.iter().map(|m| m.sent_at).collect());
    for pair in times.windows(2) {
        let between = pair[1] - pair[0];
        assert!(between >= SECOND / 2 && between < SECOND, "{between:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_slower_than_the_lease_holds_no_lease_meanwhile() {
    let fake = fake();
    fill(&fake, 5);
    let report = replay(&fake).rate(1, Duration::from_secs(3600)).await.unwrap();
    assert_eq!((report.replayed(), report.duplicates().len()), (5, 0));
    assert_eq!((fake.len("mail"), fake.len("mail-poison")), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_match_may_come_again_and_again() {
    let fake = fake();
    let other = Poisoned::new("other", "mail");
    for _ in 0..20 {
        fake.post("mail-poison", Poisoned::new("other", "mail").body());
        fill(&fake, 1);
    }
    fake.post("mail-poison", other.body());
    for rate in [1, 2] {
        // Either way it takes many times longer than a lease.
        let per = Duration::from_secs(60 * 7);
        let limit = if rate == 1 { 10 } else { usize::MAX };
        let report = replay(&fake).name("send_welcome").rate(rate, per).limit(limit).await.unwrap();
        assert_eq!(report.replayed(), 10);
        assert_eq!(report.duplicates(), []);
    }
    assert_eq!((fake.len("mail"), fake.visible("mail-poison")), (20, 21));
}

#[tokio::test]
async fn a_rate_of_zero_is_a_mistake() {
    let fake = fake();
    fill(&fake, 1);
    for wrong in [replay(&fake).rate(0, SECOND), replay(&fake).rate(1, Duration::ZERO)] {
        let error = wrong.await.unwrap_err();
        assert_eq!(error.kind(), PoisonErrorKind::Invalid);
        assert!(error.to_string().contains("the rate is zero"), "{error}");
    }
    assert!(fake.take_calls().is_empty());
    assert_eq!(replay(&fake).rate(1, Duration::MAX).await.unwrap().replayed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_fails_again_meanwhile_is_left_for_the_next_time() {
    let mut capabilities = capable();
    capabilities.max_receive = 1;
    let fake = Fake::with_queue(capabilities, "mail");
    fill(&fake, 5);
    let meanwhile = async {
        tokio::time::sleep(SECOND / 2).await;
        fill(&fake, 3);
    };
    let (report, ()) = tokio::join!(replay(&fake).rate(1, SECOND), meanwhile);
    let report = report.unwrap();
    assert_eq!((report.replayed(), report.skipped()), (5, 3));
    assert_eq!(fake.visible("mail-poison"), 3);
}

#[tokio::test]
async fn copies_do_not_start_a_job_twice() {
    let fake = fake();
    let job = Poisoned::new("send_welcome", "mail");
    fake.post("mail-poison", job.body());
    fake.post("mail-poison", job.body());
    let report = replay(&fake).await.unwrap();
    assert_eq!((report.replayed(), report.skipped()), (1, 1));
    assert_eq!((fake.len("mail"), fake.visible("mail-poison")), (1, 1));
}

#[tokio::test]
async fn a_scan_ends_when_what_it_has_seen_comes_back() {
    let mut capabilities = capable();
    capabilities.min_lease = Duration::ZERO;
    capabilities.max_lease = Duration::ZERO;
    let fake = Fake::with_queue(capabilities, "mail");
    fill(&fake, 5);
    let report = replay(&fake).name("nobody").await.unwrap();
    assert_eq!((report.matched(), report.skipped()), (0, 5));
    assert!(!report.is_complete());
    assert_eq!(fake.visible("mail-poison"), 5);
}

#[tokio::test(start_paused = true)]
async fn passing_trouble_is_sat_out() {
    let fake = fake();
    fill(&fake, 3);
    fake.fail("receive", &[ErrorKind::Throttled, ErrorKind::Unavailable]);
    fake.fail("send", &[ErrorKind::Throttled; 2]);
    fake.fail("delete", &[ErrorKind::Throttled; 2]);
    let report = replay(&fake).await.unwrap();
    assert_eq!(report.replayed(), 3);
    assert_eq!((fake.len("mail"), fake.len("mail-poison")), (3, 0));
    assert!(!report.is_complete(), "the receive may have leased something unheard of");
}

#[tokio::test(start_paused = true)]
async fn a_failing_send_stops_it_and_loses_nothing() {
    let fake = fake();
    let ids = fill(&fake, 5);
    fake.pass("send", 2);
    fake.fail("send", &[ErrorKind::Throttled; 3]);
    let error = replay(&fake).await.unwrap_err();
    assert_eq!(error.kind(), PoisonErrorKind::Send);
    assert!(error.is_retryable());
    let report = error.report().unwrap();
    assert_eq!(report.ids(), &ids[..2]);
    assert_eq!((fake.len("mail"), fake.visible("mail-poison")), (2, 3));
    let text = everything(&error);
    assert!(text.contains(&format!("job {} is still in `mail-poison`", ids[2])), "{text}");
    assert!(text.contains("so far: 2 of 5 jobs replayed"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn a_queue_that_is_gone_is_not_made_again() {
    let fake = fake();
    fill(&fake, 2);
    fake.remove_queue("mail");
    let error = replay(&fake).await.unwrap_err();
    assert_eq!(error.kind(), PoisonErrorKind::Send);
    assert!(!fake.exists("mail"));
    assert_eq!(fake.visible("mail-poison"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_delete_leaves_a_duplicate_and_no_loss() {
    let fake = fake();
    let ids = fill(&fake, 3);
    fake.fail("delete", &[ErrorKind::Unauthorized]);
    let error = replay(&fake).await.unwrap_err();
    assert_eq!(error.kind(), PoisonErrorKind::Delete);
    assert!(error.to_string().contains("a duplicate with the same id is left"), "{error}");
    let report = error.report().unwrap();
    assert_eq!((report.ids(), report.duplicates()), (&ids[..1], &ids[..1]));
    assert_eq!((fake.len("mail"), fake.visible("mail-poison")), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_was_lost_is_a_delete() {
    let fake = fake();
    fill(&fake, 2);
    fake.lose_answer("delete");
    let report = replay(&fake).await.unwrap();
    assert_eq!((report.replayed(), report.duplicates().len()), (2, 0));
    assert_eq!((fake.len("mail"), fake.len("mail-poison")), (2, 0));
}

#[tokio::test]
async fn a_lost_lease_is_a_duplicate_and_no_reason_to_stop() {
    let fake = fake();
    let ids = fill(&fake, 2);
    fake.fail("delete", &[ErrorKind::LeaseLost]);
    let report = replay(&fake).await.unwrap();
    assert_eq!(report.replayed(), 2);
    assert_eq!(report.duplicates(), &ids[..1]);
    assert_eq!(report.to_string(), "2 of 2 jobs replayed, 0 left, 1 left as duplicates");
}

#[tokio::test]
async fn a_job_that_its_queue_refuses_does_not_hold_up_the_others() {
    let fake = fake();
    let big = Poisoned::new("too_big", "mail");
    fake.post("mail-poison", big.body());
    let ids = fill(&fake, 2);
    fake.reject("too_big", ErrorKind::TooLarge);
    let report = replay(&fake).await.unwrap();
    assert_eq!((report.ids(), report.refused()), (&ids[..], &[big.id][..]));
    assert_eq!(fake.visible("mail-poison"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_for_good_says_so() {
    let fake = fake();
    fill(&fake, 2);
    fake.fail("receive", &[ErrorKind::Unauthorized]);
    let error = replay(&fake).await.unwrap_err();
    assert_eq!(error.kind(), PoisonErrorKind::Read);
    assert!(error.to_string().contains("cannot be read"), "{error}");
    fake.fail("peek", &[ErrorKind::Unavailable; 3]);
    assert!(poison(&fake).list(2).await.unwrap_err().is_retryable());
    fake.fail("purge", &[ErrorKind::Unauthorized]);
    assert_eq!(poison(&fake).purge().await.unwrap_err().kind(), PoisonErrorKind::Delete);
    assert_eq!(fake.len("mail-poison"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_back_comes_back_by_itself() {
    let fake = fake();
    fill(&fake, 3);
    fake.fail("release", &[ErrorKind::Unavailable; 3]);
    replay(&fake).dry_run().await.unwrap();
    assert_eq!(fake.visible("mail-poison"), 0);
    tokio::time::advance(300 * SECOND).await;
    assert_eq!(fake.visible("mail-poison"), 3);
}
