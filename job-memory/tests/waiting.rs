//! Waiting for messages: on time to the millisecond under the paused clock, and without a lost
//! wake-up under the real one.

use std::time::Duration;

use job_core::QueueName;
use job_core::backend::{Backend, Outgoing, ReceiveRequest};
use job_memory::MemoryBackend;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);

/// A backend with one queue.
struct Setup {
    backend: MemoryBackend,
    queue: QueueName,
}

impl Setup {
    async fn new() -> Self {
        let (backend, queue) = (MemoryBackend::new(), QueueName::new("mail").unwrap());
        backend.create_queue(&queue, &Default::default()).await.unwrap();
        Self { backend, queue }
    }

    async fn send(&self, delay: Duration) {
        let message = Outgoing::new("x").delay(delay);
        self.backend.send(&self.queue, &[message]).await.remove(0).unwrap();
    }

    fn request(&self) -> ReceiveRequest {
        ReceiveRequest::new(self.queue.clone())
    }

    /// Starts a receive and lets it come to wait. It gives the number of messages and the time
    /// that it took.
    async fn receive(&self, wait: Duration) -> JoinHandle<(usize, Duration)> {
        self.start(self.request().wait(wait)).await
    }

    async fn start(&self, request: ReceiveRequest) -> JoinHandle<(usize, Duration)> {
        let backend = self.backend.clone();
        let waiting = tokio::spawn(async move {
            let start = Instant::now();
            let batch = backend.receive(request).await.unwrap();
            (batch.deliveries.len(), start.elapsed())
        });
        settle().await;
        waiting
    }

    /// Starts a `wait_visible` and lets it come to wait. It gives the time that it took.
    async fn watch(&self, at_most: Duration) -> JoinHandle<Duration> {
        let (backend, queue) = (self.backend.clone(), self.queue.clone());
        let waiting = tokio::spawn(async move {
            let start = Instant::now();
            backend.wait_visible(&queue, at_most).await;
            start.elapsed()
        });
        settle().await;
        waiting
    }
}

