//! Waiting for messages.

use std::time::Duration;

use job_core::backend::{Batch, Outgoing, ReceiveRequest};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fixture::Fixture;
use crate::promise::{self, Kept, ensure};

/// A waiting receive is given a message that is sent meanwhile.
pub async fn a_waiting_receive_gets_what_is_sent(t: &Fixture) {
    let waiting = receive_waiting(t, None);
    t.pause().await;
    t.send("x").await;
    expect_one(waiting).await;
}

/// A waiting receive is given a message whose delay ends meanwhile.
pub async fn a_waiting_receive_gets_what_becomes_due(t: &Fixture) {
    let waiting = receive_waiting(t, None);
    t.pause().await;
    t.send_message(Outgoing::new("x").delay(t.short())).await;
    expect_one(waiting).await;
}

/// A waiting receive is given a message whose lease ends meanwhile.
pub async fn a_waiting_receive_gets_what_a_lease_frees(t: &Fixture) {
    t.send("x").await;
    t.take_for(t.short()).await;
    expect_one(receive_waiting(t, None)).await;
}

/// A waiting receive is given a message that is given back meanwhile.
pub async fn a_waiting_receive_gets_what_is_released(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let waiting = receive_waiting(t, None);
    t.pause().await;
    t.release(&held, Duration::ZERO).await.kept(promise::RELEASE);
    expect_one(waiting).await;
}

/// A waiting receive is given a message whose lease is cut short meanwhile.
pub async fn a_waiting_receive_gets_what_a_shorter_lease_frees(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let waiting = receive_waiting(t, None);
    t.pause().await;
    t.renew(&held, t.short()).await.kept(promise::RENEW);
    expect_one(waiting).await;
}

/// A receive that could wait does not if there is a message.
pub async fn a_receive_does_not_wait_for_more(t: &Fixture) {
    t.send("x").await;
    let start = Instant::now();
    let request = ReceiveRequest::new(t.queue().clone()).lease(t.long()).wait(wait(t));
    let request = request.max(t.capabilities().max_receive);
    let batch = t.backend().receive(request).await.kept(promise::AT_ONCE);
    let took = start.elapsed();
    ensure!(batch.deliveries.len() == 1, promise::AT_ONCE, "{}", batch.deliveries.len());
    ensure!(took < wait(t), promise::AT_ONCE, "it took {took:?}");
}

/// Messages sent one by one reach all who wait.
pub async fn every_waiting_receive_gets_a_message(t: &Fixture) {
    let waiting: Vec<_> = (0..8).map(|_| receive_waiting(t, None)).collect();
    t.pause().await;
    t.send_many(8).await;
    for waiting in waiting {
        expect_one(waiting).await;
    }
}

/// A wait ends, with an empty batch.
pub async fn a_wait_ends(t: &Fixture) {
    let wait = t.short().min(wait(t));
    let start = Instant::now();
    let request = ReceiveRequest::new(t.queue().clone()).lease(t.long()).wait(wait);
    let batch = t.backend().receive(request).await.kept(promise::AT_MOST_WAIT);
    let took = start.elapsed();
    ensure!(batch.deliveries.is_empty(), promise::AT_MOST_WAIT, "the batch is not empty");
    ensure!(took <= wait + t.slack(), promise::AT_MOST_WAIT, "it took {took:?} of {wait:?}");
}

/// A longer wait than the service offers is cut, not refused.
pub async fn a_longer_wait_is_cut(t: &Fixture) {
    t.send("x").await;
    let longer = wait(t) * 10;
    let request = ReceiveRequest::new(t.queue().clone()).lease(t.long()).wait(longer);
    let batch = t.backend().receive(request).await;
    let batch = batch.kept("A wait above `long_poll` is honoured as far as it goes.");
    ensure!(batch.deliveries.len() == 1, promise::AT_ONCE, "it gave nothing");
}

