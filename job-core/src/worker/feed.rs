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

use super::lease::Lease;
use super::rate::Ticket;
use crate::decide::Message;
use crate::pipeline::Ready;

/// A message that was received for a slot.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) lease: Lease,
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
#[allow(clippy::large_enum_variant, reason = "it is moved once; a box for each job costs more")]
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    Run(Item),
    Lead(Lead<'a>),
}

#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    changed: Notify,
    /// Slots became idle while a leader waits for them.
    gathered: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    led: bool,
    /// Slots that wait for something to run.
    idle: usize,
    /// With how many idle slots the leader is to be told.
    gathering: Option<usize>,
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
        let mut state = feed.state();
        state.idle += 1;
        if state.gathering.is_some_and(|enough| state.idle >= enough) {
            state.gathering = None;
            feed.gathered.notify_one();
        }
        drop(state);
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

    /// Returns when that many messages could start. Cancel-safe.
    pub(crate) async fn gathered(&self, enough: usize) {
        // A word from an earlier wait may still be there.
        while self.wanted() < enough {
            self.feed.state().gathering = Some(enough - 1);
            if self.wanted() < enough {
                self.feed.gathered.notified().await;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::{JoinSet, yield_now};

    use super::*;
    use crate::backend::{Delivery, Receipt};
    use crate::worker::lease::Leases;
    use crate::{QueueName, pipeline};

    fn item(n: u64) -> Item {
        let receipt = Receipt::new(QueueName::new("mail").unwrap(), n, n);
        let now = Instant::now();
        let leases = Arc::new(Leases::new(std::time::Duration::from_secs(60)));
        let lease = leases.enter([receipt.clone()], now).remove(0);
        let ready = Ready { worker: pipeline::worker_stack(&Default::default()), queue: None };
        Item {
            message: Message::split(Delivery::new(receipt, SystemTime::UNIX_EPOCH, "".into())).0,
            lease,
            server_now: SystemTime::UNIX_EPOCH,
            received_at: now,
            reservation: Reservation { ready, permit: None, ticket: None },
        }
    }

    #[test]
    fn whoever_has_a_turn_is_not_idle_any_more() {
        let feed = Feed::default();
        let (mut leader, mut other) = (Idle::enter(&feed), Idle::enter(&feed));
        let Some(Turn::Lead(lead)) = leader.turn() else { panic!("nobody leads") };
        assert_eq!(lead.wanted(), 2);
        assert!(other.turn().is_none());
        lead.deliver(vec![item(1)]);
        assert!(matches!(other.turn(), Some(Turn::Run(_))));
        assert_eq!(feed.state().idle, 0);
        drop((leader, other));
        assert_eq!(feed.state().idle, 0);
    }

    /// Slots that take one turn each; those that lead say so and pass it on.
    fn slots(feed: &Arc<Feed>, stop: &CancellationToken, n: usize) -> JoinSet<&'static str> {
        let mut slots = JoinSet::new();
        for _ in 0..n {
            let (feed, stop) = (Arc::clone(feed), stop.clone());
            slots.spawn(async move {
                match feed.turn(&stop).await {
                    Some(Turn::Run(_)) => "ran",
                    Some(Turn::Lead(_)) => "led",
                    None => "stopped",
                }
            });
        }
        slots
    }

    #[tokio::test]
    async fn what_is_delivered_reaches_those_who_wait_and_so_does_the_lead() {
        for items in 0..5 {
            let (feed, stop) = (Arc::new(Feed::default()), CancellationToken::new());
            let Some(Turn::Lead(lead)) = feed.turn(&stop).await else { panic!("nobody leads") };
            let slots = slots(&feed, &stop, 4);
            yield_now().await;
            assert_eq!(lead.wanted(), 5);
            lead.deliver((0..items + 1).map(item).collect());
            // The leader's own share.
            assert!(feed.next().is_some());
            // Each leads when there is nothing to run, one after the other.
            let mut turns = slots.join_all().await;
            turns.sort_unstable();
            let led = turns.iter().filter(|turn| **turn == "led").count() as u64;
            assert_eq!(led, 4 - items, "{turns:?}");
        }
    }

    #[tokio::test]
    async fn a_leader_can_wait_for_others_to_become_idle() {
        let (feed, stop) = (Arc::new(Feed::default()), CancellationToken::new());
        let Some(Turn::Lead(lead)) = feed.turn(&stop).await else { panic!("nobody leads") };
        for enough in [3, 5] {
            assert!(lead.wanted() < enough);
            slots(&feed, &stop, 2).detach_all();
            lead.gathered(enough).await;
            assert_eq!(lead.wanted(), enough);
        }
        lead.gathered(4).await;
        stop.cancel();
    }

    #[tokio::test]
    async fn a_leader_that_goes_away_passes_the_lead_on() {
        let (feed, stop) = (Arc::new(Feed::default()), CancellationToken::new());
        let Some(Turn::Lead(lead)) = feed.turn(&stop).await else { panic!("nobody leads") };
        let slots = slots(&feed, &stop, 3);
        yield_now().await;
        drop(lead);
        assert_eq!(slots.join_all().await, ["led"; 3]);
    }

    #[tokio::test]
    async fn a_stop_reaches_all_who_wait() {
        let (feed, stop) = (Arc::new(Feed::default()), CancellationToken::new());
        let Some(Turn::Lead(_lead)) = feed.turn(&stop).await else { panic!("nobody leads") };
        let slots = slots(&feed, &stop, 3);
        yield_now().await;
        stop.cancel();
        assert_eq!(slots.join_all().await, ["stopped"; 3]);
        assert_eq!(feed.state().idle, 0);
    }
}
