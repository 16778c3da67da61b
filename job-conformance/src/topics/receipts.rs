//! Which receipts are valid, and what a stale one does: nothing.

use std::time::Duration;

use job_core::backend::{Delivery, ErrorKind, Receipt};

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A renewal makes the receipt before it stale.
pub async fn a_renew_rotates_the_receipt(t: &Fixture) {
    t.send("x").await;
    let old = t.take().await.receipt;
    let new = t.renew(&old, t.long()).await.kept(promise::RENEW);
    is_stale(t, &old).await;
    t.delete(&new).await.kept(promise::STALE);
}

/// A release makes every receipt stale.
pub async fn a_release_rotates_the_receipt(t: &Fixture) {
    t.send("x").await;
    let old = t.take().await.receipt;
    t.release(&old, t.long_delay()).await.kept(promise::RELEASE);
    is_stale(t, &old).await;
    t.expect_nothing(promise::STALE).await;
}

/// A replace makes the receipt before it stale.
pub async fn a_replace_rotates_the_receipt(t: &Fixture) {
    t.send("x").await;
    let old = t.take().await.receipt;
    let new = t.replace(&old, "y", t.long_delay()).await.kept(promise::REPLACE);
    is_stale(t, &old).await;
    t.release(&new, Duration::ZERO).await.kept(promise::STALE);
    ensure!(t.take().await.body == "y", promise::STALE, "a stale receipt rewrote the body");
}

/// A redelivery makes the receipt of the delivery before it stale.
pub async fn a_receive_rotates_the_receipt(t: &Fixture) {
    let (old, new) = redelivered(t).await;
    is_stale(t, &old).await;
    t.delete(&new.receipt).await.kept(promise::STALE);
}

/// A stale receipt does not delete.
pub async fn a_stale_receipt_deletes_nothing(t: &Fixture) {
    let (old, new) = redelivered(t).await;
    t.delete(&old).await.refused(ErrorKind::LeaseLost, promise::STALE);
    t.release(&new.receipt, Duration::ZERO).await.kept(promise::STALE);
    let again = t.take().await;
    ensure!(again.message_id == new.message_id, promise::STALE, "the message is gone");
}

/// A stale receipt does not change the lease of its successor.
pub async fn a_stale_receipt_renews_nothing(t: &Fixture) {
    let (old, new) = redelivered(t).await;
    t.renew(&old, t.short()).await.refused(ErrorKind::LeaseLost, promise::STALE);
    t.sleep(t.short() * 3).await;
    t.expect_nothing(promise::STALE).await;
    t.delete(&new.receipt).await.kept(promise::STALE);
}

/// A stale receipt does not give its successor's message back.
pub async fn a_stale_receipt_releases_nothing(t: &Fixture) {
    let (old, new) = redelivered(t).await;
    t.release(&old, Duration::ZERO).await.refused(ErrorKind::LeaseLost, promise::STALE);
    t.expect_nothing(promise::STALE).await;
    t.delete(&new.receipt).await.kept(promise::STALE);
}

/// A stale receipt does not rewrite.
pub async fn a_stale_receipt_replaces_nothing(t: &Fixture) {
    let (old, new) = redelivered(t).await;
    let replaced = t.replace(&old, "stale", Duration::ZERO).await;
    replaced.refused(ErrorKind::LeaseLost, promise::STALE);
    t.expect_nothing(promise::STALE).await;
    t.release(&new.receipt, Duration::ZERO).await.kept(promise::STALE);
    ensure!(t.take().await.body == "x", promise::STALE, "it rewrote the body");
}

/// A deleted message never comes again, also after its lease would have ended.
pub async fn a_deleted_message_never_comes_again(t: &Fixture) {
    t.send("x").await;
    let delivery = t.take_for(t.short()).await;
    t.delete(&delivery.receipt).await.kept(promise::STAYS);
    t.expect_nothing("A deleted message never comes again.").await;
    t.sleep(t.short() * 3).await;
    t.expect_nothing("A deleted message never comes again.").await;
}

/// A second delete says that the message is gone.
pub async fn a_second_delete_is_lease_lost(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    t.delete(&held).await.kept(promise::STAYS);
    is_stale(t, &held).await;
}

/// A receipt acts on its own message only.
pub async fn a_receipt_settles_its_own_message(t: &Fixture) {
    t.send_many(3).await;
    let taken = t.take_many(3).await;
    t.delete(&taken[1].receipt).await.kept(promise::STAYS);
    for kept in [&taken[0], &taken[2]] {
        t.release(&kept.receipt, Duration::ZERO)
            .await
            .kept("A receipt is for one message; it touches no other.");
    }
    let left = t.take_many(2).await;
    ensure!(
        left.iter().all(|delivery| delivery.message_id != taken[1].message_id),
        "A receipt is for one message; it touches no other.",
        "the wrong one was deleted"
    );
}

/// Delivers a message twice, the second time under a long lease.
async fn redelivered(t: &Fixture) -> (Receipt, Delivery) {
    t.send("x").await;
    let old = t.take_for(t.short()).await.receipt;
    let new = t.take_within(t.short(), promise::LEASE_ENDS).await;
    (old, new)
}

/// Nothing can be done with the receipt.
async fn is_stale(t: &Fixture, receipt: &Receipt) {
    let promise = promise::ROTATES;
    t.renew(receipt, t.long()).await.refused(ErrorKind::LeaseLost, promise);
    t.release(receipt, Duration::ZERO).await.refused(ErrorKind::LeaseLost, promise);
    if t.capabilities().replace {
        let replaced = t.replace(receipt, "stale", Duration::ZERO).await;
        replaced.refused(ErrorKind::LeaseLost, promise);
    }
    t.delete(receipt).await.refused(ErrorKind::LeaseLost, promise);
}