/// On one thread, a yield runs whatever is ready.
async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_producer_that_goes_on_and_on_lets_others_run() {
    let t = Setup::new().await;
    let other = tokio::spawn(std::future::ready(()));
    for _ in 0..1000 {
        t.send(Duration::ZERO).await;
    }
    assert!(other.is_finished());

    let other = tokio::spawn(std::future::ready(()));
    let many = vec![Outgoing::new("x"); 1000];
    for _ in 0..10 {
        t.backend.send(&t.queue, &many).await;
    }
    assert!(other.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_to_the_millisecond() {
    let t = Setup::new().await;
    let waiting = t.receive(7 * SECOND).await;
    assert_eq!(waiting.await.unwrap(), (0, 7 * SECOND));
    let watching = t.watch(3 * SECOND).await;
    assert_eq!(watching.await.unwrap(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_cut_to_what_is_offered() {
    let t = Setup::new().await;
    let waiting = t.receive(Duration::MAX).await;
    assert_eq!(waiting.await.unwrap(), (0, 20 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_endless_watch_can_be_asked_for() {
    let t = Setup::new().await;
    let watching = t.watch(Duration::MAX).await;
    t.send(10 * SECOND).await;
    assert_eq!(watching.await.unwrap(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_send_shortens_the_timer_of_a_waiter() {
    let t = Setup::new().await;
    t.send(15 * SECOND).await;
    let waiting = t.receive(20 * SECOND).await;
    t.send(4 * SECOND).await;
    assert_eq!(waiting.await.unwrap(), (1, 4 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_shortened_shortens_the_timer_of_a_waiter() {
    let t = Setup::new().await;
    t.send(Duration::ZERO).await;
    let held = t.backend.receive(t.request()).await.unwrap().deliveries.remove(0).receipt;
    let waiting = t.receive(20 * SECOND).await;
    t.backend.renew(&[held], 2 * SECOND).await.remove(0).unwrap();
    assert_eq!(waiting.await.unwrap(), (1, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_passes_its_task_on() {
    let t = Setup::new().await;
    let first = t.receive(20 * SECOND).await;
    let second = t.receive(20 * SECOND).await;
    // This wakes the first, which sets its timer; the second knows of nothing.
    t.send(5 * SECOND).await;
    settle().await;
    first.abort();
    assert_eq!(second.await.unwrap(), (1, 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_before_it_looks_passes_its_task_on() {
    let t = Setup::new().await;
    let first = t.receive(20 * SECOND).await;
    let second = t.receive(20 * SECOND).await;
    t.send(Duration::ZERO).await;
    first.abort();
    assert_eq!(second.await.unwrap(), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_time_is_up_passes_its_task_on() {
    let t = Setup::new().await;
    let first = t.receive(3 * SECOND).await;
    let second = t.receive(20 * SECOND).await;
    t.send(5 * SECOND).await;
    assert_eq!(first.await.unwrap(), (0, 3 * SECOND));
    assert_eq!(second.await.unwrap(), (1, 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_waiter_passes_its_task_on() {
    let t = Setup::new().await;
    let token = CancellationToken::new();
    let first = t.start(t.request().wait(20 * SECOND).interrupt(token.clone())).await;
    let second = t.receive(20 * SECOND).await;
    t.send(5 * SECOND).await;
    settle().await;
    token.cancel();
    assert_eq!(first.await.unwrap(), (0, Duration::ZERO));
    assert_eq!(second.await.unwrap(), (1, 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn one_send_of_many_messages_reaches_every_waiter() {
    let t = Setup::new().await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(t.receive(20 * SECOND).await);
    }
    let messages = vec![Outgoing::new("x"); 10];
    t.backend.send(&t.queue, &messages).await;
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_become_due_together_reach_every_waiter() {
    let t = Setup::new().await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(t.receive(20 * SECOND).await);
        t.send(6 * SECOND).await;
    }
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), (1, 6 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_keeps_no_message_from_a_receive() {
    let t = Setup::new().await;
    let watching = t.watch(20 * SECOND).await;
    let waiting = t.receive(20 * SECOND).await;
    let another = t.watch(20 * SECOND).await;
    t.send(Duration::ZERO).await;
    assert_eq!(watching.await.unwrap(), Duration::ZERO);
    assert_eq!(waiting.await.unwrap(), (1, Duration::ZERO));
    // The receive took the message before this one could see it.
    assert_eq!(another.await.unwrap(), 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_no_queue_is_a_sleep() {
    let backend = MemoryBackend::new();
    let start = Instant::now();
    backend.wait_visible(&QueueName::new("none").unwrap(), 5 * SECOND).await;
    assert_eq!(start.elapsed(), 5 * SECOND);
}

/// A lost wake-up would stall one of the rounds for as long as a receive waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_between_threads() {
    const ROUNDS: usize = 5000;
    let backend = MemoryBackend::new();
    let [ping, pong] = ["ping", "pong"].map(|name| QueueName::new(name).unwrap());
    for queue in [&ping, &pong] {
        backend.create_queue(queue, &Default::default()).await.unwrap();
    }
    let echo = tokio::spawn(relay(backend.clone(), ping.clone(), pong.clone(), ROUNDS));
    backend.send(&ping, &[Outgoing::new("x")]).await;
    let rounds = async {
        relay(backend.clone(), pong, ping, ROUNDS).await;
        echo.await.unwrap();
    };
    timeout(15 * SECOND, rounds).await.expect("a wake-up was lost");
}

/// Moves what comes from one queue to the other.
async fn relay(backend: MemoryBackend, from: QueueName, to: QueueName, rounds: usize) {
    for _ in 0..rounds {
        let request = ReceiveRequest::new(from.clone()).wait(20 * SECOND);
        let delivery = backend.receive(request).await.unwrap().deliveries.remove(0);
        backend.send(&to, &[Outgoing::new(delivery.body)]).await.remove(0).unwrap();
        backend.delete(&[delivery.receipt]).await.remove(0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_waiters_drain_what_many_send() {
    const SENDERS: usize = 4;
    const EACH: usize = 2000;
    let t = Setup::new().await;
    let done = CancellationToken::new();
    let consumers: Vec<_> = (0..16)
        .map(|_| {
            let (backend, done) = (t.backend.clone(), done.clone());
            let request = t.request().max(3).wait(20 * SECOND).interrupt(done.clone());
            tokio::spawn(async move {
                let mut taken = 0;
                while !done.is_cancelled() {
                    let batch = backend.receive(request.clone()).await.unwrap();
                    taken += batch.deliveries.len();
                    let receipts: Vec<_> =
                        batch.deliveries.into_iter().map(|delivery| delivery.receipt).collect();
                    backend.delete(&receipts).await.into_iter().for_each(|gone| gone.unwrap());
                }
                taken
            })
        })
        .collect();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (backend, queue) = (t.backend.clone(), t.queue.clone());
            tokio::spawn(async move {
                for _ in 0..EACH {
                    backend.send(&queue, &[Outgoing::new("x")]).await.remove(0).unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let drained = async {
        while t.backend.stats(&t.queue).await.unwrap().total > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(15 * SECOND, drained).await.expect("a wake-up was lost");
    done.cancel();
    let mut taken = 0;
    for consumer in consumers {
        taken += consumer.await.unwrap();
    }
    assert_eq!(taken, SENDERS * EACH);
}
