//! Each operation as the REST service documents it, through the SDK.

mod common;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use azure_core::http::StatusCode;
use azure_core::time::OffsetDateTime;
use azure_storage_queue::models::{QueueClientCreateOptions, QueueClientGetPropertiesOptions};
use common::{Sdk, client, held, mail, queue, text, texts};
use job_azure_fake::{FakeService, Operation};
use tokio::time::advance;

const START: u64 = 1_800_000_000;

fn at(seconds: i64) -> Option<OffsetDateTime> {
    Some(OffsetDateTime::from_unix_timestamp(START as i64 + seconds).unwrap())
}

fn set_clock(fake: &FakeService) {
    fake.wall_clock(SystemTime::UNIX_EPOCH + Duration::from_secs(START));
}

async fn pass(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_made_once() {
    let sdk = Sdk::without_queue();
    assert!(!sdk.client.exists().await.unwrap());
    assert_eq!(sdk.client.create(None).await.unwrap().status(), StatusCode::Created);
    assert_eq!(sdk.client.create(None).await.unwrap().status(), StatusCode::NoContent);
    assert!(sdk.client.exists().await.unwrap());
    assert_eq!(sdk.fake.queues(), ["mail"]);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_kept_and_shown() {
    let sdk = Sdk::without_queue();
    let metadata = Some(HashMap::from([("owner".to_owned(), "me".to_owned())]));
    let options = QueueClientCreateOptions { metadata, ..Default::default() };
    sdk.client.create(Some(options.clone())).await.unwrap();
    let again = sdk.client.create(Some(options)).await.unwrap();
    assert_eq!(again.status(), StatusCode::NoContent);
    let options = QueueClientGetPropertiesOptions { timeout: Some(30), ..Default::default() };
    let properties = sdk.client.get_properties(Some(options)).await.unwrap();
    assert_eq!(properties.headers().get_str(&"x-ms-meta-owner".into()).unwrap(), "me");
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_its_way() {
    let sdk = mail().await;
    set_clock(&sdk.fake);
    let sent = sdk.send("hello").await.unwrap();
    assert_eq!(sent.insertion_time, at(0));
    assert_eq!(sent.expiration_time, at(7 * 24 * 3600));
    assert_eq!(sent.time_next_visible, at(0));
    assert!(sent.pop_receipt.is_some());

    pass(2).await;
    let received = sdk.receive_one(60).await;
    assert_eq!(received.message_id, sent.message_id);
    assert_ne!(received.pop_receipt, sent.pop_receipt);
    assert_eq!(received.dequeue_count, Some(1));
    assert_eq!(received.insertion_time, at(0));
    assert_eq!(received.time_next_visible, at(62));
    assert_eq!(text(&received), "hello");

    assert!(sdk.receive(32, 60).await.unwrap().is_empty());
    assert_eq!(sdk.count().await.unwrap(), 1, "hidden messages count");
    sdk.delete(held(&received)).await.unwrap();
    assert_eq!(sdk.count().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_from_sending_settles() {
    let sdk = mail().await;
    let sent = sdk.send("hello").await.unwrap();
    let held = (sent.message_id.as_deref().unwrap(), sent.pop_receipt.as_deref().unwrap());
    sdk.delete(held).await.unwrap();
    assert_eq!(sdk.fake.depth("mail"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receive_takes_one_for_thirty_seconds_unless_told_otherwise() {
    let sdk = mail().await;
    set_clock(&sdk.fake);
    for text in ["1", "2", "3"] {
        sdk.send(text).await.unwrap();
    }
    let first = sdk.receive_with(None, None).await.unwrap();
    assert_eq!(texts(&first), ["1"]);
    assert_eq!(first[0].time_next_visible, at(30));
    let rest = sdk.receive(32, 60).await.unwrap();
    assert_eq!(texts(&rest), ["2", "3"]);
    assert_ne!(rest[0].pop_receipt, rest[1].pop_receipt);
    pass(30).await;
    let again = sdk.receive_one(60).await;
    assert_eq!((text(&again), again.dequeue_count), ("1", Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_peek_changes_nothing() {
    let sdk = mail().await;
    for text in ["1", "2", "3"] {
        sdk.send(text).await.unwrap();
    }
    sdk.receive(1, 60).await.unwrap();
    let peeked = sdk.peek(32).await.unwrap();
    let seen: Vec<_> = peeked.iter().map(|m| m.message_text.as_deref().unwrap()).collect();
    assert_eq!(seen, ["2", "3"]);
    assert_eq!(peeked[0].dequeue_count, Some(0));
    assert_eq!(sdk.receive(32, 60).await.unwrap()[0].dequeue_count, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_delay_hides_until_its_end() {
    let sdk = mail().await;
    sdk.send_with("later", Some(3600), None).await.unwrap();
    pass(3599).await;
    assert!(sdk.receive(1, 60).await.unwrap().is_empty());
    pass(1).await;
    assert_eq!(sdk.receive(1, 60).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_moves_the_end_of_the_lease_and_the_receipt() {
    let sdk = mail().await;
    sdk.send("hello").await.unwrap();
    let first = sdk.receive_one(10).await;
    let receipt = sdk.update(held(&first), None, 100).await.unwrap();
    assert_ne!(Some(&receipt), first.pop_receipt.as_ref());
    pass(99).await;
    assert!(sdk.receive(1, 60).await.unwrap().is_empty());
    let id = held(&first).0;
    let receipt = sdk.update((id, &receipt), Some("rewritten"), 0).await.unwrap();
    let again = sdk.receive_one(60).await;
    assert_eq!((text(&again), again.dequeue_count), ("rewritten", Some(2)));
    assert_ne!(Some(receipt), again.pop_receipt);
}

#[tokio::test(start_paused = true)]
async fn an_update_with_an_empty_text_empties_it() {
    let sdk = mail().await;
    sdk.send("hello").await.unwrap();
    let first = sdk.receive_one(10).await;
    let receipt = sdk.update(held(&first), Some(""), 10).await.unwrap();
    assert_eq!(sdk.fake.texts("mail"), [""]);
    sdk.update((held(&first).0, &receipt), None, 0).await.unwrap();
    assert_eq!(text(&sdk.receive_one(60).await), "");
}

#[tokio::test(start_paused = true)]
async fn an_expired_receipt_works_until_somebody_else_has_the_message() {
    let sdk = mail().await;
    sdk.send("a").await.unwrap();
    let first = sdk.receive_one(10).await;
    pass(60).await;
    let second = sdk.update(held(&first), None, 10).await.unwrap();
    pass(60).await;
    sdk.receive_one(10).await;
    assert_eq!(common::code(sdk.delete((held(&first).0, &second)).await).0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_ends_a_message_whoever_holds_it() {
    let sdk = mail().await;
    set_clock(&sdk.fake);
    sdk.send_with("short", None, Some(10)).await.unwrap();
    let for_ever = sdk.send_with("for ever", None, Some(-1)).await.unwrap();
    assert_eq!(for_ever.expiration_time.unwrap().year(), 9999);
    sdk.send("a week").await.unwrap();
    sdk.receive(1, 3600).await.unwrap();
    pass(9).await;
    assert_eq!(sdk.fake.depth("mail"), 3);
    pass(1).await;
    assert_eq!(sdk.fake.texts("mail"), ["for ever", "a week"]);
    pass(7 * 24 * 3600).await;
    assert_eq!(sdk.fake.texts("mail"), ["for ever"]);
    pass(365 * 24 * 3600).await;
    assert_eq!(sdk.count().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clear_leaves_the_queue_empty() {
    let sdk = mail().await;
    for text in ["1", "2"] {
        sdk.send(text).await.unwrap();
    }
    let taken = sdk.receive(1, 60).await.unwrap();
    sdk.client.clear(None).await.unwrap();
    assert_eq!(sdk.count().await.unwrap(), 0);
    common::refused(sdk.delete(held(&taken[0])).await, 404, "MessageNotFound");
}

#[tokio::test(start_paused = true)]
async fn any_text_that_xml_can_hold_arrives_as_it_was() {
    let sdk = mail().await;
    let all =
        ["<&>\"'", "]]>", "<![CDATA[x]]>", "&amp;lt;", "grüße \u{1f600} \u{fffd}", "{\"a\":1}"];
    for sent in all {
        sdk.send(sent).await.unwrap();
        let received = sdk.receive_one(60).await;
        assert_eq!(text(&received), sent);
        let receipt = sdk.update(held(&received), Some(sent), 60).await.unwrap();
        assert_eq!(sdk.fake.texts("mail"), [sent]);
        sdk.delete((held(&received).0, &receipt)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_carriage_return_that_the_sdk_sends_in_the_open_is_lost() {
    let sdk = mail().await;
    sdk.send("a\r\nb\rc").await.unwrap();
    assert_eq!(sdk.fake.texts("mail"), ["a\nb\nc"], "as XML has every reader do");
    sdk.fake.insert_text("other", "a\r\nb\rc");
    let other = Sdk { client: queue(&sdk.fake, "other"), ..sdk };
    assert_eq!(text(&other.receive_one(60).await), "a\r\nb\rc");
}

#[tokio::test(start_paused = true)]
async fn answers_are_dated_numbered_and_versioned() {
    let sdk = mail().await;
    set_clock(&sdk.fake);
    advance(Duration::from_millis(1999)).await;
    let answer = sdk.client.get_properties(None).await.unwrap();
    let header = |name: &'static str| answer.headers().get_str(&name.into()).unwrap().to_owned();
    assert_eq!(header("date"), "Fri, 15 Jan 2027 08:00:01 GMT");
    assert_eq!(header("x-ms-version"), "2026-04-06");
    assert_eq!(header("x-ms-request-id").len(), 36);
    let next = sdk.client.get_properties(None).await.unwrap();
    let id = "x-ms-request-id".into();
    assert_ne!(next.headers().get_str(&id).unwrap(), header("x-ms-request-id"));
}

#[tokio::test(start_paused = true)]
async fn the_emulators_urls_work_too() {
    let fake = FakeService::new();
    let local = client(&fake, "http://127.0.0.1:10001/devstoreaccount1/mail?sig=secret");
    local.create(None).await.unwrap();
    local.send_message(common::message("hello").try_into().unwrap(), None).await.unwrap();
    assert_eq!(fake.texts("mail"), ["hello"]);
    assert_eq!(fake.calls().of(Operation::Send), 1);
}

#[tokio::test(start_paused = true)]
async fn queues_do_not_mix() {
    let sdk = mail().await;
    let other = queue(&sdk.fake, "other");
    other.create(None).await.unwrap();
    sdk.send("hello").await.unwrap();
    assert_eq!((sdk.fake.depth("mail"), sdk.fake.depth("other")), (1, 0));
    assert_eq!((sdk.fake.depth("none"), sdk.fake.texts("none").len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_post_is_received_as_any_other() {
    let sdk = Sdk::without_queue();
    sdk.fake.insert_text("mail", "from elsewhere");
    assert_eq!(text(&sdk.receive_one(60).await), "from elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_vanished_can_be_made_again() {
    let sdk = mail().await;
    sdk.send("lost").await.unwrap();
    assert!(sdk.fake.remove_queue("mail"));
    assert!(!sdk.fake.remove_queue("mail"));
    common::refused(sdk.send("x").await, 404, "QueueNotFound");
    sdk.client.create(None).await.unwrap();
    assert_eq!(sdk.count().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_is_as_good_as_a_short_one() {
    const COUNT: usize = 50_000;
    let sdk = mail().await;
    for number in 0..COUNT {
        sdk.fake.insert_text("mail", &number.to_string());
    }
    let mut settled = 0;
    loop {
        let batch = sdk.receive(32, 60).await.unwrap();
        if batch.is_empty() {
            break;
        }
        for message in &batch {
            assert_eq!(text(message), settled.to_string());
            settled += 1;
            if settled % 100 == 0 {
                let renewed = sdk.update(held(message), None, 90).await.unwrap();
                sdk.delete((held(message).0, &renewed)).await.unwrap();
            } else {
                sdk.delete(held(message)).await.unwrap();
            }
        }
    }
    assert_eq!((settled, sdk.fake.depth("mail")), (COUNT, 0));
}
