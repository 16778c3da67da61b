//! The shop under test: no queue service, no waiting, no sleeping.

mod shop_fakes;

use std::error::Error;

use job_core::backend::ErrorKind;
use job_core::prelude::*;
use job_core::{EnqueueError, EnqueueErrorKind};
use job_memory::testing::{
    Ended, Operation, TestJobs, assert_args_compatible, assert_enqueued, assert_golden_args,
    assert_idempotent, assert_poisoned, refute_enqueued,
};
use shop::PaymentError;
use shop::accounts::{SendTips, SendWelcome, sign_up};
use shop::orders::{ChargeOrder, SendOrder, Status, place_order};
use shop::webhooks::DeliverWebhook;
use shop_fakes::{Answer, Shop};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

fn shop() -> Shop {
    Shop::new(TestJobs::builder())
}

async fn signed_up() -> (Shop, u64) {
    let shop = shop();
    let user = sign_up(shop.jobs.client(), &shop.services.accounts, "ada@example.org").await;
    (shop, user.unwrap())
}

// --- Signing up ----------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn who_signs_up_is_welcomed_now_and_told_more_in_three_days() {
    let (shop, user_id) = signed_up().await;
    let welcome = (user_id, "ada@example.org");
    assert_enqueued!(shop.jobs, SendWelcome { user_id, email: welcome.1 }, queue = "mail");
    assert_enqueued!(shop.jobs, SendTips { user_id }, delay = 3 * DAY);
    refute_enqueued!(shop.jobs, SendWelcome, delay = SECOND..);

    assert_eq!(shop.jobs.drain().await.completed(), 1);
    let mails = shop.world.mails.lock().unwrap().clone();
    assert_eq!(mails, [("ada@example.org".into(), "Welcome, you are number 1".into())]);
}

