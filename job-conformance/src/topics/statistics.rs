//! How many messages there are.

use job_core::backend::{Outgoing, QueueStats};

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// Stats are answered, whatever they are worth.
pub async fn stats_are_answered(t: &Fixture) {
    t.send("x").await;
    stats(t).await;
}

/// A new queue is empty.
pub async fn stats_of_an_empty_queue_are_zero(t: &Fixture) {
    let stats = stats(t).await;
    ensure!(stats.total == 0, promise::STATS, "the total is {}", stats.total);
    ensure!(stats.visible.unwrap_or(0) == 0, promise::STATS, "{:?} are visible", stats.visible);
    ensure!(stats.oldest.is_none(), promise::STATS, "there is an oldest");
}

/// All messages count: visible, delayed and leased.
pub async fn stats_count_every_message(t: &Fixture) {
    t.send_many(2).await;
    t.take().await;
    t.send_message(Outgoing::new("delayed").delay(t.long_delay())).await;
    let stats = stats(t).await;
    ensure!(stats.total == 3, promise::STATS, "the total is {}, not 3", stats.total);
    let visible = stats.visible;
    ensure!(visible.is_none_or(|n| n == 1), promise::STATS, "{visible:?} are visible, not 1");
}

/// A settled message counts no more.
pub async fn stats_forget_what_is_gone(t: &Fixture) {
    t.send_many(3).await;
    let taken = t.take_many(2).await;
    t.delete(&taken[0].receipt).await.kept(promise::STAYS);
    let stats = stats(t).await;
    ensure!(stats.total == 2, promise::STATS, "the total is {}, not 2", stats.total);
}

/// The oldest is the one that was sent first, as long as it is there.
pub async fn stats_tell_the_oldest(t: &Fixture) {
    let promise = "`oldest` is when the oldest message was sent, where the service tells.";
    t.send("first").await;
    t.sleep(t.clock_error() * 2).await;
    t.send("second").await;
    let Some(oldest) = stats(t).await.oldest else { return };
    let taken = t.take_many(2).await;
    let (first, second) = if taken[0].body == "first" { (0, 1) } else { (1, 0) };
    ensure!(oldest == taken[first].inserted_at, promise, "it is not the first one's");
    t.delete(&taken[first].receipt).await.kept(promise::STAYS);
    let oldest = stats(t).await.oldest;
    ensure!(oldest == Some(taken[second].inserted_at), promise, "it is not the one's that is left");
}

async fn stats(t: &Fixture) -> QueueStats {
    t.backend().stats(t.queue()).await.kept("Stats of a queue that is there are answered.")
}
