//! Making queues, emptying them, and telling them apart.

use job_core::QueueName;
use job_core::backend::{ErrorKind, Outgoing, Receipt, ReceiveRequest};

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A queue that is there is success, and keeps its messages.
pub async fn making_a_queue_again_changes_nothing(t: &Fixture) {
    let id = t.send("kept").await;
    let again = t.backend().create_queue(t.queue(), &Default::default()).await;
    again.kept("create_queue is idempotent: a queue that is there is success.");
    let delivery = t.take().await;
    ensure!(delivery.message_id == id, promise::STAYS, "another message is there");
}

/// The longest name that the framework makes is one that the service takes.
pub async fn the_longest_name_is_taken(t: &Fixture) {
    let name = format!("{}-{}", t.queue(), "x".repeat(62 - t.queue().as_str().len()));
    let long = t.named(QueueName::new(name).expect("63 characters make a name")).await;
    long.send("x").await;
    long.take().await;
}

/// Two queues share nothing.
pub async fn queues_are_isolated(t: &Fixture) {
    let other = t.fresh().await;
    t.send("here").await;
    other.expect_nothing("A message is on the queue that it was sent to, and on no other.").await;
    other.send("there").await;
    other.backend().purge(other.queue()).await.kept("A purge is answered.");
    let delivery = t.take().await;
    let promise = "A purge empties the queue it names, and no other.";
    ensure!(delivery.body == "here", promise, "the wrong message is left");
}

/// A send never makes a queue.
pub async fn a_send_to_an_unknown_queue_is_refused(t: &Fixture) {
    let unknown = t.unknown();
    for _ in 0..2 {
        let sent = unknown.try_send(Outgoing::new("x")).await;
        sent.refused(ErrorKind::QueueNotFound, promise::NO_QUEUE);
    }
}

/// A receive never makes a queue.
pub async fn a_receive_from_an_unknown_queue_is_refused(t: &Fixture) {
    let request = ReceiveRequest::new(t.unknown().queue().clone()).lease(t.long());
    let received = t.backend().receive(request).await;
    received.refused(ErrorKind::QueueNotFound, promise::NO_QUEUE);
}

/// A peek never makes a queue.
pub async fn a_peek_at_an_unknown_queue_is_refused(t: &Fixture) {
    let peeked = t.backend().peek(t.unknown().queue(), 1).await;
    peeked.refused(ErrorKind::QueueNotFound, promise::NO_QUEUE);
}

/// Stats of a queue that is not there are an error, not zero.
pub async fn stats_of_an_unknown_queue_are_refused(t: &Fixture) {
    let stats = t.backend().stats(t.unknown().queue()).await;
    stats.refused(ErrorKind::QueueNotFound, promise::NO_QUEUE);
}

/// A purge never makes a queue.
pub async fn a_purge_of_an_unknown_queue_is_refused(t: &Fixture) {
    let purged = t.backend().purge(t.unknown().queue()).await;
    purged.refused(ErrorKind::QueueNotFound, promise::NO_QUEUE);
}

/// A receipt that names a queue which is not there settles nothing. Whether the queue or the
/// message is what is missing, a service may see either way.
pub async fn a_receipt_of_an_unknown_queue_is_refused(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let unknown = t.unknown();
    let forged =
        Receipt::new(unknown.queue().clone(), held.message_id().clone(), held.token().clone());
    let mut results = vec![
        ("renew", t.renew(&forged, t.long()).await.map(drop)),
        ("release", t.release(&forged, t.short()).await),
        ("delete", t.delete(&forged).await),
    ];
    if t.capabilities().replace {
        results.push(("replace", t.replace(&forged, "y", t.short()).await.map(drop)));
    }
    for (operation, result) in results {
        let kind = result.err().map(|error| error.kind());
        ensure!(
            matches!(kind, Some(ErrorKind::QueueNotFound | ErrorKind::LeaseLost)),
            promise::NO_QUEUE,
            "{operation} gave {kind:?}"
        );
    }
    t.delete(&held).await.kept(promise::STALE);
}

/// A purge takes visible, delayed and leased messages.
pub async fn a_purge_takes_everything(t: &Fixture) {
    t.send("leased").await;
    t.take_for(t.short()).await;
    t.send("visible").await;
    t.send_message(Outgoing::new("delayed").delay(t.short())).await;
    let purged = t.backend().purge(t.queue()).await.kept(promise::PURGE);
    ensure!(
        purged.is_none_or(|number| number == 3),
        "A purge gives the number of messages where the service tells it.",
        "of 3 messages it purged {purged:?}"
    );
    t.expect_nothing(promise::PURGE).await;
    t.sleep(t.short() * 3).await;
    t.expect_nothing(promise::PURGE).await;
}

/// Receipts of purged messages are stale.
pub async fn a_purge_makes_receipts_stale(t: &Fixture) {
    t.send("x").await;
    let delivery = t.take().await;
    t.backend().purge(t.queue()).await.kept(promise::PURGE);
    // Its place may be taken by another message, which the old receipt must not touch.
    t.send("y").await;
    t.renew(&delivery.receipt, t.long()).await.refused(ErrorKind::LeaseLost, promise::PURGE);
    t.release(&delivery.receipt, t.short()).await.refused(ErrorKind::LeaseLost, promise::PURGE);
    t.delete(&delivery.receipt).await.refused(ErrorKind::LeaseLost, promise::PURGE);
    ensure!(t.take().await.body == "y", promise::PURGE, "the next message was touched");
}

/// A purged queue is as good as a new one.
pub async fn a_purged_queue_takes_messages(t: &Fixture) {
    t.send("old").await;
    t.backend().purge(t.queue()).await.kept(promise::PURGE);
    t.send("new").await;
    let delivery = t.take().await;
    ensure!(delivery.body == "new", promise::PURGE, "an old message was left");
    t.delete(&delivery.receipt).await.kept(promise::STAYS);
}

/// What is sent through one handle is received through the other.
pub async fn two_handles_see_the_same_queues(t: &Fixture) {
    let second = t.second();
    let id = t.send("x").await;
    let delivery = second.take().await;
    ensure!(
        delivery.message_id == id,
        "`independent` gives the same queues through connections of its own.",
        "the other handle received another message"
    );
    t.expect_nothing(promise::LEASE_HIDES).await;
}

/// A receipt from one handle is as good with the other: the keeper of leases has its own.
pub async fn a_receipt_works_through_either_handle(t: &Fixture) {
    let promise = "A receipt is valid through every handle on the service.";
    let second = t.second();
    t.send("x").await;
    let taken = t.take().await.receipt;
    let renewed = second.renew(&taken, t.long()).await.kept(promise);
    t.renew(&taken, t.long()).await.refused(ErrorKind::LeaseLost, promise::ROTATES);
    t.delete(&renewed).await.kept(promise);
}
