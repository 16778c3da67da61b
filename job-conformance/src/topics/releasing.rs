//! Giving messages back.

use std::time::Duration;

use job_core::backend::ErrorKind;
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// Given back without a delay, a message is visible at once.
pub async fn a_release_shows_at_once(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    t.release(&held, Duration::ZERO).await.kept(promise::RELEASE);
    t.take().await;
}

/// Given back with a delay, a message is visible after it and not before.
pub async fn a_release_with_a_delay_hides(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let start = Instant::now();
    t.release(&held, t.short()).await.kept(promise::RELEASE);
    t.take_after(start, t.short(), promise::RELEASE).await;
}

/// A release may also hide a message for longer than its lease would have.
pub async fn a_release_may_outlast_the_lease(t: &Fixture) {
    t.send("x").await;
    let held = t.take_for(t.short()).await.receipt;
    t.release(&held, t.long_delay()).await.kept(promise::RELEASE);
    t.sleep(t.short() * 3).await;
    t.expect_nothing(promise::RELEASE).await;
}

/// A message that was given back is the one that was sent.
pub async fn a_release_keeps_the_message(t: &Fixture) {
    let id = t.send("as it was").await;
    let first = t.take().await;
    t.release(&first.receipt, Duration::ZERO).await.kept(promise::RELEASE);
    let again = t.take().await;
    ensure!(again.message_id == id, promise::ID_KEPT, "the id changed");
    ensure!(again.body == "as it was", promise::RELEASE, "the body changed");
    let promise = "`inserted_at` is when the message was sent.";
    ensure!(again.inserted_at == first.inserted_at, promise, "it changed with a release");
}

/// The longest delay is accepted; a longer one is refused and leaves the receipt.
pub async fn a_release_over_the_longest_delay_is_invalid(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let longest = t.capabilities().max_delay;
    let longer = longest + t.capabilities().granularity.max(t.short());
    t.release(&held, longer).await.refused(ErrorKind::Invalid, promise::MAX_DELAY);
    t.expect_nothing("A refused release changes nothing.").await;
    t.release(&held, longest).await.kept(promise::MAX_DELAY);
}
