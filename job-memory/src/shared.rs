//! A queue among tasks: its lock, and those who wait for a message.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::{Clock, Moment};
use crate::queue::Queue;

/// A queue behind its lock.
pub(crate) struct SharedQueue {
    queue: Mutex<Queue>,
    waiters: Waiters,
}

impl SharedQueue {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(Queue::new()), waiters: Waiters::default() }
    }

    /// Runs `operation` under the lock, then wakes a waiter if it has anything to tell one.
    pub(crate) fn run<T>(&self, now: Moment, operation: impl FnOnce(&mut Queue, Moment) -> T) -> T {
        let (result, news) = {
            let mut queue = self.lock();
            queue.advance(now);
            let before = queue.outlook();
            let result = operation(&mut queue, now);
            let after = queue.outlook();
            let news =
                after.visible > before.visible || after.next_visible_at < before.next_visible_at;
            (result, news)
        };
        if news {
            self.waiters.wake_one();
        }
        result
    }

    /// Runs `attempt` now and whenever a message may have become visible, until it gives
    /// something. Gives up at `until` or when `interrupt` is done, whichever is first.
    ///
    /// Cancel-safe as far as `attempt` has not given anything.
    pub(crate) async fn wait<T>(
        &self,
        clock: &Clock,
        until: Instant,
        interrupt: impl Future<Output = ()>,
        mut attempt: impl FnMut(&mut Queue, Moment) -> Option<T>,
    ) -> Option<T> {
        let _waiting = self.waiters.enter();
        let mut interrupt = pin!(interrupt);
        loop {
            // Listen before looking, so that nothing sent in between goes unheard.
            let mut woken = pin!(self.waiters.notify.notified());
            woken.as_mut().enable();
            let (found, next) = self.run(clock.now(), |queue, now| {
                let found = attempt(queue, now);
                (found, queue.outlook().next_visible_at)
            });
            if found.is_some() || Instant::now() >= until {
                return found;
            }
            let timer = tokio::time::sleep_until(until.min(clock.instant(next)));
            tokio::select! {
                biased;
                () = &mut woken => {}
                () = &mut interrupt => return None,
                () = timer => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("a queue is whole unless one of its operations panicked")
    }
}

/// Those who wait for a message.
///
/// Each piece of news wakes one of them, so that a message does not wake a herd. Two rules make
/// that enough: whoever is woken looks at the queue and sets its timer by what it sees, and whoever
/// stops waiting, for whatever reason, wakes the next. So as long as anyone waits, one of them
/// knows of every visible message and has a timer for the next hidden one.
#[derive(Default)]
struct Waiters {
    /// Spares those who send to a queue that nobody waits for the cost of telling them.
    waiting: AtomicUsize,
    notify: Notify,
}

impl Waiters {
    /// To be called before the waiter first looks at the queue. The lock of the queue then orders
    /// the two counters' users: who changed the queue after that look sees the waiter here.
    fn enter(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting { waiters: self }
    }

    fn wake_one(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.notify.notify_one();
        }
    }
}

/// Somebody waiting, until it is dropped.
struct Waiting<'a> {
    waiters: &'a Waiters,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiters.wake_one();
    }
}
