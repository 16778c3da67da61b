//! The worker receives only when the kit lets it: one message of one queue at a time.
//!
//! Each queue is served by one slot. While that has nothing to do it waits at the gate, and has
//! settled all it had; so when it is back at the gate, whatever was let through is over.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use job_core::QueueName;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Which worker it is. What is left of one that was killed goes away when it likes.
    worker: u64,
    /// The queues whose slots wait, by worker.
    waiting: BTreeSet<(u64, QueueName)>,
    /// Who may receive once.
    open: Option<QueueName>,
}

impl Gate {
    /// Another worker is about to start.
    pub(super) fn next_worker(&self) {
        let mut state = self.state();
        state.worker += 1;
        state.open = None;
    }

    /// Lets one receive of that queue through, and waits until it was made.
    pub(super) async fn pass(&self, queue: &QueueName) {
        self.until(|state| state.waits(queue)).await;
        self.state().open = Some(queue.clone());
        self.changed.notify_waiters();
        self.until(|state| state.open.is_none()).await;
    }

    /// Waits until all that came of the receive is over.
    pub(super) async fn over(&self, queue: &QueueName) {
        self.until(|state| state.waits(queue)).await;
    }

    /// Waits at the gate until it is open for that queue.
    pub(super) async fn wait(&self, queue: &QueueName) {
        let _waiting = Waiting::new(self, queue);
        self.until(|state| state.open.as_ref() == Some(queue)).await;
    }

    /// Whether that queue may receive now.
    pub(super) fn is_open(&self, queue: &QueueName) -> bool {
        self.state().open.as_ref() == Some(queue)
    }

    /// The one receive was made.
    pub(super) fn close(&self) {
        self.state().open = None;
        self.changed.notify_waiters();
    }

    async fn until(&self, so: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Enlisted before looking, or a change in between would be missed.
            changed.as_mut().enable();
            if so(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waits(&self, queue: &QueueName) -> bool {
        self.waiting.contains(&(self.worker, queue.clone()))
    }
}

/// A slot that waits, until it is dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    slot: (u64, QueueName),
}

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate, queue: &QueueName) -> Self {
        let slot = {
            let mut state = gate.state();
            let slot = (state.worker, queue.clone());
            state.waiting.insert(slot.clone());
            slot
        };
        gate.changed.notify_waiters();
        Self { gate, slot }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.state().waiting.remove(&self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn is_over(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn what_is_left_of_an_earlier_worker_is_not_taken_for_a_slot_of_this_one() {
        let (gate, mail) = (Gate::default(), QueueName::new("mail").unwrap());
        let mut old = Box::pin(gate.wait(&mail));
        assert!(!is_over(old.as_mut()));
        gate.next_worker();
        let mut pass = pin!(async {
            gate.pass(&mail).await;
            gate.over(&mail).await;
        });
        assert!(!is_over(pass.as_mut()) && !gate.is_open(&mail));
        {
            let mut slot = pin!(gate.wait(&mail));
            assert!(!is_over(slot.as_mut()));
            drop(old);
            assert!(!is_over(pass.as_mut()) && gate.is_open(&mail));
            assert!(is_over(slot.as_mut()));
        }
        gate.close();
        // What was received is not settled before the slot is back.
        assert!(!is_over(pass.as_mut()));
        let mut slot = pin!(gate.wait(&mail));
        assert!(!is_over(slot.as_mut()));
        assert!(is_over(pass.as_mut()));
    }
}
