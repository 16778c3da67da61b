//! Leases: how they hide, end and are renewed.

use std::time::Duration;

use job_core::backend::{ErrorKind, ReceiveRequest};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A leased message is given to nobody else.
pub async fn a_lease_hides(t: &Fixture) {
    t.send("x").await;
    t.take().await;
    t.expect_nothing(promise::LEASE_HIDES).await;
    t.sleep(t.short() * 2).await;
    t.expect_nothing(promise::LEASE_HIDES).await;
}

/// A message comes back when its lease ends, and not before.
pub async fn a_lease_ends(t: &Fixture) {
    let id = t.send("x").await;
    let start = Instant::now();
    t.take_for(t.short()).await;
    let again = t.take_after(start, t.short(), promise::LEASE_ENDS).await;
    ensure!(again.message_id == id, promise::ID_KEPT, "the redelivery has another id");
    ensure!(again.body == "x", promise::BODY_KEPT, "the body differs");
}

/// A lease that ends time after time loses nothing.
pub async fn a_lease_ends_time_after_time(t: &Fixture) {
    t.send("x").await;
    for _ in 0..3 {
        t.take_for(t.short()).await;
        let again = t.take_within(t.short(), promise::LEASE_ENDS).await;
        t.release(&again.receipt, Duration::ZERO).await.kept(promise::RELEASE);
    }
}

/// A renewal makes a lease longer than it was.
pub async fn a_renewal_extends(t: &Fixture) {
    t.send("x").await;
    let held = t.take_for(t.short()).await.receipt;
    let renewed = t.renew(&held, t.long()).await.kept(promise::RENEW);
    t.sleep(t.short() * 3).await;
    t.expect_nothing(promise::RENEW).await;
    t.delete(&renewed).await.kept(promise::RENEW);
}

/// A renewal runs from its own moment: a shorter one makes the lease shorter.
pub async fn a_renewal_shortens(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let start = Instant::now();
    t.renew(&held, t.short()).await.kept(promise::RENEW);
    t.take_after(start, t.short(), promise::RENEW).await;
}

/// A lease can be renewed again and again with the newest receipt.
pub async fn a_lease_is_renewed_again_and_again(t: &Fixture) {
    let id = t.send("x").await;
    let mut held = t.take().await.receipt;
    for _ in 0..5 {
        held = t.renew(&held, t.long()).await.kept(promise::RENEW);
        ensure!(*held.message_id() == id, promise::ID_KEPT, "the new receipt has another id");
    }
    t.expect_nothing(promise::LEASE_HIDES).await;
    t.delete(&held).await.kept(promise::RENEW);
}

/// A renewal is no delivery and changes no body.
pub async fn a_renewal_is_no_delivery(t: &Fixture) {
    t.send("x").await;
    let mut delivery = t.take().await;
    for _ in 0..2 {
        delivery.receipt = t.renew(&delivery.receipt, t.long()).await.kept(promise::RENEW);
    }
    t.release(&delivery.receipt, Duration::ZERO).await.kept(promise::RELEASE);
    let again = t.take().await;
    ensure!(again.count == Some(2), promise::COUNT_RISES, "not 2 but {:?}", again.count);
    ensure!(again.body == "x", promise::BODY_KEPT, "the body differs");
}

/// The shortest and the longest lease are accepted.
pub async fn leases_within_the_limits_are_accepted(t: &Fixture) {
    let (shortest, longest) = (t.capabilities().min_lease, t.capabilities().max_lease);
    t.send("x").await;
    let held = t.take_for(longest).await.receipt;
    let held = t.renew(&held, longest).await.kept(promise::LEASE_LIMITS);
    t.renew(&held, shortest).await.kept(promise::LEASE_LIMITS);
    t.take_within(shortest, promise::LEASE_ENDS).await;
}

/// A lease that is too long is refused rather than cut.
pub async fn a_longer_lease_is_invalid(t: &Fixture) {
    refuses(t, t.capabilities().max_lease + t.capabilities().granularity.max(t.short())).await;
}

/// A lease that is too short is refused.
pub async fn a_shorter_lease_is_invalid(t: &Fixture) {
    refuses(t, t.capabilities().min_lease / 2).await;
}

/// An expired receipt may still work while nobody else has the message. Whatever it says is what
/// happened.
pub async fn an_expired_receipt_tells_the_truth(t: &Fixture) {
    t.send("x").await;
    let expired = t.take_for(t.short()).await.receipt;
    t.sleep(t.short() * 3).await;
    match t.delete(&expired).await {
        Ok(()) => t.expect_nothing("A deleted message never comes again.").await,
        Err(error) => {
            let kind = error.kind();
            ensure!(kind == ErrorKind::LeaseLost, promise::STALE, "it gave {kind:?}");
            t.take_within(t.short(), promise::STALE).await;
        }
    }
}

async fn refuses(t: &Fixture, lease: Duration) {
    t.send("x").await;
    let request = ReceiveRequest::new(t.queue().clone()).lease(lease);
    let received = t.backend().receive(request).await;
    received.refused(ErrorKind::Invalid, promise::LEASE_LIMITS);
    let delivery = t.take().await;
    if t.capabilities().counts {
        let promise = "A refused receive delivers nothing.";
        ensure!(delivery.count == Some(1), promise, "the count is {:?}", delivery.count);
    }
    let renewed = t.renew(&delivery.receipt, lease).await;
    renewed.refused(ErrorKind::Invalid, promise::LEASE_LIMITS);
    t.delete(&delivery.receipt).await.kept("A refused renewal changes nothing.");
}
