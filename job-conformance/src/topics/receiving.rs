//! Taking messages off a queue.

use std::time::Duration;

use job_core::backend::{ErrorKind, ReceiveRequest};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A receive that does not wait is answered at once on an empty queue.
pub async fn an_empty_queue_gives_nothing_at_once(t: &Fixture) {
    let start = Instant::now();
    t.expect_nothing("A receive gives only what was sent.").await;
    let took = start.elapsed();
    ensure!(took < t.slack(), promise::AT_MOST_WAIT, "it took {took:?}");
}

/// A receive gives no more than it was asked for.
pub async fn a_receive_gives_at_most_max(t: &Fixture) {
    t.send_many(4).await;
    for max in [1, 2] {
        let given = t.receive(max, t.long()).await.len();
        ensure!(given <= max, promise::MOST, "of {max} it gave {given}");
    }
}

/// A receive that asks for more than the service gives is cut, not refused.
pub async fn a_receive_is_cut_to_the_capability(t: &Fixture) {
    let most = t.capabilities().max_receive;
    t.send_many(most + 1).await;
    let given = t.receive(most + 1, t.long()).await.len();
    ensure!((1..=most).contains(&given), promise::MOST, "it gave {given}, the most is {most}");
}

/// Each message of a batch has a receipt of its own.
pub async fn a_batch_has_a_lease_for_each(t: &Fixture) {
    t.send_many(2).await;
    let mut batch = t.take_many(2).await;
    let (second, first) = (batch.pop(), batch.pop());
    let (Some(first), Some(second)) = (first, second) else { return };
    t.delete(&first.receipt).await.kept("Each message is under a lease of its own.");
    t.delete(&second.receipt).await.kept("Each message is under a lease of its own.");
}

/// Everything that was sent is received, once while its lease lasts.
pub async fn everything_is_received_once(t: &Fixture) {
    let ids = t.send_many(20).await;
    let taken = t.take_many(20).await;
    for id in &ids {
        let came = taken.iter().filter(|delivery| delivery.message_id == *id).count();
        ensure!(came == 1, promise::LEASE_HIDES, "a message came {came} times");
    }
    t.expect_nothing(promise::LEASE_HIDES).await;
}

/// The first delivery counts one.
pub async fn the_first_delivery_counts_one(t: &Fixture) {
    t.send("x").await;
    let count = t.take().await.count;
    ensure!(count == Some(1), promise::COUNT_RISES, "the first delivery has {count:?}");
}

/// The count rises by one with each delivery, however the one before ended.
pub async fn the_count_rises_by_one(t: &Fixture) {
    t.send("x").await;
    for expected in 1..=3 {
        let delivery = t.take().await;
        let count = delivery.count;
        ensure!(count == Some(expected), promise::COUNT_RISES, "not {expected} but {count:?}");
        t.release(&delivery.receipt, Duration::ZERO).await.kept(promise::RELEASE);
    }
    t.take_for(t.short()).await;
    let count = t.take_within(t.short(), promise::LEASE_ENDS).await.count;
    ensure!(count == Some(5), promise::COUNT_RISES, "after an expired lease not 5 but {count:?}");
}

/// A receive that asks for nothing is a mistake.
pub async fn a_receive_of_nothing_is_invalid(t: &Fixture) {
    let request = ReceiveRequest::new(t.queue().clone()).max(0).lease(t.long());
    let received = t.backend().receive(request).await;
    received.refused(ErrorKind::Invalid, "A receive asks for at least one message.");
}

/// Where no receive can wait, the wait is not served rather than refused.
pub async fn a_wait_that_is_not_offered_is_ignored(t: &Fixture) {
    let request = ReceiveRequest::new(t.queue().clone()).lease(t.long()).wait(t.slack() * 2);
    let start = Instant::now();
    let batch = t.backend().receive(request).await.kept(promise::AT_MOST_WAIT);
    let took = start.elapsed();
    let promise = "A receive waits only where `long_poll` allows it.";
    ensure!(batch.deliveries.is_empty() && took < t.slack(), promise, "it took {took:?}");
}
