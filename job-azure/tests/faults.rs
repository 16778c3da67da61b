//! What the service and the wire can do to a worker, and that nothing is lost by it.

mod common;

use std::future::IntoFuture as _;
use std::time::{Duration, SystemTime};

use common::*;
use job_azure_fake::{FakeService, Fault, Operation, Refusal};
use job_core::backend::{Backend, ErrorKind};
use job_core::{Client, EnqueueErrorKind, Queue};
use tokio::time::{Instant, sleep, timeout};

const ORDERS: [&str; 5] = ["ok", "retry", "fail", "poison", "slow"];

const FAULTS: [Fault; 16] = [
    Fault::LoseRequest,
    Fault::RefuseConnection,
    Fault::LoseResponse,
    Fault::HangBefore,
    Fault::HangAfter,
    Fault::SERVER_BUSY,
    Fault::TIMED_OUT,
    status(503, "ServerBusy", Some(Duration::from_secs(3))),
    status(500, "InternalError", None),
    status(401, "InvalidAuthenticationInfo", None),
    status(403, "AuthorizationPermissionMismatch", None),
    Fault::Delay(Duration::from_secs(90)),
    Fault::DelayAnswer(Duration::from_secs(90)),
    Fault::Garbage,
    Fault::Truncated,
    Fault::Duplicate,
];

const fn status(status: u16, code: &'static str, retry_after: Option<Duration>) -> Fault {
    Fault::Status { status, code, retry_after }
}

/// Every fault on every request that a worker makes: often at first, then never again.
#[tokio::test(start_paused = true)]
async fn no_fault_of_any_request_loses_a_job() {
    let operations = [Operation::Send, Operation::Receive, Operation::Update, Operation::Delete];
    for operation in operations {
        for fault in FAULTS.into_iter().chain([Fault::Reorder]) {
            for stale_is_not_found in [false, true] {
                let service = FakeService::new();
                service.stale_receipts_are_not_found(stale_is_not_found);
                survive(&service, operation, fault).await;
            }
        }
    }
}

async fn survive(service: &FakeService, operation: Operation, fault: Fault) {
    let what = format!("{operation:?} {fault:?}");
    let (client, log) = (client(service), Log::default());
    create_queues(&client).await;
    // It would not start without access.
    let worker = start(&client, &log);
    service.wait_for(Operation::Receive, 1).await;
    let mut calls = 0;
    service.faults(move |call| {
        calls += u64::from(call.operation == operation);
        let struck = call.operation == operation && calls <= 24 && calls % 3 != 0;
        if struck { fault } else { Fault::None }
    });

    let (mut sure, mut maybe) = (Vec::new(), Vec::new());
    for n in 0..3 {
        for order in ORDERS {
            let order = format!("{order}-{n}");
            match client.enqueue(Act { order: order.clone() }).await {
                Ok(_) => sure.push(order),
                Err(error) if error.kind() == EnqueueErrorKind::Unknown => maybe.push(order),
                Err(error) => assert_eq!(error.kind(), EnqueueErrorKind::Rejected, "{what}"),
            }
        }
    }
    drained(service, WORK).await;
    // A late copy of a request that was stuck may still be on its way.
    sleep(120 * SECOND).await;
    drained(service, WORK).await;
    worker.stop().await;

    service.no_faults();
    let poison = poisoned(&client).await;
    for order in &sure {
        let (begun, done) = log.of(order);
        let copies = poison.iter().filter(|other| *other == order).count();
        let wanted = match order.split('-').next().unwrap() {
            "ok" | "slow" | "retry" => done > 0,
            _ => copies > 0,
        };
        let gone =
            format!("{what}: {order} was begun {begun}, done {done}, poisoned {copies} times");
        assert!(wanted, "{gone}");
        assert!(begun <= 12, "{gone}");
    }
    for order in &poison {
        let known = sure.contains(order) || maybe.contains(order);
        let fit = order.starts_with("fail") || order.starts_with("poison");
        assert!(known && fit, "{what}: {order} is in poison");
    }
}

