//! Looking at messages without taking them.

use job_core::backend::{ErrorKind, Outgoing};

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A peek shows the message as a receive would.
pub async fn a_peek_shows_the_message(t: &Fixture) {
    let id = t.send("hello").await;
    let peeked = t.backend().peek(t.queue(), 1).await.kept(promise::PEEK);
    ensure!(peeked.len() == 1, promise::PEEK, "it gave {} messages", peeked.len());
    ensure!(peeked[0].message_id == id, promise::ID_KEPT, "the peek shows another id");
    ensure!(peeked[0].body == "hello", promise::BODY_KEPT, "the body differs");
    let sent = t.take().await.inserted_at;
    ensure!(peeked[0].inserted_at == sent, promise::ONE_CLOCK, "the times of sending differ");
}

/// A peek leases nothing.
pub async fn a_peek_leases_nothing(t: &Fixture) {
    t.send("x").await;
    for _ in 0..3 {
        let peeked = t.backend().peek(t.queue(), 1).await.kept(promise::PEEK);
        ensure!(peeked.len() == 1, promise::PEEK, "it gave {} messages", peeked.len());
    }
    t.take().await;
}

/// A peek counts no delivery, and tells how many there were.
pub async fn a_peek_counts_nothing(t: &Fixture) {
    t.send("x").await;
    for deliveries in 0..2 {
        for _ in 0..2 {
            let peeked = t.backend().peek(t.queue(), 1).await.kept(promise::PEEK);
            let count = peeked.first().and_then(|message| message.count);
            let expected = Some(deliveries);
            ensure!(count == expected, promise::PEEK, "not {expected:?} but {count:?}");
        }
        let delivery = t.take().await;
        let count = delivery.count;
        ensure!(count == Some(deliveries + 1), promise::PEEK, "the delivery has {count:?}");
        t.release(&delivery.receipt, std::time::Duration::ZERO).await.kept(promise::RELEASE);
    }
}

/// A peek gives at most as many as asked.
pub async fn a_peek_gives_at_most_max(t: &Fixture) {
    t.send_many(3).await;
    for max in 0..=2 {
        // A service may refuse to peek at nothing.
        let Ok(peeked) = t.backend().peek(t.queue(), max).await else { continue };
        let given = peeked.len();
        ensure!(given <= max, promise::PEEK, "of {max} it gave {given}");
        ensure!(max == 0 || given > 0, promise::PEEK, "it gave nothing");
    }
}

/// A peek that asks for more than the service gives is cut, not refused.
pub async fn a_peek_is_cut_to_the_capability(t: &Fixture) {
    let most = t.capabilities().max_peek;
    t.send_many((most + 1).min(100)).await;
    let promise = "At most `max_peek` are returned whatever `max` says.";
    let peeked = t.backend().peek(t.queue(), usize::MAX).await.kept(promise);
    ensure!((1..=most).contains(&peeked.len()), promise, "it gave {}", peeked.len());
}

/// A peek shows nothing that a receive would not give.
pub async fn a_peek_shows_only_visible_messages(t: &Fixture) {
    t.send("leased").await;
    t.take().await;
    t.send_message(Outgoing::new("delayed").delay(t.long_delay())).await;
    let peeked = t.backend().peek(t.queue(), 1).await.kept(promise::PEEK);
    ensure!(peeked.is_empty(), promise::PEEK, "it shows a hidden message");
}

/// Where peeking is not offered, it is refused or shows nothing.
pub async fn a_peek_that_is_not_offered_shows_nothing(t: &Fixture) {
    t.send("x").await;
    match t.backend().peek(t.queue(), 1).await {
        Ok(peeked) => ensure!(peeked.is_empty(), "`max_peek` is 0.", "it shows a message"),
        error => error.refused(ErrorKind::Unsupported, "`max_peek` is 0."),
    }
    t.take().await;
}
