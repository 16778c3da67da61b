//! The service's clock, rounding, and TTLs.

use std::time::{Duration, SystemTime};

use job_core::backend::{ErrorKind, Outgoing};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, broken, ensure};

/// A message's time of sending and the time of the answer are of one clock.
pub async fn sent_and_received_by_one_clock(t: &Fixture) {
    let start = Instant::now();
    t.send("x").await;
    t.sleep(t.short()).await;
    let batch = t.receive_batch(1, t.long()).await;
    let took = start.elapsed();
    let Some(delivery) = batch.deliveries.first() else {
        broken(promise::AT_ONCE, format_args!("it gave nothing"))
    };
    let age = seconds_between(delivery.inserted_at, batch.server_now);
    let (least, most) = (t.short().as_secs_f64(), took.as_secs_f64());
    let error = t.clock_error().as_secs_f64();
    ensure!(
        age >= least - error && age <= most + error,
        promise::ONE_CLOCK,
        "a message {least} to {most} s old is {age} s old by them"
    );
}

/// The time of sending is told the same with every delivery.
pub async fn the_time_of_sending_is_constant(t: &Fixture) {
    t.send("x").await;
    let first = t.take_for(t.short()).await.inserted_at;
    let again = t.take_within(t.short(), promise::LEASE_ENDS).await.inserted_at;
    let promise = "`inserted_at` is when the message was sent.";
    ensure!(first == again, promise, "it changed with a redelivery");
}

/// A delay does not change when the message was sent.
pub async fn a_delay_is_not_the_time_of_sending(t: &Fixture) {
    t.send_message(Outgoing::new("later").delay(t.short() * 2)).await;
    let now = t.receive_batch(1, t.long()).await.server_now;
    let delivery = t.take_within(t.short() * 2, promise::BY_ITSELF).await;
    let off = seconds_between(now, delivery.inserted_at);
    let promise = "`inserted_at` is when the message was sent.";
    ensure!(off <= t.clock_error().as_secs_f64(), promise, "it is {off} s later");
}

/// The service's time passes as the tests' does.
pub async fn the_services_time_passes(t: &Fixture) {
    let before = t.receive_batch(1, t.long()).await.server_now;
    t.sleep(t.short()).await;
    let after = t.receive_batch(1, t.long()).await.server_now;
    let passed = seconds_between(before, after);
    let least = t.short().as_secs_f64() - t.clock_error().as_secs_f64();
    ensure!(passed >= least, promise::ONE_CLOCK, "{passed} s passed, not {least}");
}

/// In one process, `now` is the clock that the answers are dated by.
pub async fn now_is_the_services_time(t: &Fixture) {
    let promise = "An in-process backend's `now` is its own clock.";
    for _ in 0..2 {
        let before = t.receive_batch(1, t.long()).await.server_now;
        let now = t.backend().now();
        let after = t.receive_batch(1, t.long()).await.server_now;
        ensure!(before <= now && now <= after, promise, "it is not between two answers");
        t.sleep(t.short()).await;
    }
}

/// A delay that the granularity does not divide is rounded up, not down.
pub async fn a_fine_delay_is_rounded_up(t: &Fixture) {
    let grain = t.capabilities().granularity;
    let delay = t.short() + grain / 2;
    if delay > t.capabilities().max_delay {
        return;
    }
    let promise = "A duration finer than `granularity` is rounded up.";
    let start = Instant::now();
    t.send_message(Outgoing::new("x").delay(delay)).await;
    t.take_after(start, delay, promise).await;
}

/// The end of its TTL takes a visible message.
pub async fn a_ttl_ends_a_message(t: &Fixture) {
    t.send_message(Outgoing::new("x").ttl(t.short())).await;
    t.sleep(t.short() * 3).await;
    t.expect_nothing(promise::TTL).await;
}

/// A message is there until the end of its TTL.
pub async fn a_ttl_keeps_a_message_until_its_end(t: &Fixture) {
    let ttl = Duration::from_secs(300);
    t.send_message(Outgoing::new("x").ttl(ttl)).await;
    t.sleep(t.short() * 2).await;
    t.take().await;
}

/// The end of its TTL takes a leased message too.
pub async fn a_ttl_ends_a_lease(t: &Fixture) {
    t.send_message(Outgoing::new("x").ttl(t.short())).await;
    let Some(delivery) = t.receive(1, t.long()).await.pop() else {
        // A slow service may have dropped it already, which is what is asked of it.
        return;
    };
    t.sleep(t.short() * 3).await;
    t.delete(&delivery.receipt).await.refused(ErrorKind::LeaseLost, promise::TTL);
    t.expect_nothing(promise::TTL).await;
}

/// A message given back after the end of its TTL does not come again.
pub async fn a_ttl_outlives_a_release(t: &Fixture) {
    t.send_message(Outgoing::new("x").ttl(t.short() * 2)).await;
    if let Some(delivery) = t.receive(1, t.long()).await.pop() {
        // A service may see the message as gone by then, and say so.
        let _ = t.release(&delivery.receipt, t.short()).await;
    }
    t.sleep(t.short() * 5).await;
    t.expect_nothing(promise::TTL).await;
}

/// Without a TTL a message stays.
pub async fn without_a_ttl_a_message_stays(t: &Fixture) {
    t.send("x").await;
    t.sleep(t.short() * 5).await;
    t.take().await;
}

/// Where TTLs are not honoured, a message with one stays.
pub async fn a_ttl_that_is_not_offered_is_ignored(t: &Fixture) {
    t.send_message(Outgoing::new("x").ttl(t.short())).await;
    t.sleep(t.short() * 3).await;
    let promise = "Without `ttl`, messages stay for ever.";
    t.take_within(Duration::ZERO, promise).await;
}

fn seconds_between(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(span) => span.as_secs_f64(),
        Err(error) => -error.duration().as_secs_f64(),
    }
}
