//! Putting messages on a queue.

use std::collections::HashSet;

use job_core::backend::{ErrorKind, Outgoing};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// What is sent is delivered, under the id that the send gave.
pub async fn a_sent_message_is_delivered(t: &Fixture) {
    let id = t.send("hello").await;
    let delivery = t.take().await;
    ensure!(delivery.message_id == id, promise::ID_KEPT, "the delivery has another id");
    ensure!(delivery.body == "hello", promise::BODY_KEPT, "the body differs");
    let receipt = &delivery.receipt;
    ensure!(*receipt.message_id() == id, promise::ID_KEPT, "the receipt has another id");
    ensure!(receipt.queue() == t.queue(), promise::ID_KEPT, "the receipt names another queue");
}

/// Two messages never have the same id, not even one after the other.
pub async fn message_ids_are_unique(t: &Fixture) {
    let promise = "A message's id is its own; a copy has another one.";
    let mut ids = HashSet::new();
    for round in 0..3 {
        for id in t.send_many(4).await {
            ensure!(ids.insert(id), promise, "an id came again in round {round}");
        }
        for delivery in t.take_many(4).await {
            t.delete(&delivery.receipt).await.kept(promise::STAYS);
        }
    }
}

/// An id is short enough to be kept in a message.
pub async fn message_ids_are_short(t: &Fixture) {
    let len = t.send("x").await.to_string().len();
    let most = job_core::backend::MessageId::MAX_LEN;
    ensure!(len <= most, "A message id is at most `MessageId::MAX_LEN` bytes long.", "{len}");
}

/// Equal messages are messages of their own.
pub async fn equal_messages_are_two(t: &Fixture) {
    t.send("same").await;
    t.send("same").await;
    t.take_many(2).await;
}

/// A delay hides the message, then shows it.
pub async fn a_delay_hides_then_shows(t: &Fixture) {
    let start = Instant::now();
    t.send_message(Outgoing::new("later").delay(t.short())).await;
    let delivery = t.take_after(start, t.short(), promise::BY_ITSELF).await;
    ensure!(delivery.body == "later", promise::BODY_KEPT, "the body differs");
}

/// A delayed message does not hold up one that is not.
pub async fn a_delayed_message_holds_up_no_other(t: &Fixture) {
    t.send_message(Outgoing::new("later").delay(t.long_delay())).await;
    t.send("now").await;
    let delivery = t.take().await;
    ensure!(delivery.body == "now", promise::AT_ONCE, "the delayed message came");
    t.expect_nothing(promise::BY_ITSELF).await;
}

/// The longest delay is accepted, and hides.
pub async fn the_longest_delay_is_accepted(t: &Fixture) {
    let longest = t.capabilities().max_delay;
    t.try_send(Outgoing::new("x").delay(longest)).await.kept(promise::MAX_DELAY);
    if !longest.is_zero() {
        t.expect_nothing(promise::BY_ITSELF).await;
    }
}

/// A longer delay is refused rather than cut.
pub async fn a_longer_delay_is_invalid(t: &Fixture) {
    let longer = t.capabilities().max_delay + t.capabilities().granularity.max(t.short());
    let sent = t.try_send(Outgoing::new("x").delay(longer)).await;
    sent.refused(ErrorKind::Invalid, promise::MAX_DELAY);
    t.expect_nothing("A refused message is not stored.").await;
}
