//! A worker that is told to stop is gone in time, whatever the service does, and what it held is
//! there for the next one.

mod common;

use common::*;
use job_azure_fake::{FakeService, Fault, Operation};
use job_core::Client;
use tokio::time::{Instant, sleep, timeout};

/// The grace time of the workers here, and what it may take on top.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(5 + 2);

/// A worker with a slow job under way, on a service of its own.
async fn busy() -> (FakeService, Client, Log, Running) {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    client.enqueue(Act { order: "slow".into() }).await.unwrap();
    let worker = start(&client, &log);
    log.begun(1).await;
    (service, client, log, worker)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cut_short_is_visible_at_once_and_not_charged() {
    let (service, client, log, worker) = busy().await;
    let begin = Instant::now();
    let report = worker.stop().await;
    assert!(begin.elapsed() <= LIMIT, "{:?}", begin.elapsed());
    assert_eq!((report.given_back(), report.abandoned()), (1, 0));
    let visible = client.backend().peek(&name(WORK), 32).await.unwrap();
    assert_eq!(visible.len(), 1, "it waits for nothing");
    let worker = start(&client, &log);
    drained(&service, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), log.of("slow")), (1, (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_does_not_hold_a_worker_up() {
    let down = [Fault::HangBefore, Fault::RefuseConnection, Fault::LoseRequest, Fault::SERVER_BUSY];
    for fault in down {
        let (service, client, log, worker) = busy().await;
        service.faults(move |_| fault);
        let begin = Instant::now();
        let report = worker.stop().await;
        assert!(begin.elapsed() <= LIMIT, "{fault:?}: {:?}", begin.elapsed());
        assert_eq!(report.completed(), 0, "{fault:?}");
        // It could not be given back; it comes when its lease has ended.
        service.no_faults();
        let worker = start(&client, &log);
        drained(&service, WORK).await;
        assert_eq!(worker.stop().await.completed(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_to_poison_that_is_cut_short_is_finished_by_the_next_worker() {
    for operation in [Operation::Update, Operation::Send, Operation::Delete] {
        for fault in [Fault::HangBefore, Fault::HangAfter] {
            let service = FakeService::new();
            let (client, log) = (client(&service), Log::default());
            create_queues(&client).await;
            client.enqueue(Act { order: "poison".into() }).await.unwrap();
            let worker = start(&client, &log);
            // The first of each is the worker's look whether it may.
            let probes = u64::from(operation != Operation::Send);
            service.wait_for(operation, probes).await;
            service.fail_times(operation, 1000, fault);
            service.wait_for(operation, probes + 1).await;
            let begin = Instant::now();
            worker.stop().await;
            assert!(begin.elapsed() <= LIMIT, "{operation:?} {fault:?}: {:?}", begin.elapsed());

            service.no_faults();
            let worker = start(&client, &log);
            drained(&service, WORK).await;
            worker.stop().await;
            // Unless its mark was never written, it did not run again.
            let unmarked = (operation, fault) == (Operation::Update, Fault::HangBefore);
            let begun = if unmarked { 2 } else { 1 };
            assert_eq!(log.of("poison").0, begun, "{operation:?} {fault:?}");
            let copies = poisoned(&client).await;
            assert!(!copies.is_empty(), "{operation:?} {fault:?}: lost");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_under_way_is_given_back() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    let worker = start(&client, &log);
    service.wait_for(Operation::Receive, 1).await;
    service.fail_times(Operation::Receive, 1, Fault::DelayAnswer(3 * SECOND));
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    service.wait_for(Operation::Receive, 2).await;
    sleep(SECOND).await;
    let report = timeout(LIMIT, worker.stop()).await.expect("it should stop");
    assert_eq!((report.started(), report.given_back()), (0, 1));
    let visible = client.backend().peek(&name(WORK), 32).await.unwrap();
    assert_eq!((visible.len(), log.of("ok")), (1, (0, 0)));
}
