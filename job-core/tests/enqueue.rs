//! Enqueueing one job: what is sent, when, and what is said when it cannot be.

mod support;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use job_core::backend::{Capabilities, ErrorKind};
use job_core::{Enqueue, EnqueueAll, EnqueueErrorKind, Job, Replay};
use serde::{Deserialize, Serialize};
use support::{CANARY, Fake, Greet, Mail, capable, everything, greet};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_futures_are_free_to_go_anywhere() {
    fn free<T: Future + Send + Unpin + 'static>() {}
    free::<Enqueue>();
    free::<EnqueueAll>();
    free::<Replay>();
}

#[tokio::test]
async fn nothing_is_sent_until_it_is_awaited() {
    let fake = Fake::with_queue(capable(), "default");
    let enqueue = fake.client().enqueue(greet("hello"));
    let id = enqueue.id();
    assert!(fake.take_calls().is_empty());
    drop(enqueue);
    assert!(fake.take_calls().is_empty());

    let enqueue = fake.client().enqueue(greet("hello"));
    assert_ne!(enqueue.id(), id);
    let id = enqueue.id();
    assert_eq!(tokio::spawn(enqueue).await.unwrap().unwrap(), id);
    let body = &fake.bodies("default")[0];
    assert_eq!(body["id"], id.to_string());
    assert_eq!(body["name"], "greet");
    assert_eq!(body["args"]["text"], "hello");
    fake.look("default", |messages| {
        assert_eq!(messages[0].ttl, None);
        assert_eq!(messages[0].hint, Some(id));
        assert_eq!(messages[0].delay, Duration::ZERO);
    });
}

#[tokio::test]
#[should_panic(expected = "polled again after it has finished")]
async fn polling_it_again_is_a_bug() {
    let fake = Fake::with_queue(capable(), "default");
    let mut enqueue = fake.client().enqueue(greet("hello"));
    (&mut enqueue).await.unwrap();
    let _ = enqueue.await;
}

#[tokio::test]
async fn call_goes_before_job_goes_before_client() {
    let fake = Fake::new(capable());
    let client = fake.client().with_default_queue("mine").unwrap();
    client.enqueue(greet("client")).await.unwrap();
    client.enqueue(Mail { to: 1 }).await.unwrap();
    client.enqueue(Mail { to: 2 }).queue("urgent").await.unwrap();
    for queue in ["mine", "outbox", "urgent"] {
        assert_eq!(fake.len(queue), 1, "{queue}");
    }
    assert!(client.clone().with_default_queue("No").is_err());
    assert!(client.with_default_queue("x".repeat(57)).is_err());
}

#[tokio::test]
async fn only_what_the_call_says_travels() {
    let fake = Fake::new(capable());
    let client = fake.client();
    client.enqueue(Mail { to: 1 }).await.unwrap();
    client
        .enqueue(Mail { to: 2 })
        .max_attempts(3)
        .expires_in(90 * SECOND)
        .meta("tenant", "acme")
        .meta("tenant", "other")
        .await
        .unwrap();
    let bodies = fake.bodies("outbox");
    assert!(bodies[0].get("options").is_none());
    assert!(bodies[0].get("meta").is_none());
    assert_eq!(bodies[0]["args_version"], 3);
    assert_eq!(bodies[1]["options"]["max_attempts"], 3);
    assert_eq!(bodies[1]["options"]["expires_in_ms"], 90_000);
    assert_eq!(bodies[1]["meta"]["tenant"], "other");
}

