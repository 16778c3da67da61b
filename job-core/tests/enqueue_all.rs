//! Enqueueing many jobs at once: a result for each, in as few requests as can be.

mod support;

use std::time::Duration;

use job_core::backend::ErrorKind;
use job_core::{EnqueueErrorKind, Job};
use serde::{Deserialize, Serialize, Serializer};
use support::{CANARY, Fake, Mail, capable, everything, greet};

#[tokio::test]
async fn it_sends_in_chunks_and_in_order() {
    let fake = Fake::with_queue(capable(), "outbox");
    let all = fake.client().enqueue_all((0..250).map(|to| Mail { to })).meta("tenant", "acme");
    let expected: Vec<_> = all.ids().collect();
    assert!(fake.take_calls().is_empty());
    let ids = all.await.unwrap();
    assert_eq!(ids, expected);
    assert_eq!(fake.take_calls(), ["send outbox 100", "send outbox 100", "send outbox 50"]);
    for (n, (body, id)) in fake.bodies("outbox").iter().zip(ids).enumerate() {
        assert_eq!(body["args"]["to"], n);
        assert_eq!(body["id"], id.to_string());
        assert_eq!(body["meta"]["tenant"], "acme");
    }
}

#[tokio::test]
async fn nothing_to_send_is_no_request() {
    let fake = Fake::new(capable());
    let none: [Mail; 0] = [];
    assert!(fake.client().enqueue_all(none).await.unwrap().is_empty());
    assert!(fake.take_calls().is_empty());
}

#[tokio::test]
async fn one_a_request_means_several_requests_at_once() {
    let mut capabilities = capable();
    capabilities.max_send = 1;
    capabilities.remote = true;
    let fake = Fake::with_queue(capabilities, "outbox");
    let ids = fake.client().enqueue_all((0..100).map(|to| Mail { to })).await.unwrap();
    assert_eq!(fake.most_sending(), 16);
    let mut bodies = fake.bodies("outbox");
    bodies.sort_by_key(|body| body["args"]["to"].as_u64());
    let sent: Vec<_> = bodies.iter().map(|body| body["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sent, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_settings_hold_for_all() {
    let fake = Fake::new(capable());
    let client = fake.client();
    let second = Duration::from_secs(1);
    client
        .enqueue_all([greet("a"), greet("b")])
        .queue("urgent")
        .delay(30 * second)
        .max_attempts(2)
        .expires_in(60 * second)
        .await
        .unwrap();
    fake.look("urgent", |messages| {
        assert!(messages.iter().all(|m| m.delay == 30 * second && m.ttl.is_none()));
    });
    assert!(fake.bodies("urgent").iter().all(|body| body["options"]["max_attempts"] == 2));

    let error = client.enqueue_all([greet("a"), greet("b")]).queue("Urgent!").await.unwrap_err();
    assert_eq!(error.errors().count(), 2);
    assert!(error.errors().all(|e| e.kind() == EnqueueErrorKind::Invalid));
}

/// Serialises only if it is even.
#[derive(Deserialize)]
struct Even(u64, String);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            serializer.collect_str(&self.1)
        } else {
            Err(serde::ser::Error::custom(CANARY))
        }
    }
}

impl Job for Even {
    const NAME: &'static str = "even";
}

#[tokio::test]
async fn each_fails_alone() {
    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    // Of the sendable ones, the second is rejected and the answer for the third is lost.
    fake.pass("send", 1);
    fake.fail("send", &[ErrorKind::Throttled]);
    fake.lose_answer("send");
    let texts = ["ok".into(), "odd".into(), "throttled".into(), "odd".into(), "lost".into()];
    let texts =
        texts.into_iter().chain(["odd".into(), "x".repeat(100_000), "odd".into(), "ok".into()]);
    let jobs = texts.enumerate().map(|(n, text)| Even(n as u64, text));
    let all = client.enqueue_all(jobs);
    let ids: Vec<_> = all.ids().collect();
    let error = all.await.unwrap_err();

    use EnqueueErrorKind::{Invalid, Rejected, TooLarge, Unknown};
    let kinds: Vec<_> =
        error.results().iter().map(|r| r.as_ref().map_err(|e| e.kind()).err()).collect();
    let expected = [
        None,
        Some(Invalid),
        Some(Rejected),
        Some(Invalid),
        Some(Unknown),
        Some(Invalid),
        Some(TooLarge),
        Some(Invalid),
        None,
    ];
    assert_eq!(kinds, expected);
    for (result, id) in error.results().iter().zip(&ids) {
        assert_eq!(result.as_ref().map_or_else(|e| e.id(), |id| *id), *id);
    }
    let text = error.to_string();
    assert!(text.starts_with("7 of 9 jobs failed to be enqueued (1 of them may be"), "{text}");
    assert!(text.contains("the first: job `even`"), "{text}");
    assert!(!everything(&error).contains(CANARY), "{}", everything(&error));
    assert_eq!(fake.len("default"), 3, "two that are known and one that is not");
    assert_eq!(error.into_results().len(), 9);
}

#[tokio::test]
async fn a_queue_is_made_once_for_all_of_them() {
    let fake = Fake::new(capable());
    fake.client().enqueue_all((0..150).map(|to| Mail { to })).await.unwrap();
    assert_eq!(fake.len("outbox"), 150);
    let calls = fake.take_calls();
    let expected = ["send outbox 100", "create outbox", "send outbox 100", "send outbox 50"];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_dead_queue_is_not_asked_a_million_times() {
    let mut capabilities = capable();
    capabilities.max_send = 1;
    let fake = Fake::with_queue(capabilities, "outbox");
    fake.fail("send", &[ErrorKind::Unauthorized; 1000]);
    let error = fake.client().enqueue_all((0..1000).map(|to| Mail { to })).await.unwrap_err();
    assert!(fake.take_calls().len() <= 32);
    assert_eq!(error.errors().filter(|e| e.kind() == EnqueueErrorKind::Rejected).count(), 1000);
    let last = error.errors().last().unwrap().to_string();
    assert!(last.contains("it was not tried"), "{last}");
}

#[tokio::test]
async fn failures_here_and_there_stop_nothing() {
    let mut capabilities = capable();
    capabilities.max_send = 1;
    let fake = Fake::with_queue(capabilities, "outbox");
    for _ in 0..250 {
        fake.pass("send", 1);
        fake.fail("send", &[ErrorKind::Unavailable; 3]);
    }
    let error = fake.client().enqueue_all((0..1000).map(|to| Mail { to })).await.unwrap_err();
    assert_eq!(error.results().iter().filter(|r| r.is_ok()).count(), 250);
    assert!(error.errors().all(|e| e.kind() == EnqueueErrorKind::Unknown));
}
