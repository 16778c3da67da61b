//! Who runs what, and whose turn it is to receive, among the slots of one queue.
//!
//! There is no poller task. A slot that has nothing to run and finds nobody receiving takes the
//! lead: it receives for itself and for its idle siblings, hands out what came, and gives the
//! lead up. So a job needs no wake-up of another task unless there is more than one.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lease::LeaseKey;
use crate::backend::Delivery;
use crate::pipeline::JobService;

/// A message that was received for a slot.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) delivery: Delivery,
    pub(crate) lease: LeaseKey,
    pub(crate) server_now: SystemTime,
    pub(crate) received_at: Instant,
    pub(crate) reservation: Reservation,
}

/// What was reserved before a message was received, so that it can start at once.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// A clone of the stack that is ready for one call.
    pub(crate) service: JobService,
    /// The worker-wide permit, where there is a worker-wide limit.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

/// What a slot is to do next.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    Run(Item),
    Lead(Lead<'a>),
}

#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    led: bool,
    /// Slots that wait for something to run.
    idle: usize,
}

impl Feed {
    /// What to do next, if there is something at once.
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        let mut state = self.state();
        if let Some(item) = state.items.pop_front() {
            return Some(Turn::Run(item));
        }
        if state.led {
            return None;
        }
        state.led = true;
        Some(Turn::Lead(Lead { feed: self }))
    }

    /// Waits for something to do; `None` once `stop` is cancelled.
    pub(crate) async fn turn(&self, stop: &CancellationToken) -> Option<Turn<'_>> {
        let _idle = Idle::enter(self);
        loop {
            let mut changed = pin!(self.changed.notified());
            // Enlisted before looking, or a change in between would be missed.
            changed.as_mut().enable();
            if let Some(turn) = self.try_turn() {
                return Some(turn);
            }
            tokio::select! {
                () = changed => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Something to run, even when no more is to be received.
    pub(crate) fn leftover(&self) -> Option<Item> {
        self.state().items.pop_front()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

/// Counts a slot among the idle ones for as long as it waits.
struct Idle<'a>(&'a Feed);

impl<'a> Idle<'a> {
    fn enter(feed: &'a Feed) -> Self {
        feed.state().idle += 1;
        Self(feed)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.state().idle -= 1;
    }
}

/// The turn to receive. Dropping it passes it on.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    feed: &'a Feed,
}

impl Lead<'_> {
    /// How many messages could start now: one for the leader, one for each idle slot.
    pub(crate) fn wanted(&self) -> usize {
        self.feed.state().idle + 1
    }

    /// Hands out what was received; the leader comes back for its share.
    pub(crate) fn deliver(self, items: Vec<Item>) {
        let others = items.len().saturating_sub(1);
        self.feed.state().items.extend(items);
        for _ in 0..others {
            self.feed.changed.notify_one();
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.feed.state().led = false;
        self.feed.changed.notify_one();
    }
}