#[tokio::test(start_paused = true)]
async fn a_long_delay_is_cut_into_hops() {
    let mut capabilities = capable();
    capabilities.max_delay = 100 * SECOND;
    let fake = Fake::with_queue(capabilities, "default");
    let client = fake.client();
    for delay in [30 * SECOND, 100 * SECOND, 250 * SECOND + Duration::from_nanos(1), Duration::MAX]
    {
        client.enqueue(greet("later")).delay(delay).await.unwrap();
    }
    let bodies = fake.bodies("default");
    let delays: Vec<_> = fake.look("default", |m| m.iter().map(|m| m.delay).collect());
    assert_eq!(delays, [30 * SECOND, 100 * SECOND, 100 * SECOND, 100 * SECOND]);
    assert!(bodies[0].get("delay_left_ms").is_none());
    assert!(bodies[1].get("delay_left_ms").is_none());
    assert_eq!(bodies[2]["delay_left_ms"], 150_001, "no job may come early");
    assert_eq!(bodies[3]["delay_left_ms"], u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_time_is_measured_when_it_is_sent_and_the_past_is_now() {
    use job_core::backend::Backend;

    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    let due = fake.now() + 60 * SECOND;
    let enqueue = client.enqueue(greet("later")).at(due);
    tokio::time::advance(20 * SECOND).await;
    enqueue.await.unwrap();
    client.enqueue(greet("past")).at(SystemTime::UNIX_EPOCH).await.unwrap();
    client.enqueue(greet("last wins")).at(due).delay(SECOND).await.unwrap();
    let delays: Vec<_> = fake.look("default", |m| m.iter().map(|m| m.delay).collect());
    assert_eq!(delays, [40 * SECOND, Duration::ZERO, SECOND]);
    let enqueued_at = fake.bodies("default")[0]["enqueued_at"].as_u64().unwrap();
    assert_eq!(enqueued_at, 1_700_000_020_000);
}

#[tokio::test]
async fn the_size_limit_is_exact_and_counts_meta() {
    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    let limit = Capabilities::minimal().max_body - 4096;
    client.enqueue(greet("")).meta("k", "").await.unwrap();
    let empty = fake.look("default", |messages| messages[0].body.len());

    let fits = client.enqueue(greet("x".repeat(limit - empty - 5))).meta("k", "12345");
    fits.await.unwrap();
    assert_eq!(fake.look("default", |messages| messages[1].body.len()), limit);

    let too_large = client.enqueue(greet("x".repeat(limit - empty - 5))).meta("k", "123456");
    let error = too_large.await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::TooLarge);
    let text = error.to_string();
    for part in ["`greet`", "`default`", &(limit + 1).to_string(), &limit.to_string(), "reference"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(fake.len("default"), 2);
}

#[derive(Serialize, Deserialize)]
struct Keyed {
    map: HashMap<(String, u8), u8>,
}
impl Job for Keyed {
    const NAME: &'static str = "keyed";
}

#[derive(Serialize, Deserialize)]
struct Deep {
    value: serde_json::Value,
}
impl Job for Deep {
    const NAME: &'static str = "deep";
}

#[derive(Serialize, Deserialize)]
struct Misnamed;
impl Job for Misnamed {
    const NAME: &'static str = "misnamed";
    const OPTIONS: job_core::JobOptions =
        job_core::JobOptions::new().queue("Not A Queue").expires_in(SECOND);
}

#[tokio::test]
async fn a_wrong_call_is_an_error_and_sends_nothing() {
    let fake = Fake::new(capable());
    let client = fake.client();
    let greet = || client.enqueue(greet(CANARY));
    let deep = (0..200).fold(serde_json::json!(CANARY), |inner, _| serde_json::json!([inner]));
    let keyed = Keyed { map: [((CANARY.to_owned(), 1), 1)].into() };
    let wrong = [
        (greet().queue("Bad Queue"), "no queue can have its queue's name"),
        (greet().queue("x".repeat(57)), "no queue can have its queue's name"),
        (greet().queue("mail-poison"), "no job is run from there"),
        (greet().max_attempts(0), "max_attempts is 0; allow at least 1"),
        (greet().expires_in(Duration::ZERO), "expires_in is zero"),
        (greet().expires_in(SECOND).delay(SECOND), "would never run"),
        (client.enqueue(Misnamed), "no queue can have its queue's name"),
        (client.enqueue(Misnamed).queue("fine").delay(SECOND), "would never run"),
        (client.enqueue(keyed), "cannot be serialised"),
        (client.enqueue(Deep { value: deep }), "nested deeper than 127"),
    ];
    for (enqueue, expected) in wrong {
        assert!(!format!("{enqueue:?}").contains(CANARY));
        let id = enqueue.id();
        let error = enqueue.await.unwrap_err();
        assert_eq!(error.kind(), EnqueueErrorKind::Invalid);
        assert_eq!(error.id(), id);
        let text = everything(&error);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(text.contains("was not enqueued"), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(fake.take_calls().is_empty());
}

#[tokio::test]
async fn a_raw_message_is_the_args_and_nothing_else() {
    let fake = Fake::with_queue(capable(), "outbox");
    let client = fake.client();
    let raw = client.enqueue(Mail { to: 7 }).raw().delay(30 * SECOND);
    let id = raw.id();
    assert_eq!(raw.await.unwrap(), id);
    client.enqueue_all([Mail { to: 8 }, Mail { to: 9 }]).raw().await.unwrap();
    let bodies: Vec<_> = fake.look("outbox", |m| m.iter().map(|m| m.body.clone()).collect());
    assert_eq!(bodies, [r#"{"to":7}"#, r#"{"to":8}"#, r#"{"to":9}"#]);
    fake.look("outbox", |messages| {
        assert_eq!((messages[0].delay, messages[1].delay), (30 * SECOND, Duration::ZERO));
        assert_eq!((messages[0].ttl, messages[0].hint), (None, Some(id)));
    });
}

#[tokio::test]
async fn a_raw_message_may_fill_the_queues_longest_body() {
    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    let limit = Capabilities::minimal().max_body;
    let empty = serde_json::to_string(&greet("")).unwrap().len();
    client.enqueue(greet("x".repeat(limit - empty))).raw().await.unwrap();
    let error = client.enqueue(greet("x".repeat(limit - empty + 1))).raw().await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::TooLarge);
    assert!(error.to_string().contains(&limit.to_string()), "{error}");
}

#[tokio::test]
async fn what_a_raw_message_cannot_carry_is_an_error_and_sends_nothing() {
    let mut capabilities = capable();
    capabilities.max_delay = 100 * SECOND;
    let fake = Fake::new(capabilities);
    let client = fake.client();
    let raw = || client.enqueue(greet(CANARY)).raw();
    let wrong = [
        (raw().max_attempts(3), "`max_attempts` cannot travel in a raw message"),
        (raw().max_attempts(0), "max_attempts is 0"),
        (raw().expires_in(SECOND), "`expires_in` cannot travel in a raw message"),
        (raw().meta("tenant", CANARY), "`meta` cannot travel in a raw message"),
        (raw().delay(101 * SECOND), "can be delayed by 100s at most"),
        (raw().queue("mail-poison"), "no job is run from there"),
    ];
    for (enqueue, expected) in wrong {
        let id = enqueue.id();
        let error = enqueue.await.unwrap_err();
        assert_eq!((error.kind(), error.id()), (EnqueueErrorKind::Invalid, id));
        let text = everything(&error);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    let all = client.enqueue_all([greet(CANARY), greet(CANARY)]).raw().meta("a", "b");
    assert_eq!(all.await.unwrap_err().errors().count(), 2);
    assert!(fake.take_calls().is_empty());
    raw().delay(100 * SECOND).await.unwrap();
}

#[tokio::test]
async fn absurd_expiries_do_not_overflow() {
    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    client.enqueue(greet("")).expires_in(Duration::MAX).await.unwrap();
    client.enqueue(greet("")).expires_in(Duration::from_nanos(1)).await.unwrap();
    let bodies = fake.bodies("default");
    assert_eq!(bodies[0]["options"]["expires_in_ms"], u64::MAX);
    assert_eq!(bodies[1]["options"]["expires_in_ms"], 1);
}

#[tokio::test]
async fn an_error_says_whether_the_job_may_run() {
    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    fake.lose_answer("send");
    let enqueue = client.enqueue(greet(CANARY));
    let id = enqueue.id();
    let error = enqueue.await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Unknown);
    assert_eq!((error.id(), error.job()), (id, "greet"));
    assert_eq!(error.queue().unwrap().as_str(), "default");
    assert!(error.to_string().contains("enqueue it again only if the job is idempotent"));
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(fake.bodies("default")[0]["id"], id.to_string(), "it is there after all");

    for kind in [ErrorKind::Throttled, ErrorKind::Unauthorized, ErrorKind::TooLarge] {
        fake.fail("send", &[kind]);
        let error = client.enqueue(greet(CANARY)).await.unwrap_err();
        assert_eq!(error.kind(), EnqueueErrorKind::Rejected);
        assert!(error.to_string().contains("was not enqueued"), "{error}");
        assert!(!everything(&error).contains(CANARY), "{}", everything(&error));
    }
    assert_eq!(fake.len("default"), 1);
}

#[tokio::test]
async fn a_queue_is_made_at_first_use_and_never_again() {
    let fake = Fake::new(capable());
    let client = fake.client();
    client.enqueue(greet("first")).await.unwrap();
    client.enqueue(greet("second")).await.unwrap();
    let calls = fake.take_calls();
    assert_eq!(calls, ["send default 1", "create default", "send default 1", "send default 1"]);

    fake.remove_queue("default");
    let error = client.clone().enqueue(greet("third")).await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Rejected);
    assert!(error.to_string().contains("has vanished"), "{error}");
    assert_eq!(fake.take_calls(), ["send default 1"]);
    assert!(!fake.exists("default"));
}

#[tokio::test]
async fn a_queue_that_was_found_is_not_made_either() {
    let fake = Fake::with_queue(capable(), "default");
    let client = fake.client();
    client.enqueue(greet("first")).await.unwrap();
    fake.remove_queue("default");
    assert!(client.enqueue(greet("second")).await.is_err());
    assert!(!fake.exists("default"));
}

#[tokio::test]
async fn who_may_not_create_is_told_so() {
    let fake = Fake::new(capable());
    let client = fake.client();
    fake.fail("create", &[ErrorKind::Unauthorized, ErrorKind::Timeout]);
    let error = client.enqueue(greet("")).await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Rejected);
    let text = everything(&error);
    assert!(text.contains("may not create it; create the queue"), "{text}");
    assert!(text.contains("there is no such queue"), "{text}");

    let error = client.enqueue(greet("")).await.unwrap_err();
    assert_eq!(error.kind(), EnqueueErrorKind::Rejected, "no job was sent");
    assert!(everything(&error).contains("did not answer in time"), "{error}");

    client.enqueue(greet("")).await.unwrap();
}

#[test]
fn debug_shows_neither_args_nor_backend() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let fake = Fake::new(capable());
    let client = fake.client();
    let one = client.enqueue(greet(CANARY)).meta("secret", CANARY);
    let all = client.enqueue_all([greet(CANARY)]).meta("secret", CANARY);
    let shown = format!("{client:?} {one:?} {all:?}");
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.contains("Enqueue {") && shown.contains(Greet::NAME), "{shown}");
}