/// A receive that waits is interrupted.
pub async fn an_interrupt_ends_a_wait(t: &Fixture) {
    let promise = "A wait ends as soon as the request's interrupt fires, with an empty batch.";
    let token = CancellationToken::new();
    let start = Instant::now();
    let waiting = receive_waiting(t, Some(token.clone()));
    t.pause().await;
    token.cancel();
    let batch = waiting.await.expect("the receive does not panic");
    let took = start.elapsed();
    ensure!(batch.deliveries.is_empty(), promise, "the batch is not empty");
    ensure!(took < wait(t) / 2, promise, "it took {took:?} of {:?}", wait(t));
    t.send("x").await;
    t.take().await;
}

/// An interrupt ends a wait, not a receive that has something to give.
pub async fn an_interrupt_loses_no_message(t: &Fixture) {
    t.send("x").await;
    let token = CancellationToken::new();
    token.cancel();
    let batch = receive_waiting(t, Some(token)).await.expect("the receive does not panic");
    let given = batch.deliveries.len();
    ensure!(given == 1, promise::AT_ONCE, "an interrupted receive gave {given} messages");
}

/// Whatever a backend knows, `wait_visible` comes back.
pub async fn wait_visible_ends(t: &Fixture) {
    let start = Instant::now();
    t.backend().wait_visible(t.queue(), t.short()).await;
    let took = start.elapsed();
    ensure!(took <= t.short() + t.slack(), promise::WAIT_ENDS, "it took {took:?}");
}

/// `wait_visible` returns when a message is sent.
pub async fn wait_visible_sees_a_send(t: &Fixture) {
    let waiting = wait_for_visible(t);
    t.pause().await;
    t.send("x").await;
    expect_woken(t, waiting).await;
}

/// `wait_visible` returns at once if a message is there.
pub async fn wait_visible_sees_what_is_there(t: &Fixture) {
    t.send("x").await;
    expect_woken(t, wait_for_visible(t)).await;
}

/// `wait_visible` returns when a message is given back.
pub async fn wait_visible_sees_a_release(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let waiting = wait_for_visible(t);
    t.pause().await;
    t.release(&held, Duration::ZERO).await.kept(promise::RELEASE);
    expect_woken(t, waiting).await;
}

/// `wait_visible` returns when a delay ends that began meanwhile.
pub async fn wait_visible_sees_what_becomes_due(t: &Fixture) {
    let waiting = wait_for_visible(t);
    t.pause().await;
    t.send_message(Outgoing::new("x").delay(t.short())).await;
    expect_woken(t, waiting).await;
}

/// `wait_visible` returns when a lease ends.
pub async fn wait_visible_sees_the_end_of_a_lease(t: &Fixture) {
    t.send("x").await;
    t.take_for(t.short()).await;
    expect_woken(t, wait_for_visible(t)).await;
}

/// The longest wait that a receive honours, as far as tests have time.
fn wait(t: &Fixture) -> Duration {
    let longest = t.capabilities().long_poll.unwrap_or_default();
    longest.min(Duration::from_secs(20))
}

fn receive_waiting(t: &Fixture, interrupt: Option<CancellationToken>) -> JoinHandle<Batch> {
    let t = t.clone();
    tokio::spawn(async move {
        let mut request = ReceiveRequest::new(t.queue().clone()).lease(t.long()).wait(wait(&t));
        request.interrupt = interrupt;
        t.backend().receive(request).await.kept(promise::HONOURS_WAIT)
    })
}

async fn expect_one(waiting: JoinHandle<Batch>) {
    let given = waiting.await.expect("the receive does not panic").deliveries.len();
    ensure!(given == 1, promise::HONOURS_WAIT, "it gave {given} messages");
}

/// How long a `wait_visible` is given that should return by itself.
fn patience(t: &Fixture) -> Duration {
    t.slack() * 3
}

fn wait_for_visible(t: &Fixture) -> JoinHandle<Duration> {
    let t = t.clone();
    tokio::spawn(async move {
        let start = Instant::now();
        t.backend().wait_visible(t.queue(), patience(&t)).await;
        start.elapsed()
    })
}

async fn expect_woken(t: &Fixture, waiting: JoinHandle<Duration>) {
    let took = waiting.await.expect("the wait does not panic");
    ensure!(took < patience(t) / 2, promise::WAKES, "it took {took:?}");
}
