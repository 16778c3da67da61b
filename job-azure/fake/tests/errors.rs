//! What the service refuses, and with which code.

mod common;

use std::collections::HashMap;
use std::time::Duration;

use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request, StatusCode, Url};
use azure_storage_queue::models::QueueClientCreateOptions;
use common::{Sdk, code, failure, held, mail, queue, refused};
use job_azure_fake::{FakeService, Operation, Refusal};
use tokio::time::advance;

const WEEK: i32 = 7 * 24 * 3600;

async fn raw(fake: &FakeService, method: Method, rest: &str, body: &str) -> AsyncRawResponse {
    let url = Url::parse(&format!("https://account.queue.core.windows.net/{rest}")).unwrap();
    let mut request = Request::new(url, method);
    request.set_body(body.to_owned());
    fake.execute_request(&request).await.unwrap()
}

fn header(response: &AsyncRawResponse, name: &'static str) -> String {
    response.headers().get_str(&HeaderName::from_static(name)).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_is_not_found_by_any_operation() {
    let sdk = Sdk::without_queue();
    let held = ("00000000-0000-4000-8000-000000000000", "AAAA");
    refused(sdk.send("x").await, 404, "QueueNotFound");
    refused(sdk.receive(1, 60).await, 404, "QueueNotFound");
    refused(sdk.peek(1).await, 404, "QueueNotFound");
    refused(sdk.count().await, 404, "QueueNotFound");
    refused(sdk.client.clear(None).await, 404, "QueueNotFound");
    refused(sdk.client.delete(None).await, 404, "QueueNotFound");
    refused(sdk.update(held, None, 1).await, 404, "MessageNotFound");
}

#[tokio::test(start_paused = true)]
async fn other_metadata_is_a_conflict() {
    let sdk = mail().await;
    let metadata = Some(HashMap::from([("owner".to_owned(), "me".to_owned())]));
    let options = QueueClientCreateOptions { metadata, ..Default::default() };
    refused(sdk.client.create(Some(options)).await, 409, "QueueAlreadyExists");
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_deleted_queue_is_free_after_thirty_seconds() {
    let sdk = mail().await;
    sdk.send("gone").await.unwrap();
    sdk.client.delete(None).await.unwrap();
    refused(sdk.send("x").await, 404, "QueueNotFound");
    advance(Duration::from_millis(29_999)).await;
    refused(sdk.client.create(None).await, 409, "QueueBeingDeleted");
    advance(Duration::from_millis(1)).await;
    sdk.client.create(None).await.unwrap();
    assert_eq!(sdk.count().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn names_follow_the_services_rules() {
    let fake = FakeService::new();
    let long = "x".repeat(63);
    for name in ["abc", "a-1", &long] {
        queue(&fake, name).create(None).await.unwrap();
    }
    for name in ["Mail", "-ab", "ab-", "a--b", "a_b", "m%20l"] {
        refused(queue(&fake, name).create(None).await, 400, "InvalidResourceName");
    }
    for name in ["ab", &format!("{long}x")] {
        refused(queue(&fake, name).create(None).await, 400, "OutOfRangeInput");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_receipt_is_a_mismatch_or_not_found() {
    let sdk = mail().await;
    sdk.send("x").await.unwrap();
    let first = sdk.receive_one(60).await;
    let receipt = sdk.update(held(&first), None, 60).await.unwrap();
    refused(sdk.delete(held(&first)).await, 400, "PopReceiptMismatch");
    refused(sdk.update(held(&first), Some("y"), 0).await, 400, "PopReceiptMismatch");
    sdk.fake.stale_receipts_are_not_found(true);
    refused(sdk.delete(held(&first)).await, 404, "MessageNotFound");
    refused(sdk.update(held(&first), Some("y"), 0).await, 404, "MessageNotFound");
    assert_eq!(sdk.fake.texts("mail"), ["x"], "what is refused changes nothing");
    sdk.delete((held(&first).0, &receipt)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_gone_is_not_found() {
    let sdk = mail().await;
    sdk.send("x").await.unwrap();
    let message = sdk.receive_one(60).await;
    sdk.delete(held(&message)).await.unwrap();
    refused(sdk.delete(held(&message)).await, 404, "MessageNotFound");
    refused(sdk.update(held(&message), None, 1).await, 404, "MessageNotFound");
    refused(sdk.delete(("nonsense", held(&message).1)).await, 404, "MessageNotFound");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_none_is_invalid() {
    let sdk = mail().await;
    sdk.send("x").await.unwrap();
    let message = sdk.receive_one(60).await;
    let id = held(&message).0;
    refused(sdk.delete((id, "nonsense")).await, 400, "InvalidQueryParameterValue");
    let answer = raw(&sdk.fake, Method::Delete, &format!("mail/messages/{id}"), "").await;
    assert_eq!(header(&answer, "x-ms-error-code"), "MissingRequiredQueryParameter");
}

#[tokio::test(start_paused = true)]
async fn parameters_have_their_ranges() {
    let sdk = mail().await;
    let out_of_range = "OutOfRangeQueryParameterValue";
    for max in [-1, 0, 33] {
        refused(sdk.receive(max, 60).await, 400, out_of_range);
        refused(sdk.peek(max).await, 400, out_of_range);
    }
    for lease in [-1, 0, WEEK + 1] {
        refused(sdk.receive(1, lease).await, 400, out_of_range);
    }
    for (delay, ttl) in [
        (Some(-1), None),
        (Some(WEEK + 1), Some(-1)),
        (Some(WEEK), None),
        (Some(60), Some(60)),
        (None, Some(0)),
        (None, Some(-2)),
    ] {
        refused(sdk.send_with("x", delay, ttl).await, 400, out_of_range);
    }
    assert_eq!(sdk.fake.depth("mail"), 0);

    sdk.send_with("x", Some(WEEK), Some(-1)).await.unwrap();
    sdk.send_with("y", Some(59), Some(60)).await.unwrap();
    sdk.send_with("z", None, Some(60)).await.unwrap();
    let message = sdk.receive(32, WEEK).await.unwrap().remove(0);
    for lease in [-1, WEEK + 1, 61] {
        refused(sdk.update(held(&message), None, lease).await, 400, out_of_range);
    }
    sdk.update(held(&message), None, 60).await.unwrap();

    let answer = raw(&sdk.fake, Method::Get, "mail/messages?numofmessages=many", "").await;
    assert_eq!(header(&answer, "x-ms-error-code"), "InvalidQueryParameterValue");
}

#[tokio::test(start_paused = true)]
async fn a_text_has_at_most_64_kib() {
    let sdk = mail().await;
    // Two bytes each, and what XML makes longer does not count.
    let most = "é".repeat(32 * 1024 - 1) + "&&";
    sdk.send(&most).await.unwrap();
    assert_eq!(sdk.fake.texts("mail"), std::slice::from_ref(&most));
    refused(sdk.send(&format!("{most}x")).await, 413, "RequestBodyTooLarge");
    let message = sdk.receive_one(60).await;
    let updated = sdk.update(held(&message), Some(&format!("{most}x")), 60).await;
    refused(updated, 413, "RequestBodyTooLarge");
    sdk.update(held(&message), None, 60).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn characters_that_xml_cannot_hold_are_refused() {
    let sdk = mail().await;
    for text in ["\u{0}", "\u{b}", "\u{1f}", "a\u{fffe}b", "\u{ffff}"] {
        refused(sdk.send(text).await, 400, "InvalidXmlDocument");
    }
    for body in ["", "<x/>", "<QueueMessage><MessageText>&#1;</MessageText></QueueMessage>"] {
        let answer = raw(&sdk.fake, Method::Post, "mail/messages", body).await;
        assert_eq!(header(&answer, "x-ms-error-code"), "InvalidXmlDocument");
    }
    assert_eq!(sdk.fake.depth("mail"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why_in_its_headers_and_its_xml() {
    let fake = FakeService::new();
    let answer = raw(&fake, Method::Post, "mail/messages", MESSAGE).await;
    assert_eq!(answer.status(), StatusCode::NotFound);
    assert_eq!(header(&answer, "x-ms-error-code"), "QueueNotFound");
    let id = header(&answer, "x-ms-request-id");
    let date = header(&answer, "date");
    let body = answer.try_into_raw_response().await.unwrap().into_body();
    let expected = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>QueueNotFound</Code>\
         <Message>The specified queue does not exist.\nRequestId:{id}\nTime:{date}</Message>\
         </Error>"
    );
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
}

const MESSAGE: &str = "<QueueMessage><MessageText>x</MessageText></QueueMessage>";

#[tokio::test(start_paused = true)]
async fn credentials_are_judged_on_request() {
    let sdk = mail().await;
    sdk.fake.require(|request, operation| match operation {
        Operation::Send => Err(Refusal::NoCredentials),
        Operation::Receive => Err(Refusal::InvalidToken),
        Operation::Peek => Err(Refusal::AuthenticationFailed),
        Operation::Clear => Err(Refusal::PermissionMismatch),
        _ => match request.url().query() {
            Some(query) if query.contains("comp") => Ok(()),
            _ => Err(Refusal::AuthenticationFailed),
        },
    });
    refused(sdk.send("x").await, 401, "NoAuthenticationInformation");
    refused(sdk.receive(1, 60).await, 401, "InvalidAuthenticationInfo");
    refused(sdk.peek(1).await, 403, "AuthenticationFailed");
    refused(sdk.client.clear(None).await, 403, "AuthorizationPermissionMismatch");
    refused(sdk.client.delete(None).await, 403, "AuthenticationFailed");
    assert_eq!(sdk.count().await.unwrap(), 0);
    let answer = raw(&sdk.fake, Method::Post, "mail/messages", MESSAGE).await;
    assert!(header(&answer, "www-authenticate").starts_with("Bearer"));
    sdk.fake.require(|_, _| Ok(()));
    sdk.send("x").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_takes_so_many_operations_a_second() {
    let sdk = mail().await;
    let other = queue(&sdk.fake, "other");
    sdk.fake.ceiling(10);
    for _ in 0..10 {
        sdk.send("x").await.unwrap();
    }
    refused(sdk.send("x").await, 503, "ServerBusy");
    refused(sdk.receive(1, 60).await, 503, "ServerBusy");
    other.create(None).await.unwrap();
    advance(Duration::from_millis(100)).await;
    sdk.send("x").await.unwrap();
    refused(sdk.send("x").await, 503, "ServerBusy");
    advance(Duration::from_secs(60)).await;
    let mut taken = 0;
    while sdk.receive(1, 3600).await.is_ok() {
        taken += 1;
    }
    assert_eq!((taken, sdk.fake.depth("mail")), (10, 11));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_imitated_says_so() {
    let sdk = mail().await;
    let error = failure(sdk.client.get_access_policy(None).await);
    assert!(error.to_string().contains("knows no GET /mail"), "{error}");
    assert_eq!(code(sdk.receive(99, 1).await).0, 400, "and the rest goes on");
    assert_eq!(sdk.fake.calls().total(), 2);
}
