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
use super::rate::Ticket;
use crate::backend::Delivery;
use crate::pipeline::Ready;

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
    /// Clones of the stacks that are ready for one call.
    pub(crate) ready: Ready,
    /// The worker-wide permit, where there is a worker-wide limit.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// The right to start, where there is a rate limit.
    pub(crate) ticket: Option<Ticket>,
}

/// What a slot is to do next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is moved once; a box for each job costs more")]
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
    /// Something to run, if there is anything.
    pub(crate) fn next(&self) -> Option<Item> {
        self.state().items.pop_front()
    }

    /// Waits for something to do; `None` once `stop` is cancelled.
    pub(crate) async fn turn(&self, stop: &CancellationToken) -> Option<Turn<'_>> {
        if let Some(turn) = self.state().turn(self) {
            return Some(turn);
        }
        let mut idle = Idle::enter(self);
        loop {
            let mut changed = pin!(self.changed.notified());
            // Enlisted before looking, or a change in between would be missed.
            changed.as_mut().enable();
            if let Some(turn) = idle.turn() {
                return Some(turn);
            }
            tokio::select! {
                () = changed => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }
}

impl State {
    /// What to do next, if there is something at once.
    fn turn<'a>(&mut self, feed: &'a Feed) -> Option<Turn<'a>> {
        if let Some(item) = self.items.pop_front() {
            return Some(Turn::Run(item));
        }
        if std::mem::replace(&mut self.led, true) {
            return None;
        }
        Some(Turn::Lead(Lead { feed }))
    }
}

/// Counts a slot among the idle ones for as long as it waits.
struct Idle<'a> {
    feed: &'a Feed,
    counted: bool,
}

impl<'a> Idle<'a> {
    fn enter(feed: &'a Feed) -> Self {
        feed.state().idle += 1;
        Self { feed, counted: true }
    }

    /// Takes a turn and is idle no more, in one step: a leader in between would count this slot
    /// as free for something else, and lease what nobody can start.
    fn turn(&mut self) -> Option<Turn<'a>> {
        let mut state = self.feed.state();
        let turn = state.turn(self.feed)?;
        state.idle -= 1;
        self.counted = false;
        Some(turn)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.feed.state().idle -= 1;
        }
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
