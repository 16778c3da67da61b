//! Rewriting a message and hiding it, in one step.

use std::time::Duration;

use job_core::backend::ErrorKind;
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// The new body comes after the delay and not before.
pub async fn a_replace_rewrites_and_hides(t: &Fixture) {
    t.send("old").await;
    let held = t.take().await.receipt;
    let start = Instant::now();
    t.replace(&held, "new", t.short()).await.kept(promise::REPLACE);
    let again = t.take_after(start, t.short(), promise::REPLACE).await;
    ensure!(again.body == "new", promise::REPLACE, "the old body came");
    t.expect_nothing("A replace makes no second message.").await;
}

/// Without a delay the new body is visible at once.
pub async fn a_replace_shows_at_once(t: &Fixture) {
    t.send("old").await;
    let held = t.take().await.receipt;
    t.replace(&held, "new", Duration::ZERO).await.kept(promise::REPLACE);
    ensure!(t.take().await.body == "new", promise::REPLACE, "the old body came");
}

/// With a delay as long as a lease, a replace is a renewal that also rewrites.
pub async fn a_replace_renews(t: &Fixture) {
    t.send("old").await;
    let held = t.take_for(t.short()).await.receipt;
    let held = t.replace(&held, "new", t.long_delay()).await.kept(promise::REPLACE);
    t.sleep(t.short() * 3).await;
    t.expect_nothing(promise::REPLACE).await;
    t.delete(&held).await.kept(promise::REPLACE_RECEIPT);
}

/// Id, count and insertion time stay.
pub async fn a_replace_keeps_the_rest(t: &Fixture) {
    let id = t.send("old").await;
    let first = t.take().await;
    // Long enough that a time taken anew would differ.
    t.sleep(t.short().max(t.clock_error() * 2)).await;
    t.replace(&first.receipt, "new", Duration::ZERO).await.kept(promise::REPLACE);
    let again = t.take().await;
    ensure!(again.message_id == id, promise::REPLACE_KEEPS, "the id changed");
    ensure!(again.inserted_at == first.inserted_at, promise::REPLACE_KEEPS, "the time changed");
    if t.capabilities().counts {
        let count = again.count;
        ensure!(count == Some(2), promise::REPLACE_KEEPS, "the next count is {count:?}, not 2");
    }
}

/// The receipt of a replace renews, rewrites again and deletes.
pub async fn the_receipt_of_a_replace_is_valid(t: &Fixture) {
    t.send("1").await;
    let held = t.take().await.receipt;
    let promise = promise::REPLACE_RECEIPT;
    let held = t.replace(&held, "2", t.long_delay()).await.kept(promise);
    let held = t.replace(&held, "3", t.long_delay()).await.kept(promise);
    let held = t.renew(&held, t.long()).await.kept(promise);
    t.delete(&held).await.kept(promise);
    t.expect_nothing("A deleted message never comes again.").await;
}

/// Once the message is received again, the receipt of the replace is stale.
pub async fn the_receipt_of_a_replace_ends_with_the_next_delivery(t: &Fixture) {
    t.send("old").await;
    let held = t.take().await.receipt;
    let held = t.replace(&held, "new", Duration::ZERO).await.kept(promise::REPLACE);
    let next = t.take().await;
    t.delete(&held).await.refused(ErrorKind::LeaseLost, promise::ROTATES);
    t.delete(&next.receipt).await.kept(promise::STALE);
}

/// A body that is too large leaves message and receipt as they were.
pub async fn a_replace_too_large_changes_nothing(t: &Fixture) {
    t.send("old").await;
    let held = t.take().await.receipt;
    let large = vec![b'x'; t.capabilities().max_body * 4];
    let promise = "`TooLarge` leaves message and receipt as they were.";
    t.replace(&held, large, Duration::ZERO).await.refused(ErrorKind::TooLarge, promise);
    t.expect_nothing(promise).await;
    t.release(&held, Duration::ZERO).await.kept(promise);
    ensure!(t.take().await.body == "old", promise, "the body changed");
}

/// A delay that is too long leaves message and receipt as they were.
pub async fn a_replace_over_the_longest_delay_is_invalid(t: &Fixture) {
    t.send("old").await;
    let held = t.take().await.receipt;
    let longest = t.capabilities().max_delay;
    let longer = longest + t.capabilities().granularity.max(t.short());
    let replaced = t.replace(&held, "new", longer).await;
    replaced.refused(ErrorKind::Invalid, promise::MAX_DELAY);
    let held = t.replace(&held, "new", longest).await.kept(promise::MAX_DELAY);
    t.delete(&held).await.kept(promise::REPLACE_RECEIPT);
}

/// Where it cannot be done in one step, it is not done in two.
pub async fn a_replace_that_is_not_offered_is_unsupported(t: &Fixture) {
    t.send("old").await;
    let held = t.take().await.receipt;
    let replaced = t.replace(&held, "new", Duration::ZERO).await;
    replaced.refused(ErrorKind::Unsupported, "Without `replace`, it gives `Unsupported`.");
    t.release(&held, Duration::ZERO).await.kept("What is unsupported changes nothing.");
    ensure!(t.take().await.body == "old", "What is unsupported changes nothing.", "it did");
}