/// One order through a worker whose service misbehaves as `faults` says. How often it was begun
/// and done.
async fn one(order: &str, faults: impl FnOnce(&FakeService)) -> (u32, u32) {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    client.enqueue(Act { order: order.into() }).await.unwrap();
    faults(&service);
    let worker = start(&client, &log);
    drained(&service, WORK).await;
    worker.stop().await;
    log.of(order)
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_delete_is_not_answered_runs_once() {
    for fault in [Fault::LoseResponse, Fault::HangAfter, Fault::TIMED_OUT, Fault::LoseRequest] {
        let runs = one("ok", |service| {
            service.fail_times(Operation::Delete, 3, fault);
        });
        assert_eq!(runs.await, (1, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_delete_never_gets_through_runs_once() {
    // The lease ends, the message comes again, and the worker remembers.
    let runs = one("ok", |service| {
        service.fail_times(Operation::Delete, 60, Fault::RefuseConnection);
    });
    assert_eq!(runs.await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_renewals_fail_for_a_while_keeps_its_lease() {
    for fault in [Fault::SERVER_BUSY, Fault::LoseRequest, Fault::RefuseConnection] {
        let runs = one("slow", |service| {
            service.fail_times(Operation::Update, 4, fault);
        });
        assert_eq!(runs.await, (1, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_whose_answer_is_lost_charges_nobody() {
    for fault in [Fault::LoseResponse, Fault::Garbage, Fault::Truncated, Fault::HangAfter] {
        // Were it an attempt, `retry` would find itself at its second and succeed at once.
        let runs = one("retry", |service| {
            service.fail_times(Operation::Receive, 3, fault);
        });
        assert_eq!(runs.await, (2, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_not_answered_is_repeated() {
    for fault in [Fault::LoseResponse, Fault::LoseRequest, Fault::TIMED_OUT, Fault::Garbage] {
        let service = FakeService::new();
        let client = client(&service);
        create_queues(&client).await;
        service.fail_next(Operation::Send, fault);
        client.enqueue(Act { order: "ok".into() }).await.unwrap();
        assert_eq!(service.calls().of(Operation::Send), 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept_to() {
    let service = FakeService::new();
    let client = client(&service);
    create_queues(&client).await;
    service.fail_next(Operation::Send, status(503, "ServerBusy", Some(4 * SECOND)));
    let begin = Instant::now();
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    assert!((4 * SECOND..5 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!(service.calls().of(Operation::Send), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_tried_again_before_the_lease_ends_whatever_is_asked_for() {
    let runs = one("slow", |service| {
        let busy = status(503, "ServerBusy", Some(3600 * SECOND));
        service.fail_times(Operation::Update, 2, busy);
    });
    assert_eq!(runs.await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_made_to_wait_for_ever() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    let absurd = status(503, "ServerBusy", Some(Duration::from_secs(u64::MAX)));
    for operation in [Operation::Receive, Operation::Update, Operation::Delete] {
        service.fail_times(operation, 2, absurd);
    }
    let worker = start(&client, &log);
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    client.enqueue(Act { order: "retry".into() }).await.unwrap();
    let empty = service.wait_until(|service| service.depth(WORK) == 0);
    timeout(3600 * SECOND, empty).await.expect("it should go on within the hour");
    worker.stop().await;

    service.fail_next(Operation::CreateQueue, absurd);
    let worker = start(&client, &log);
    let error = worker.ended().await.unwrap_err();
    assert!(chain(&error).contains("503 ServerBusy"), "{}", chain(&error));
}

#[tokio::test(start_paused = true)]
async fn an_enqueue_gives_up_in_time_and_says_what_is_known() {
    for (fault, kind) in [
        (Fault::RefuseConnection, EnqueueErrorKind::Rejected),
        (Fault::SERVER_BUSY, EnqueueErrorKind::Rejected),
        (Fault::HangBefore, EnqueueErrorKind::Unknown),
        (Fault::LoseRequest, EnqueueErrorKind::Unknown),
    ] {
        let service = FakeService::new();
        let client = client(&service);
        create_queues(&client).await;
        service.fail_times(Operation::Send, 1000, fault);
        let begin = Instant::now();
        let error = client.enqueue(Act { order: "ok".into() }).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}");
        assert!(begin.elapsed() <= 12 * SECOND, "{fault:?}: {:?}", begin.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn access_denied_on_one_request_pauses_and_charges_nobody() {
    for operation in [Operation::Receive, Operation::Delete, Operation::Update] {
        let service = FakeService::new();
        let (client, log) = (client(&service), Log::default());
        create_queues(&client).await;
        let worker = start(&client, &log);
        service.wait_for(Operation::Receive, 1).await;
        for order in ORDERS {
            client.enqueue(Act { order: order.into() }).await.unwrap();
        }
        service.require(move |_, asked| match asked == operation {
            true => Err(Refusal::PermissionMismatch),
            false => Ok(()),
        });
        sleep(600 * SECOND).await;
        service.require(|_, _| Ok(()));
        drained(&service, WORK).await;
        worker.stop().await;
        assert_eq!(poisoned(&client).await, ["fail", "poison"], "{operation:?}");
        for order in ["ok", "retry", "slow"] {
            assert!(log.of(order).1 > 0, "{operation:?}: {order} was not done");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_vanishes_is_never_made_again_in_silence() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    let worker = start(&client, &log);
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    drained(&service, WORK).await;

    service.remove_queue(WORK);
    let error = client.enqueue(Act { order: "ok".into() }).await.unwrap_err();
    assert!(chain(&error).contains("no such queue"), "{}", chain(&error));
    sleep(600 * SECOND).await;
    assert_eq!(service.queues(), [POISON]);

    // Somebody who knows what they do makes it again, and all goes on.
    create_queues(&client).await;
    client.enqueue(Act { order: "ok-2".into() }).await.unwrap();
    drained(&service, WORK).await;
    assert_eq!(log.of("ok-2"), (1, 1));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poison_queue_that_vanishes_keeps_the_job_where_it_is() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    let worker = start(&client, &log);
    service.wait_for(Operation::Receive, 1).await;
    service.remove_queue(POISON);
    client.enqueue(Act { order: "poison".into() }).await.unwrap();
    sleep(600 * SECOND).await;
    assert_eq!((service.depth(WORK), log.of("poison").0), (1, 1), "kept, and run once");
    create_queues(&client).await;
    drained(&service, WORK).await;
    assert_eq!(poisoned(&client).await, ["poison"]);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_being_deleted_is_waited_for() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    service.fail_times(Operation::CreateQueue, 6, status(409, "QueueBeingDeleted", None));
    let worker = start(&client, &log);
    client.backend().wait_visible(&name(WORK), 60 * SECOND).await;
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    drained(&service, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_somebody_else_made_is_taken_as_it_is() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    // Its metadata are another's.
    service.fail_times(Operation::CreateQueue, 2, status(409, "QueueAlreadyExists", None));
    let worker = start(&client, &log);
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    drained(&service, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn jobs_expire_by_the_clock_of_the_service() {
    let now = SystemTime::now();
    for wall in [now - DAY, now + DAY] {
        let service = FakeService::new();
        service.wall_clock(wall);
        let (client, log) = (client(&service), Log::default());
        create_queues(&client).await;
        let enqueue = |order: &str| {
            client.enqueue(Act { order: order.into() }).expires_in(600 * SECOND).into_future()
        };
        enqueue("ok-late").await.unwrap();
        sleep(610 * SECOND).await;
        enqueue("ok-in-time").await.unwrap();
        // A process of its own, whose clock is this machine's until it hears from the service.
        let worker = start(&common::client(&service), &log);
        drained(&service, WORK).await;
        worker.stop().await;
        assert_eq!((log.of("ok-late"), log.of("ok-in-time")), ((0, 0), (1, 1)), "{wall:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_in_the_middle_of_a_run_is_told_to_the_first() {
    // Renewals arrive after the lease has ended; somebody else has the message by then.
    let service = FakeService::new();
    let (first, second) = (client(&service), client(&service));
    let (log, other) = (Log::default(), Log::default());
    create_queues(&first).await;
    first.enqueue(Act { order: "slow".into() }).await.unwrap();
    let slow = start(&first, &log);
    service.wait_for(Operation::Receive, 2).await;
    service.fail_times(Operation::Update, 40, Fault::Delay(90 * SECOND));
    sleep(30 * SECOND).await;
    let worker = start(&second, &other);
    drained(&service, WORK).await;
    let done = log.of("slow").1 + other.of("slow").1;
    assert!((1..=2).contains(&done), "done {done} times");
    slow.stop().await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_ceiling_of_the_service_makes_things_late_and_no_worse() {
    let service = FakeService::new();
    service.ceiling(2000);
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    let jobs = (0..5000).map(|n| Act { order: format!("ok-{n}") });
    client.enqueue_all(jobs).await.unwrap();
    let queue = Queue::new(WORK).concurrency(256).lease(60 * SECOND);
    let worker = Running::new(builder(&client, &log).queue(queue));
    drained(&service, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.lease_lost(), report.settle_failed()), (5000, 0, 0));
    assert!((0..5000).all(|n| log.of(&format!("ok-{n}")) == (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn reads_are_repeated_too() {
    let service = FakeService::new();
    let backend = backend(&service);
    let queue = name(WORK);
    create_queues(&Client::new(backend.clone())).await;
    for fault in [Fault::LoseRequest, Fault::LoseResponse, Fault::SERVER_BUSY, Fault::Garbage] {
        for operation in [Operation::Peek, Operation::GetProperties, Operation::Clear] {
            service.fail_times(operation, 2, fault);
        }
        assert_eq!(backend.peek(&queue, 32).await.unwrap().len(), 0, "{fault:?}");
        assert_eq!(backend.stats(&queue).await.unwrap().total, 0, "{fault:?}");
        backend.purge(&queue).await.unwrap();
        service.no_faults();
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_may_have_leased_is_not_repeated() {
    let service = FakeService::new();
    let backend = backend(&service);
    create_queues(&Client::new(backend.clone())).await;
    service.insert_text(WORK, "{}");
    let request = || job_core::backend::ReceiveRequest::new(name(WORK));
    for fault in [Fault::LoseResponse, Fault::HangAfter, Fault::TIMED_OUT, Fault::Garbage] {
        service.fail_next(Operation::Receive, fault);
        let before = service.calls().of(Operation::Receive);
        let error = backend.receive(request()).await.unwrap_err();
        assert!(error.outcome_unknown(), "{fault:?}");
        assert_eq!(service.calls().of(Operation::Receive), before + 1, "{fault:?}");
    }
    service.fail_next(Operation::Receive, Fault::SERVER_BUSY);
    sleep(60 * SECOND).await;
    assert_eq!(backend.receive(request()).await.unwrap().deliveries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_update_leaves_the_receipt_unknown() {
    let service = FakeService::new();
    let backend = backend(&service);
    create_queues(&Client::new(backend.clone())).await;
    service.insert_text(WORK, "{}");
    let request = job_core::backend::ReceiveRequest::new(name(WORK));
    let batch = backend.receive(request).await.unwrap();
    let receipt = batch.deliveries.into_iter().next().unwrap().receipt;
    service.fail_next(Operation::Update, Fault::LoseResponse);
    let renewed = backend.renew(std::slice::from_ref(&receipt), 60 * SECOND).await;
    let error = renewed.into_iter().next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::LeaseLost, true));
    let again = backend.renew(&[receipt], 60 * SECOND).await.into_iter().next().unwrap();
    assert!(!again.unwrap_err().outcome_unknown(), "now it is known");
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_a_month_is_made_of_hops() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    let queue = Queue::new(WORK).max_poll(60 * SECOND);
    let worker = Running::new(builder(&client, &log).queue(queue));
    let begin = Instant::now();
    client.enqueue(Act { order: "ok".into() }).delay(30 * DAY).await.unwrap();
    let empty = service.wait_until(|service| service.depth(WORK) == 0);
    timeout(60 * DAY, empty).await.unwrap();
    assert!(
        (30 * DAY..30 * DAY + 600 * SECOND).contains(&begin.elapsed()),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(log.of("ok"), (1, 1));
    assert_eq!(service.calls().of(Operation::Update), 4 + 1, "one a hop, and one at the start");
    worker.stop().await;
}