#[tokio::test(start_paused = true)]
async fn the_tips_come_after_three_days() {
    let (shop, _) = signed_up().await;
    shop.jobs.drain().await;
    shop.jobs.advance(3 * DAY - SECOND).await;
    assert!(shop.jobs.drain().await.is_empty());
    shop.jobs.advance(SECOND).await;
    assert_eq!(shop.jobs.drain().await.of::<SendTips>().completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_unsubscribes_gets_no_tips() {
    let (shop, user_id) = signed_up().await;
    shop.services.accounts.unsubscribe(user_id);
    let report = shop.jobs.drain_all().await;
    let tips = report.of::<SendTips>();
    assert_eq!(tips.discarded(), 1, "{tips}");
    assert_eq!(tips.runs()[0].ended, Ended::Discarded { reason: "unsubscribed".into() });
    assert_eq!(shop.world.mails.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mail_server_that_is_down_for_a_while() {
    let (shop, user_id) = signed_up().await;
    *shop.world.mails_to_fail.lock().unwrap() = 2;
    assert_eq!(shop.jobs.drain().await.retried(), 1);
    assert_enqueued!(shop.jobs, SendWelcome { user_id }, delay = ..=30 * SECOND);
    let report = shop.jobs.drain_all().await.of::<SendWelcome>();
    assert_eq!((report.retried(), report.completed()), (1, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_mail_server_that_is_down_for_good() {
    let (shop, user_id) = signed_up().await;
    *shop.world.mails_to_fail.lock().unwrap() = u32::MAX;
    shop.jobs.drain_all().await;
    assert_poisoned!(
        shop.jobs,
        SendWelcome { user_id, email: "ada@example.org" },
        reason = PoisonReason::AttemptsExhausted,
        error = "the mail server is down",
        attempts = 4
    );
}

#[tokio::test(start_paused = true)]
async fn signing_up_while_the_queue_service_is_down() {
    let shop = shop();
    shop.jobs.fail_next(Operation::Send, ErrorKind::Unavailable);
    let signed_up = sign_up(shop.jobs.client(), &shop.services.accounts, "ada@example.org").await;
    let error = signed_up.unwrap_err();
    let error = error.downcast_ref::<EnqueueError>().unwrap();
    assert_eq!(error.kind(), EnqueueErrorKind::Unknown);
    refute_enqueued!(shop.jobs, SendWelcome);
}

// --- Orders --------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_order_is_paid_and_sent() {
    let shop = shop();
    let order = shop.order(4_200).await;
    let charge = &shop.jobs.all_enqueued::<ChargeOrder>()[0];
    assert_eq!((charge.order, charge.meta("source")), (order, Some("web")));

    let report = shop.jobs.drain().await;
    assert_eq!(report.completed(), 2, "{report}");
    assert_eq!(shop.status(order), Status::Sent);
    assert_eq!((shop.charged(), shop.parcels()), (vec![4_200], vec![order]));
    refute_enqueued!(shop.jobs, DeliverWebhook);
}

#[tokio::test(start_paused = true)]
async fn an_order_outlasts_a_flaky_bank() {
    let jobs = TestJobs::builder();
    shop_fakes::an_order_outlasts_a_flaky_bank(jobs).await;
}

/// `shop_azurite.rs` has the same with `.backend(azurite())`.
#[tokio::test]
async fn an_order_outlasts_a_flaky_bank_on_the_real_clock() {
    let jobs = TestJobs::builder().real_clock();
    shop_fakes::an_order_outlasts_a_flaky_bank(jobs).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_bank_is_asked_again_when_it_says() {
    let shop = shop();
    shop.bank_says([Answer::No(PaymentError::Busy)]);
    let order = shop.order(100).await;
    shop.jobs.drain().await;
    assert_enqueued!(shop.jobs, ChargeOrder { order }, delay = 90 * SECOND);
    assert_eq!(shop.jobs.advance_to_next().await, Some(90 * SECOND));
    assert_eq!(shop.jobs.drain().await.completed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bank_that_does_not_answer_is_given_twenty_seconds() {
    let shop = shop();
    shop.bank_says([Answer::Silence]);
    shop.order(100).await;
    let start = shop.jobs.now();
    let charge = shop.jobs.run_one().await.unwrap();
    assert_eq!(shop.jobs.now().duration_since(start).unwrap(), 20 * SECOND);
    let Ended::Retried { error, .. } = &charge.ended else { panic!("{charge}") };
    assert!(error.starts_with("the job timed out after 20s"), "{error}");
    assert_eq!(shop.jobs.drain_all().await.completed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_declined_is_not_tried_again() {
    let shop = shop();
    shop.bank_says([Answer::No(PaymentError::Declined)]);
    let order = shop.order(100).await;
    assert_eq!(shop.jobs.drain().await.poisoned(), 1);
    let reason = PoisonReason::Permanent;
    assert_poisoned!(shop.jobs, ChargeOrder { order }, reason = reason, error = "declined");
    refute_enqueued!(shop.jobs, SendOrder);
    assert_eq!(shop.status(order), Status::Placed);

    // Support has called the customer: the card is fine now.
    shop.jobs.client().poison("orders").unwrap().replay().await.unwrap();
    assert_eq!(shop.jobs.drain().await.completed(), 2);
    assert_eq!(shop.status(order), Status::Sent);
}

#[tokio::test(start_paused = true)]
async fn an_order_can_be_cancelled_until_it_is_sent() {
    let shop = shop();
    let (early, late, never) = (shop.order(1).await, shop.order(2).await, shop.order(3).await);
    shop.services.orders.cancel(early);
    for _ in 0..3 {
        assert!(shop.jobs.run_one().await.unwrap().is::<ChargeOrder>());
    }
    shop.services.orders.cancel(late);
    let report = shop.jobs.drain().await;
    assert_eq!((report.discarded(), report.completed()), (1, 1), "{report}");
    shop.services.orders.cancel(never);
    assert_eq!((shop.charged(), shop.parcels()), (vec![2, 3], vec![never]));
    assert_eq!(shop.status(never), Status::Sent);
}

#[tokio::test(start_paused = true)]
async fn money_is_taken_once_although_the_charge_runs_twice() {
    let shop = shop();
    let order = shop.order(100).await;
    shop.jobs.drain().await;
    assert_idempotent!(shop.jobs, ChargeOrder { order }, || (shop.charged(), shop.parcels()));
    assert_idempotent!(shop.jobs, SendOrder { order }, || shop.parcels());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_at_the_bank() {
    let shop = shop();
    shop.bank_says([Answer::Silence]);
    let order = shop.order(100).await;
    shop.jobs.kill_mid_run::<ChargeOrder>();
    assert_eq!(shop.jobs.drain().await.lost(), 1);
    assert_eq!(shop.status(order), Status::Placed);
    // Another worker has it when the lease is over.
    assert_eq!(shop.jobs.advance_to_next().await, Some(MINUTE));
    assert_eq!(shop.jobs.drain().await.completed(), 2);
    assert_eq!(shop.charged(), [100]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_on_the_way_to_the_door() {
    let shop = shop();
    let order = shop.order(100).await;
    shop.jobs.lose_lease::<SendOrder>();
    let report = shop.jobs.drain().await;
    assert_eq!((report.of::<SendOrder>().lost(), report.completed()), (1, 2), "{report}");
    assert_eq!(shop.parcels(), [order]);
}

#[tokio::test(start_paused = true)]
async fn jobs_may_come_twice_late_and_in_any_order() {
    let shop = shop();
    shop.jobs.reorder();
    shop.jobs.duplicate_next::<ChargeOrder>();
    shop.jobs.duplicate_next::<SendOrder>();
    shop.jobs.fail_next_settle::<SendOrder>();
    shop.jobs.slow_backend(SECOND);
    for cents in [1, 2, 3] {
        shop.order(cents).await;
    }
    shop.jobs.drain_all().await;
    assert_eq!((shop.parcels(), shop.world.charged.lock().unwrap().len()), (vec![1, 2, 3], 3));
}

// --- One handler ---------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_a_charge_comes_to() {
    let shop = shop();
    let order = shop.order(100).await;
    shop.bank_says([
        Answer::No(PaymentError::Unreachable),
        Answer::No(PaymentError::Busy),
        Answer::No(PaymentError::Declined),
        Answer::Silence,
    ]);
    let charge = || shop.jobs.perform(ChargeOrder { order });
    assert_eq!(charge().attempt(5).await.expect_retry().after, None);
    assert_eq!(charge().await.expect_retry().after, Some(90 * SECOND));
    let error = charge().await.expect_permanent();
    assert_eq!(error.downcast_ref(), Some(&PaymentError::Declined));
    charge().cancelled().await.expect_given_back();
    charge().await.expect_done();
    assert_enqueued!(shop.jobs, SendOrder { order });
    shop.services.orders.cancel(order);
    assert_eq!(charge().await.expect_discard().to_string(), "cancelled before it was paid");
}

#[tokio::test(start_paused = true)]
async fn a_test_that_cares_for_effects_alone_runs_jobs_inline() {
    let shop = Shop::new(TestJobs::builder().inline());
    let order = shop.order(100).await;
    assert_eq!((shop.status(order), shop.parcels()), (Status::Sent, vec![order]));

    shop.bank_says([Answer::No(PaymentError::Declined)]);
    let placed = place_order(shop.jobs.client(), &shop.services.orders, 100, None).await;
    let error = placed.unwrap_err();
    assert!(format!("{error:#}").contains("the card was declined"), "{error:#}");
    let job = error.downcast_ref::<EnqueueError>().and_then(Error::source);
    assert!(job.and_then(Error::source).is_some_and(|error| error.is::<PaymentError>()));
}

// --- Webhooks: with real sockets, and so on the real clock ---------------------------------------

/// A partner's server that answers as it was told. Ends with the set.
async fn partner(answers: &'static [&'static str]) -> (String, JoinSet<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut keys = Vec::new();
        for status in answers {
            let (socket, _) = listener.accept().await.unwrap();
            let mut lines = BufReader::new(socket).lines();
            while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty())
            {
                keys.extend(line.strip_prefix("Idempotency-Key: ").map(ToOwned::to_owned));
            }
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            lines.into_inner().into_inner().write_all(answer.as_bytes()).await.unwrap();
        }
        keys
    });
    (url, server)
}

#[tokio::test]
async fn a_partner_that_has_trouble_hears_of_it_in_the_end() {
    let shop = Shop::new(TestJobs::builder().real_clock());
    let (url, mut server) = partner(&["503", "429", "200"]).await;
    let order = shop.order_for(100, Some(&url)).await;
    assert_eq!(shop.jobs.drain().await.of::<DeliverWebhook>().retried(), 1);
    assert_enqueued!(shop.jobs, DeliverWebhook { url: &url }, delay = ..=10 * SECOND);

    // The time of the queues is put forward; that of the sockets goes on as it does.
    shop.jobs.advance_to_next().await;
    shop.jobs.drain().await;
    assert_enqueued!(shop.jobs, DeliverWebhook { event: "order.sent" }, delay = 5 * MINUTE);
    shop.jobs.advance(5 * MINUTE).await;
    assert_eq!(shop.jobs.drain().await.completed(), 1);
    let keys = server.join_next().await.unwrap().unwrap();
    assert_eq!(keys, vec![format!("order-{order}-sent"); 3]);
}

#[tokio::test]
async fn partners_that_are_gone_or_do_not_like_it() {
    let shop = Shop::new(TestJobs::builder().real_clock());
    let (url, _server) = partner(&["410", "404", "nonsense"]).await;
    let deliver = || {
        let (url, event, key) = (url.clone(), "order.sent".into(), "k".into());
        shop.jobs.perform(DeliverWebhook { url, event, key })
    };
    assert_eq!(deliver().await.expect_discard().to_string(), "they are gone");
    assert_eq!(deliver().await.expect_permanent().to_string(), "they do not like it");
    assert_eq!(deliver().await.expect_retry().error.to_string(), "they do not speak HTTP");
}

// --- Jobs that older releases have enqueued ------------------------------------------------------

#[test]
fn jobs_of_the_last_releases_are_read() {
    let job = assert_args_compatible!("tests/golden/deliver_webhook.v1.json", DeliverWebhook);
    assert_eq!(job.key, "http://partner.example/hook-order.sent");
    assert_args_compatible!("tests/golden/deliver_webhook.v2.json", DeliverWebhook);
    assert_args_compatible!("tests/golden/charge_order.v1.json", ChargeOrder);
    assert_args_compatible!("tests/golden/send_welcome.v1.json", SendWelcome);
}

#[test]
fn jobs_are_enqueued_as_those_of_the_last_release() {
    let deliver = DeliverWebhook {
        url: "http://partner.example/hook".into(),
        event: "order.sent".into(),
        key: "order-7-sent".into(),
    };
    assert_golden_args!("tests/golden/deliver_webhook.v2.json", deliver);
    assert_golden_args!("tests/golden/charge_order.v1.json", ChargeOrder { order: 7 });
    let welcome = SendWelcome { user_id: 7, email: "ada@example.org".into() };
    assert_golden_args!("tests/golden/send_welcome.v1.json", welcome);
}
