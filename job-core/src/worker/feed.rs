//! Who runs what, and whose turn it is to receive, among the slots of one queue.
//!
//! There is no poller task. A slot that has nothing to run and finds nobody receiving takes the
//! lead: it receives for itself and for its idle siblings, hands out what came, and gives the
//! lead up. So a job needs no wake-up of another task unless there is more than one.
//!
//! One receive brings only so many messages, and a remote queue takes its time. So once a leader
//! has sent its receive, the next slot may lead, if there is a backlog and the queue's concurrency
//! is more than one receive can bring. Each receive in flight has promised its messages to slots
//! that are idle; nobody else counts on those.
//!
//! Who leaves something to do behind wakes only the next few slots, and each of those does the same:
//! jobs that wait for nothing are done by the slots that are awake before more are needed.

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
use crate::pipeline::JobService;

/// How many slots are woken at a time. With one, a handler that blocks its thread could keep the
/// one woken last, and all that it would wake, in a place that no other thread takes tasks from.
const WAKES: usize = 2;

/// A message that was received for a slot.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) lease: Lease,
    pub(crate) server_now: SystemTime,
    pub(crate) received_at: Instant,
    /// `None` where nothing has to be reserved.
    pub(crate) reservation: Option<Reservation>,
}

/// What was reserved before a message was received, so that it can start at once.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    /// A clone of the worker's stack that is ready for one call, where there are layers that could
    /// hold it up.
    pub(crate) worker: Option<JobService>,
    /// The same of the queue's stack.
    pub(crate) queue: Option<JobService>,
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

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    /// Somebody prepares a receive, or waits until there is reason to.
    led: bool,
    /// Receives on their way.
    in_flight: usize,
    /// How many may be.
    most_in_flight: usize,
    /// Slots that wait for something to run.
    idle: usize,
    /// How many of those the receives in flight may bring something for.
    promised: usize,
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

    /// Wakes one more slot, if there is something to do that nobody has taken up: the one that was
    /// woken may wait behind a handler that blocks its thread.
    pub(crate) fn nudge(&self) {
        if self.state().open_turns() > 0 {
            self.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    /// Wakes the next slots, if there is something to do for others.
    fn pass_on(&self, state: MutexGuard<'_, State>) {
        let wakes = state.open_turns().min(WAKES);
        drop(state);
        for _ in 0..wakes {
            self.changed.notify_one();
        }
    }
}

impl State {
    /// What to do next, if there is something at once.
    fn turn<'a>(&mut self, feed: &'a Feed) -> Option<Turn<'a>> {
        if let Some(item) = self.items.pop_front() {
            return Some(Turn::Run(item));
        }
        if !self.may_lead() {
            return None;
        }
        self.led = true;
        Some(Turn::Lead(Lead { feed, launched: false }))
    }

    fn may_lead(&self) -> bool {
        !self.led && self.in_flight < self.most_in_flight
    }

    /// How many idle slots have something to do.
    fn open_turns(&self) -> usize {
        self.items.len() + usize::from(self.may_lead() && self.free() > 0)
    }

    /// Idle slots that nothing is on the way for.
    fn free(&self) -> usize {
        self.idle.saturating_sub(self.promised + self.items.len())
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            led: false,
            in_flight: 0,
            most_in_flight: 1,
            idle: 0,
            promised: 0,
            gathering: None,
        }
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
        if state.gathering.is_some_and(|enough| state.free() >= enough) {
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
        if state.items.is_empty() && state.free() == 0 {
            return None;
        }
        let turn = state.turn(self.feed)?;
        state.idle -= 1;
        self.counted = false;
        self.feed.pass_on(state);
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
    launched: bool,
}

impl<'a> Lead<'a> {
    /// How many messages could start now: one for the leader, one for each idle slot.
    pub(crate) fn wanted(&self) -> usize {
        self.feed.state().free() + 1
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

    /// A receive of up to `messages` sets out, no more than are wanted: from here on the next slot
    /// may lead.
    pub(crate) fn launch(mut self, messages: usize) -> Flight<'a> {
        self.launched = true;
        let promised = messages.saturating_sub(1);
        let mut state = self.feed.state();
        state.led = false;
        state.in_flight += 1;
        state.promised += promised;
        self.feed.pass_on(state);
        Flight { feed: self.feed, promised }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.launched {
            self.feed.state().led = false;
            self.feed.changed.notify_one();
        }
    }
}

/// A receive on its way. Dropping it breaks its promises.
#[derive(Debug)]
pub(crate) struct Flight<'a> {
    feed: &'a Feed,
    promised: usize,
}

impl<'a> Flight<'a> {
    /// Hands out what was received, and gives the leader its share. From now on so many receives
    /// may be on their way at a time.
    pub(crate) fn deliver(self, items: Vec<Item>, most_in_flight: usize) -> Option<Item> {
        let mut items = items.into_iter();
        let own = items.next();
        let mut state = self.feed.state();
        state.most_in_flight = most_in_flight;
        state.items.extend(items);
        own
    }

