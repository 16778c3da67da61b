//! Each fault: what the client sees of it, and what it leaves behind.

mod common;

use std::time::Duration;

use azure_core::Result;
use azure_core::error::ErrorKind;
use azure_core::http::headers::RETRY_AFTER;
use common::{Sdk, failure, held, mail, refused, texts};
use job_azure_fake::{Fault, Operation};
use tokio::time::{Instant, advance, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn broke<T>(result: Result<T>, expected: &ErrorKind) {
    assert_eq!(failure(result).kind(), expected);
}

/// A queue with the messages `1` to `count`.
async fn filled(count: u32) -> Sdk {
    let sdk = mail().await;
    for number in 1..=count {
        sdk.send(&number.to_string()).await.unwrap();
    }
    sdk
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_does_nothing() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::LoseRequest);
    broke(sdk.send("x").await, &ErrorKind::Io);
    assert_eq!(sdk.fake.depth("mail"), 0);
    sdk.send("x").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_known_to_have_done_nothing() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::RefuseConnection);
    broke(sdk.send("x").await, &ErrorKind::Connection);
    assert_eq!(sdk.fake.depth("mail"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_leaves_its_effect() {
    let sdk = mail().await;
    for operation in [Operation::Send, Operation::Receive, Operation::Update, Operation::Delete] {
        sdk.fake.fail_next(operation, Fault::LoseResponse);
    }
    broke(sdk.send("x").await, &ErrorKind::Io);
    assert_eq!(sdk.fake.texts("mail"), ["x"]);
    broke(sdk.receive(1, 60).await, &ErrorKind::Io);
    assert!(sdk.receive(1, 60).await.unwrap().is_empty(), "nobody holds it, and it is hidden");
    advance(60 * SECOND).await;
    let message = sdk.receive_one(60).await;
    assert_eq!(message.dequeue_count, Some(2));
    broke(sdk.update(held(&message), None, 60).await, &ErrorKind::Io);
    refused(sdk.update(held(&message), None, 60).await, 400, "PopReceiptMismatch");
    advance(60 * SECOND).await;
    let message = sdk.receive_one(60).await;
    broke(sdk.delete(held(&message)).await, &ErrorKind::Io);
    refused(sdk.delete(held(&message)).await, 404, "MessageNotFound");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_request_is_never_answered() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::HangBefore);
    assert!(timeout(3600 * SECOND, sdk.send("before")).await.is_err());
    assert_eq!(sdk.fake.depth("mail"), 0);
    sdk.fake.fail_next(Operation::Send, Fault::HangAfter);
    assert!(timeout(3600 * SECOND, sdk.send("after")).await.is_err());
    assert_eq!(sdk.fake.texts("mail"), ["after"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_in_place_of_the_effect_or_after_it() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::SERVER_BUSY);
    refused(sdk.send("busy").await, 503, "ServerBusy");
    assert_eq!(sdk.fake.depth("mail"), 0);
    sdk.fake.fail_next(Operation::Send, Fault::TIMED_OUT);
    refused(sdk.send("timed out").await, 500, "OperationTimedOut");
    assert_eq!(sdk.fake.texts("mail"), ["timed out"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_can_say_when_to_come_back() {
    let sdk = mail().await;
    let retry_after = Some(Duration::from_millis(2500));
    let throttled = Fault::Status { status: 429, code: "TooManyRequests", retry_after };
    sdk.fake.fail_next(Operation::Send, throttled);
    let error = failure(sdk.send("x").await);
    let ErrorKind::HttpResponse { raw_response: Some(response), .. } = error.kind() else {
        panic!("no answer: {error}");
    };
    assert_eq!(response.headers().get_str(&RETRY_AFTER).unwrap(), "3");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_takes_effect_late() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::Delay(10 * SECOND));
    let start = Instant::now();
    let (sent, ()) = tokio::join!(sdk.send("late"), async {
        sleep(10 * SECOND - Duration::from_millis(1)).await;
        assert_eq!(sdk.fake.depth("mail"), 0);
        sdk.fake.wait_until(|fake| fake.depth("mail") == 1).await;
        assert_eq!(start.elapsed(), 10 * SECOND);
    });
    sent.unwrap();
    assert_eq!(start.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_takes_effect_though_its_client_gave_up() {
    let sdk = filled(1).await;
    let message = sdk.receive_one(60).await;
    sdk.fake.fail_next(Operation::Update, Fault::Delay(10 * SECOND));
    let start = Instant::now();
    let renewed = timeout(SECOND, sdk.update(held(&message), Some("late"), 60)).await;
    assert!(renewed.is_err());
    assert_eq!(sdk.fake.texts("mail"), ["1"]);
    advance(9 * SECOND).await;
    assert_eq!(sdk.fake.texts("mail"), ["late"]);
    refused(sdk.delete(held(&message)).await, 400, "PopReceiptMismatch");
    // Its lease counts from when it took effect, whenever somebody looked.
    advance(59 * SECOND).await;
    assert!(sdk.receive(1, 60).await.unwrap().is_empty());
    advance(SECOND).await;
    assert_eq!(texts(&sdk.receive(1, 60).await.unwrap()), ["late"]);
    assert_eq!(start.elapsed(), 70 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_held_up_take_effect_in_the_order_of_their_arrival() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::Delay(20 * SECOND));
    sdk.fake.fail_next(Operation::Send, Fault::Delay(10 * SECOND));
    for text in ["slow", "quick"] {
        assert!(timeout(SECOND, sdk.send(text)).await.is_err());
    }
    advance(60 * SECOND).await;
    assert_eq!(sdk.fake.texts("mail"), ["quick", "slow"]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_comes_after_its_effect() {
    let sdk = filled(1).await;
    sdk.fake.fail_next(Operation::Receive, Fault::DelayAnswer(90 * SECOND));
    let start = Instant::now();
    let received = sdk.receive_one(60).await;
    assert_eq!(start.elapsed(), 90 * SECOND);
    sdk.receive_one(60).await;
    refused(sdk.delete(held(&received)).await, 400, "PopReceiptMismatch");
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_unreadable() {
    for fault in [Fault::Garbage, Fault::Truncated] {
        let sdk = filled(2).await;
        sdk.fake.fail_next(Operation::Receive, fault);
        let error = failure(sdk.receive(2, 60).await);
        assert_eq!(error.kind(), &ErrorKind::DataConversion, "{fault:?}: {error}");
        assert!(sdk.receive(2, 60).await.unwrap().is_empty(), "it was applied");
        sdk.fake.fail_next(Operation::Send, fault);
        failure(sdk.send("3").await);
        assert_eq!(sdk.fake.depth("mail"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_stored_or_answered_twice() {
    let sdk = mail().await;
    sdk.fake.fail_next(Operation::Send, Fault::Duplicate);
    sdk.send("x").await.unwrap();
    assert_eq!(sdk.fake.texts("mail"), ["x", "x"]);
    sdk.fake.fail_next(Operation::Receive, Fault::Duplicate);
    let received = sdk.receive(1, 60).await.unwrap();
    assert_eq!(received.len(), 2);
    assert_eq!(held(&received[0]), held(&received[1]));
    assert_eq!(sdk.receive(32, 60).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reordered_receive_takes_the_newest_first() {
    let sdk = filled(3).await;
    sdk.fake.fail_next(Operation::Receive, Fault::Reorder);
    assert_eq!(texts(&sdk.receive(2, 60).await.unwrap()), ["3", "2"]);
    assert_eq!(texts(&sdk.receive(2, 60).await.unwrap()), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_sees_every_call() {
    let sdk = mail().await;
    sdk.send("x").await.unwrap();
    let (seen, calls) = std::sync::mpsc::channel();
    sdk.fake.faults(move |call| {
        seen.send(call.clone()).unwrap();
        match call.operation {
            Operation::Receive if call.nth_of_operation == 2 => Fault::LoseRequest,
            _ => Fault::None,
        }
    });
    sdk.fake.fail_next(Operation::Delete, Fault::SERVER_BUSY);
    let message = sdk.receive_one(60).await;
    broke(sdk.receive(1, 60).await, &ErrorKind::Io);
    refused(sdk.delete(held(&message)).await, 503, "ServerBusy");
    sdk.delete(held(&message)).await.unwrap();
    let calls: Vec<_> = calls.try_iter().collect();
    let seen: Vec<_> =
        calls.iter().map(|call| (call.operation, call.number, call.nth_of_operation)).collect();
    let expected = [
        (Operation::Receive, 3, 1),
        (Operation::Receive, 4, 2),
        (Operation::Delete, 5, 1),
        (Operation::Delete, 6, 2),
    ];
    assert_eq!(seen, expected);
    assert!(calls.iter().all(|call| call.queue == "mail"));
    assert_eq!(calls[0].message_id, None);
    assert_eq!(calls[2].message_id, message.message_id);
}

#[tokio::test(start_paused = true)]
async fn faults_end_on_request() {
    let sdk = mail().await;
    sdk.fake.faults(|_| Fault::LoseRequest).fail_times(Operation::Send, 9, Fault::HangBefore);
    sdk.fake.no_faults();
    sdk.send("x").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn latency_is_before_and_after_the_effect() {
    let sdk = mail().await;
    sdk.fake.latency(2 * SECOND);
    let start = Instant::now();
    let (sent, ()) = tokio::join!(sdk.send("x"), async {
        sdk.fake.wait_until(|fake| fake.depth("mail") == 1).await;
        assert_eq!(start.elapsed(), SECOND);
    });
    sent.unwrap();
    assert_eq!(start.elapsed(), 2 * SECOND);
    // Whoever gives up half-way has done it all the same.
    assert!(timeout(SECOND + SECOND / 2, sdk.send("y")).await.is_err());
    assert_eq!(sdk.fake.texts("mail"), ["x", "y"]);
}

#[tokio::test(start_paused = true)]
async fn a_test_waits_for_a_request() {
    let sdk = mail().await;
    sdk.fake.fail_times(Operation::Send, 2, Fault::LoseRequest);
    let (_, ()) = tokio::join!(
        async {
            for text in ["1", "2", "3"] {
                sleep(SECOND).await;
                let _ = sdk.send(text).await;
            }
        },
        async {
            sdk.fake.wait_for(Operation::Send, 2).await;
            assert_eq!((sdk.fake.calls().of(Operation::Send), sdk.fake.depth("mail")), (2, 0));
            sdk.fake.wait_until(|fake| fake.depth("mail") == 1).await;
        }
    );
    sdk.fake.wait_for(Operation::Send, 3).await;
    assert_eq!(sdk.fake.calls().total(), 4);
}

#[tokio::test(start_paused = true)]
async fn debug_shows_figures_and_no_secrets() {
    let sdk = mail().await;
    sdk.send("canary").await.unwrap();
    let shown = format!("{:?}", sdk.fake);
    assert_eq!(shown, "FakeService { queues: 1, calls: {CreateQueue: 1, Send: 1}, .. }");
}
