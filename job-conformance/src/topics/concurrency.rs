//! Many at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use job_core::backend::{Delivery, ErrorKind, ItemResult, MessageId, Receipt};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

const CONSUMERS: usize = 32;
const MESSAGES: usize = 160;

/// 32 consumers share the messages: none is leased twice, none is lost.
pub async fn parallel_consumers_share_the_messages(t: &Fixture) {
    let sent: HashSet<_> = t.send_many(MESSAGES).await.into_iter().collect();
    let done = Arc::new(AtomicUsize::new(0));
    let mut consumers = JoinSet::new();
    for _ in 0..CONSUMERS {
        consumers.spawn(consume(t.clone(), Arc::clone(&done)));
    }
    let mut seen = HashSet::new();
    for id in joined(consumers).await.into_iter().flatten() {
        ensure!(sent.contains(&id), promise::ID_KEPT, "a message came that was not sent");
        ensure!(seen.insert(id), promise::LEASE_HIDES, "a message was leased twice");
    }
    let lost = MESSAGES - seen.len();
    ensure!(lost == 0, promise::STAYS, "{lost} of {MESSAGES} were lost");
    t.expect_nothing("A deleted message never comes again.").await;
}

/// Takes and deletes until all are done, and gives the ids that it took.
async fn consume(t: Fixture, done: Arc<AtomicUsize>) -> Vec<MessageId> {
    let give_up = Instant::now() + t.slack() * 3;
    let most = t.capabilities().max_receive.min(4);
    let mut seen = Vec::new();
    while done.load(Ordering::Relaxed) < MESSAGES && Instant::now() < give_up {
        let batch = t.receive(most, t.long()).await;
        if batch.is_empty() {
            t.pause().await;
        }
        for Delivery { message_id, receipt, .. } in batch {
            t.delete(&receipt).await.kept(promise::LEASE_HIDES);
            done.fetch_add(1, Ordering::Relaxed);
            seen.push(message_id);
        }
    }
    seen
}

/// Parallel senders lose nothing and get ids of their own.
pub async fn parallel_senders_lose_nothing(t: &Fixture) {
    let mut senders = JoinSet::new();
    for _ in 0..8 {
        let t = t.clone();
        senders.spawn(async move { t.send_many(5).await });
    }
    let ids: HashSet<_> = joined(senders).await.into_iter().flatten().collect();
    let distinct = ids.len();
    let promise = "A message's id is its own; a copy has another one.";
    ensure!(distinct == 40, promise, "40 messages have {distinct} ids");
    let came: HashSet<_> = t.take_many(40).await.into_iter().map(|d| d.message_id).collect();
    ensure!(came == ids, promise::STAYS, "other messages came than were sent");
}

/// Of many that want the one message, one gets it.
pub async fn one_message_goes_to_one_receiver(t: &Fixture) {
    t.send("x").await;
    let mut receivers = JoinSet::new();
    for _ in 0..16 {
        let t = t.clone();
        receivers.spawn(async move { t.receive(1, t.long()).await.len() });
    }
    let given: usize = joined(receivers).await.into_iter().sum();
    ensure!(given == 1, promise::LEASE_HIDES, "one message was leased {given} times at once");
}

/// Of parallel deletes with one receipt, one succeeds.
pub async fn one_of_parallel_deletes_wins(t: &Fixture) {
    one_wins(t, |t, receipt| async move { t.delete(&receipt).await }).await;
    t.expect_nothing("A deleted message never comes again.").await;
}

/// Of parallel renewals with one receipt, one succeeds: the others come with a stale one.
pub async fn one_of_parallel_renews_wins(t: &Fixture) {
    one_wins(t, |t, receipt| async move { t.renew(&receipt, t.long()).await.map(drop) }).await;
    t.expect_nothing(promise::LEASE_HIDES).await;
}

/// Of parallel releases with one receipt, one succeeds.
pub async fn one_of_parallel_releases_wins(t: &Fixture) {
    one_wins(t, |t, receipt| async move { t.release(&receipt, Duration::ZERO).await }).await;
    t.take().await;
    t.expect_nothing("A release makes no second message.").await;
}

/// Of parallel rewrites with one receipt, one succeeds.
pub async fn one_of_parallel_replaces_wins(t: &Fixture) {
    let replace = |t: Fixture, receipt| async move {
        t.replace(&receipt, "new", Duration::ZERO).await.map(drop)
    };
    one_wins(t, replace).await;
    ensure!(t.take().await.body == "new", promise::REPLACE, "the old body came");
    t.expect_nothing("A replace makes no second message.").await;
}

/// A message that is deleted and given back at once is one or the other.
pub async fn a_delete_and_a_release_do_not_both_win(t: &Fixture) {
    for _ in 0..8 {
        t.send("x").await;
        let held = t.take().await.receipt;
        let (deleted, released) = tokio::join!(t.delete(&held), t.release(&held, Duration::ZERO));
        let (deleted, released) = (deleted.is_ok(), released.is_ok());
        ensure!(deleted != released, promise::ROTATES, "{deleted} and {released}");
        if released {
            let again = t.take().await;
            t.delete(&again.receipt).await.kept(promise::RELEASE);
        }
        t.expect_nothing(promise::STALE).await;
    }
}

/// A queue may be made by many at once.
pub async fn parallel_makers_make_one_queue(t: &Fixture) {
    let unknown = t.unknown();
    let mut makers = JoinSet::new();
    for _ in 0..8 {
        let fixture = unknown.clone();
        makers.spawn(async move { drop(fixture.named(fixture.queue().clone()).await) });
    }
    joined(makers).await;
    unknown.send("x").await;
    unknown.take().await;
}

/// Settles one message eight times at once with one receipt.
async fn one_wins<F, Fut>(t: &Fixture, settle: F)
where
    F: Fn(Fixture, Receipt) -> Fut,
    Fut: Future<Output = ItemResult<()>> + Send + 'static,
{
    t.send("x").await;
    let held = t.take().await.receipt;
    let mut settlers = JoinSet::new();
    for _ in 0..8 {
        settlers.spawn(settle(t.clone(), held.clone()));
    }
    let (won, lost): (Vec<_>, Vec<_>) = joined(settlers).await.into_iter().partition(Result::is_ok);
    let won = won.len();
    ensure!(won == 1, promise::ROTATES, "{won} of 8 with the same receipt succeeded");
    for lost in lost {
        lost.refused(ErrorKind::LeaseLost, promise::STALE);
    }
}

/// What the tasks came to. A failed one fails the case with its own message.
async fn joined<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(result) = tasks.join_next().await {
        results.push(result.unwrap_or_else(|error: JoinError| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("{error}"),
        }));
    }
    results
}