    /// Nothing was received. Gives the lead back, to wait and to try again, unless another slot
    /// has it or waits for an answer: only one is to ask a queue that may be empty.
    pub(crate) fn land(self) -> Option<Lead<'a>> {
        let feed = self.feed;
        let mut state = feed.state();
        state.most_in_flight = 1;
        let alone = !state.led && state.in_flight == 1;
        state.led |= alone;
        drop(state);
        drop(self);
        alone.then(|| Lead { feed, launched: false })
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.feed.state();
        state.in_flight -= 1;
        state.promised -= self.promised;
        self.feed.pass_on(state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;

    use super::*;
    use crate::QueueName;
    use crate::backend::{Delivery, Receipt};
    use crate::worker::lease::Leases;

    fn item(n: u64) -> Item {
        let receipt = Receipt::new(QueueName::new("mail").unwrap(), n, n);
        let now = Instant::now();
        let leases = Arc::new(Leases::new(std::time::Duration::from_secs(60)));
        let lease = leases.enter(receipt.clone(), now);
        Item {
            message: Message::split(Delivery::new(receipt, SystemTime::UNIX_EPOCH, "".into())).0,
            lease,
            server_now: SystemTime::UNIX_EPOCH,
            received_at: now,
            reservation: None,
        }
    }

    #[test]
    fn whoever_has_a_turn_is_not_idle_any_more() {
        let feed = Feed::default();
        let (mut leader, mut other) = (Idle::enter(&feed), Idle::enter(&feed));
        let Some(Turn::Lead(lead)) = leader.turn() else { panic!("nobody leads") };
        assert_eq!(lead.wanted(), 2);
        assert!(other.turn().is_none());
        assert!(lead.launch(2).deliver(vec![item(1), item(2)], 1).is_some());
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
            let own = lead.launch(5).deliver((0..items + 1).map(item).collect(), 1);
            assert!(own.is_some());
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

    #[test]
    fn receives_overlap_and_never_ask_for_more_than_there_are_slots() {
        let feed = Feed::default();
        let mut idle: Vec<_> = (0..6).map(|_| Idle::enter(&feed)).collect();
        let mut lead = |most: usize| {
            feed.state().most_in_flight = most;
            match idle.iter_mut().find(|idle| idle.counted).and_then(Idle::turn) {
                Some(Turn::Lead(lead)) => Some(lead),
                Some(Turn::Run(_)) => panic!("there is nothing to run"),
                None => None,
            }
        };
        let first = lead(1).unwrap();
        assert_eq!(first.wanted(), 6);
        let first = first.launch(3);
        assert!(lead(1).is_none(), "one at a time where there is no backlog");
        let second = lead(3).unwrap();
        assert_eq!(second.wanted(), 3, "three are promised, and one of those is the leader");
        let second = second.launch(3);
        assert!(lead(3).is_none(), "nobody is left who could run anything");
        assert!(second.land().is_none(), "the other one still waits for an answer");
        assert_eq!(feed.state().most_in_flight, 1);
        let again = first.land().expect("it is the only one");
        assert_eq!(again.wanted(), 5);
        drop(again);
        let State { led, in_flight, promised, .. } = *feed.state();
        assert_eq!((led, in_flight, promised), (false, 0, 0));
    }

    #[test]
    fn a_receive_that_brought_nothing_leaves_the_lead_to_whom_it_was_passed() {
        let feed = Feed::default();
        feed.state().most_in_flight = 2;
        let mut idle: Vec<_> = (0..3).map(|_| Idle::enter(&feed)).collect();
        let Some(Turn::Lead(first)) = idle[0].turn() else { panic!("nobody leads") };
        let flight = first.launch(1);
        let Some(Turn::Lead(second)) = idle[1].turn() else { panic!("nobody leads") };
        assert!(flight.land().is_none());
        assert!(idle[2].turn().is_none(), "one leads already");
        assert_eq!(second.wanted(), 2);
        drop(second);
        assert!(matches!(idle[2].turn(), Some(Turn::Lead(_))));
    }

    #[tokio::test]
    async fn another_is_woken_where_the_one_that_was_does_not_come() {
        let (feed, stop) = (Arc::new(Feed::default()), CancellationToken::new());
        let Some(Turn::Lead(lead)) = feed.turn(&stop).await else { panic!("nobody leads") };
        let mut stuck = pin!(feed.turn(&stop));
        assert!(timeout(Duration::ZERO, &mut stuck).await.is_err());
        let slots = slots(&feed, &stop, 1);
        yield_now().await;
        feed.nudge();
        assert!(lead.launch(1).deliver(vec![item(1)], 1).is_some());
        // The first is awake, and is not polled.
        feed.nudge();
        assert_eq!(slots.join_all().await, ["led"]);
        assert!(timeout(Duration::ZERO, &mut stuck).await.is_ok());
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
