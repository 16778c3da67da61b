//! Poison queues: looking at what is there, and clearing it out.

mod support;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use job_core::{Client, JobId, PoisonQueue, PoisonReason};
use serde_json::{Value, json};
use support::{CANARY, Fake, Poisoned, capable};

fn poison(fake: &Fake) -> PoisonQueue {
    fake.client().poison("mail").unwrap()
}

fn fake() -> Fake {
    Fake::with_queue(capable(), "mail")
}

/// Posts so many jobs and gives their ids.
fn fill(fake: &Fake, jobs: usize) -> Vec<JobId> {
    let post = |_| {
        let job = Poisoned::new("send_welcome", "mail");
        fake.post("mail-poison", job.body());
        job.id
    };
    (0..jobs).map(post).collect()
}

fn millis(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

#[tokio::test]
async fn a_job_is_shown_with_all_that_is_known() {
    let fake = fake();
    let job = Poisoned::new("send_welcome", "mail");
    fake.post("mail-poison", job.body());
    let shown = poison(&fake).show(job.id).await.unwrap().unwrap();
    assert_eq!(shown.id(), job.id);
    assert_eq!(shown.name(), Some("send_welcome"));
    assert_eq!(shown.reason(), PoisonReason::AttemptsExhausted);
    assert_eq!(shown.error(), Some("connection refused"));
    assert_eq!(shown.attempts(), 5);
    assert_eq!(shown.queue().as_str(), "mail");
    assert_eq!(shown.poisoned_at(), millis(1_600_000_200_000));
    assert_eq!(shown.enqueued_at(), millis(1_600_000_000_000));
    let args: Value = serde_json::from_str(shown.args().unwrap()).unwrap();
    assert_eq!(args, json!({ "text": CANARY }));
    assert_eq!(shown.original(), None);
    assert!(!format!("{shown:?}").contains(CANARY), "{shown:?}");

    let own = job.set("/poison/error", json!("no handler of that name"));
    fake.post("mail-poison", own.body());
    let listed = poison(&fake).list(2).await.unwrap();
    assert_eq!(listed[1].error(), Some("no handler of that name"));
}

#[tokio::test]
async fn what_is_no_job_is_listed_too() {
    let fake = fake();
    let wrapped = Poisoned::new("", "mail")
        .set("/poison/reason", json!("undecodable"))
        .set("/args", Value::Null)
        .set("/original", json!({ "base64": "/v8A" }));
    fake.post("mail-poison", wrapped.body());
    fake.post("mail-poison", format!("hello {CANARY}"));
    let newer = json!({ "format": 99, "all": "different" }).to_string();
    fake.post("mail-poison", newer.clone());
    let by_hand = Poisoned::new("send_welcome", "mail").unmarked();
    fake.post("mail-poison", by_hand.body());

    let jobs = poison(&fake).list(10).await.unwrap();
    assert_eq!(jobs[0].reason(), PoisonReason::Undecodable);
    assert_eq!(jobs[0].original(), Some(Bytes::from_static(b"\xfe\xff\x00")));
    assert_eq!((jobs[0].name(), jobs[0].args()), (None, None));
    assert_eq!(jobs[1].reason(), PoisonReason::Undecodable);
    assert_eq!(jobs[1].original(), Some(Bytes::from(format!("hello {CANARY}"))));
    assert_eq!(jobs[1].error(), Some("the message is not JSON (line 1, column 1)"));
    assert_eq!(jobs[2].reason(), PoisonReason::NewerFormat);
    assert_eq!(jobs[2].original(), Some(Bytes::from(newer)));
    assert_eq!(jobs[3].reason(), PoisonReason::Other);
    assert_eq!(jobs[3].queue().as_str(), "mail");
    assert!(!format!("{jobs:?}").contains(CANARY), "{jobs:?}");

    let again = poison(&fake).list(10).await.unwrap();
    assert_eq!(again[1].id(), jobs[1].id(), "the id of a bare message stays");
    assert_eq!(poison(&fake).show(jobs[1].id()).await.unwrap().unwrap().id(), jobs[1].id());
}

#[tokio::test]
async fn an_event_that_somebody_put_there_has_its_own_id_and_name() {
    let fake = fake();
    let event = |id: &str| json!({ "specversion": "1.0", "id": id, "source": "/a", "type": "placed", "data": CANARY });
    for id in ["1", "1", "2"] {
        fake.post("mail-poison", event(id).to_string());
    }
    let jobs = poison(&fake).list(10).await.unwrap();
    assert_eq!((jobs[0].id() == jobs[1].id(), jobs[0].id() == jobs[2].id()), (true, false));
    assert_eq!((jobs[0].name(), jobs[0].reason()), (Some("placed"), PoisonReason::Other));
    assert_eq!((jobs[0].error(), jobs[0].args()), (None, None));
    assert_eq!(jobs[0].original(), Some(Bytes::from(event("1").to_string())));
    assert!(!format!("{jobs:?}").contains(CANARY), "{jobs:?}");

    let report = poison(&fake).replay().name("placed").await.unwrap();
    assert_eq!((report.replayed(), report.skipped()), (2, 1), "a copy does not start it twice");
    assert_eq!(fake.bodies("mail"), [event("1"), event("2")]);
}

#[tokio::test]
async fn a_peek_will_do_for_a_few() {
    let fake = fake();
    let ids = fill(&fake, 5);
    let listed = poison(&fake).list(3).await.unwrap();
    assert_eq!(listed.iter().map(|job| job.id()).collect::<Vec<_>>(), ids[..3]);
    assert_eq!(poison(&fake).list(100).await.unwrap().len(), 5);
    assert!(poison(&fake).list(0).await.unwrap().is_empty());
    assert_eq!(poison(&fake).show(ids[4]).await.unwrap().unwrap().id(), ids[4]);
    assert!(poison(&fake).show(JobId::new()).await.unwrap().is_none());
    assert!(fake.take_calls().iter().all(|call| call.starts_with("peek")));
}

#[tokio::test]
async fn what_a_peek_does_not_show_is_leased_and_given_back() {
    for max_peek in [0, 10] {
        let mut capabilities = capable();
        capabilities.max_peek = max_peek;
        capabilities.max_receive = 7;
        let fake = Fake::with_queue(capabilities, "mail");
        let ids = fill(&fake, 30);
        let listed = poison(&fake).list(25).await.unwrap();
        assert_eq!(listed.iter().map(|job| job.id()).collect::<Vec<_>>(), ids[..25]);
        assert_eq!(fake.visible("mail-poison"), 30);
        assert_eq!(poison(&fake).list(100).await.unwrap().len(), 30);
        assert_eq!(poison(&fake).show(ids[29]).await.unwrap().unwrap().id(), ids[29]);
        assert!(poison(&fake).show(JobId::new()).await.unwrap().is_none());
        assert_eq!(fake.visible("mail-poison"), 30);
    }
}

#[tokio::test]
async fn a_poison_queue_that_is_not_there_is_empty() {
    let fake = Fake::new(capable());
    let poison = poison(&fake);
    assert_eq!(poison.count().await.unwrap(), 0);
    assert!(poison.list(100).await.unwrap().is_empty());
    assert!(poison.show(JobId::new()).await.unwrap().is_none());
    assert_eq!(poison.purge().await.unwrap(), Some(0));
    let report = poison.replay().await.unwrap();
    assert_eq!((report.matched(), report.is_complete()), (0, true));
    assert!(!fake.exists("mail-poison"));
}

#[tokio::test]
async fn counting_and_purging() {
    let fake = fake();
    fill(&fake, 30);
    let poison = poison(&fake);
    assert_eq!(poison.count().await.unwrap(), 30);
    assert_eq!(poison.purge().await.unwrap(), Some(30));
    assert_eq!(poison.count().await.unwrap(), 0);
}

#[test]
fn both_names_mean_the_same_queue() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let client: Client = fake().client();
    for name in ["mail", "mail-poison"] {
        let poison = client.poison(name).unwrap();
        assert_eq!((poison.queue().as_str(), poison.name().as_str()), ("mail", "mail-poison"));
    }
    assert!(client.poison("Not A Queue").is_err());
    assert!(client.poison("x".repeat(60)).is_err());
}
