//! One queue as a pure state machine: every operation takes the time, none does any I/O.
//!
//! Invariant: a message is in exactly one of `visible` and `hidden`, and in `expiry` if it expires.
//! No operation looks at messages that it does not concern, so a long queue is as fast as a short
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;

/// The messages of one queue.
pub(crate) struct Queue {
    /// Every message by its id, which is its age too.
    messages: BTreeMap<u64, Message>,
    /// Visible messages, by the order in which they became so.
    visible: BTreeMap<u64, u64>,
    /// Messages under a delay or a lease, by its end.
    hidden: BTreeSet<(Moment, u64)>,
    /// Messages that expire, by when.
    expiry: BTreeSet<(Moment, u64)>,
    next_turn: u64,
    /// The latest time it was told.
    now: Moment,
}

/// Numbers for messages and receipts, none of them given twice.
#[derive(Debug, Default)]
pub(crate) struct Serial(u64);

struct Message {
    text: Arc<str>,
    inserted_at: Moment,
    expires_at: Moment,
    visible_at: Moment,
    /// Its key in `visible`, unless it is hidden.
    turn: Option<u64>,
    dequeue_count: u32,
    receipt: u64,
}

/// A message as an operation left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) text: Arc<str>,
    pub(crate) inserted_at: Moment,
    /// The end of its TTL, or [`Moment::NEVER`].
    pub(crate) expires_at: Moment,
    pub(crate) visible_at: Moment,
    pub(crate) dequeue_count: u32,
    pub(crate) receipt: u64,
}

/// Which messages a receive takes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// Why a message cannot be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsettled {
    /// It was deleted, or has expired.
    Gone,
    /// Somebody else has received or updated it.
    Stale,
    /// It would be hidden beyond the end of its TTL.
    PastExpiry,
}

impl Serial {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            messages: BTreeMap::new(),
            visible: BTreeMap::new(),
            hidden: BTreeSet::new(),
            expiry: BTreeSet::new(),
            next_turn: 0,
            now: Moment::START,
        }
    }

    /// Takes in a message. Without a TTL it never expires.
    pub(crate) fn send(
        &mut self,
        now: Moment,
        serial: &mut Serial,
        text: Arc<str>,
        delay: Duration,
        ttl: Option<Duration>,
    ) -> Seen {
        self.advance(now);
        let id = serial.next();
        let message = Message {
            text,
            inserted_at: self.now,
            expires_at: ttl.map_or(Moment::NEVER, |ttl| self.now.after(ttl)),
            visible_at: self.now,
            turn: None,
            dequeue_count: 0,
            receipt: serial.next(),
        };
        if message.expires_at < Moment::NEVER {
            self.expiry.insert((message.expires_at, id));
        }
        self.messages.insert(id, message);
        self.place(id, self.now.after(delay));
        self.seen(id)
    }

    /// Hides up to `max` visible messages for `lease`, and gives each a receipt of its own.
    pub(crate) fn receive(
        &mut self,
        now: Moment,
        serial: &mut Serial,
        max: usize,
        lease: Duration,
        order: Order,
    ) -> Vec<Seen> {
        self.advance(now);
        let ids: Vec<u64> = match order {
            Order::OldestFirst => self.visible.values().take(max).copied().collect(),
            Order::NewestFirst => self.visible.values().rev().take(max).copied().collect(),
        };
        let take = |id| {
            self.hide(id, lease);
            let message = self.message(id);
            message.dequeue_count += 1;
            message.receipt = serial.next();
            self.seen(id)
        };
        ids.into_iter().map(take).collect()
    }

    /// The first `max` visible messages, untouched.
    pub(crate) fn peek(&mut self, now: Moment, max: usize) -> Vec<Seen> {
        self.advance(now);
        self.visible.values().take(max).map(|&id| self.seen(id)).collect()
    }

    /// Hides the message for `span` from now, and rewrites it if there is a text. Makes the
    /// receipt stale and gives the next.
    pub(crate) fn update(
        &mut self,
        now: Moment,
        serial: &mut Serial,
        (id, receipt): (u64, u64),
        text: Option<Arc<str>>,
        span: Duration,
    ) -> Result<Seen, Unsettled> {
        self.advance(now);
        let until = self.now.after(span);
        let message = self.held(id, receipt)?;
        if until > message.expires_at {
            return Err(Unsettled::PastExpiry);
        }
        message.receipt = serial.next();
        if let Some(text) = text {
            message.text = text;
        }
        self.hide(id, span);
        Ok(self.seen(id))
    }

    pub(crate) fn delete(
        &mut self,
        now: Moment,
        (id, receipt): (u64, u64),
    ) -> Result<(), Unsettled> {
        self.advance(now);
        self.held(id, receipt)?;
        self.remove(id);
        Ok(())
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self, now: Moment) {
        self.advance(now);
        let (now, next_turn) = (self.now, self.next_turn);
        *self = Self { now, next_turn, ..Self::new() };
    }

    /// How many messages there are, hidden ones included.
    pub(crate) fn len(&mut self, now: Moment) -> usize {
        self.advance(now);
        self.messages.len()
    }

    /// The text of every message, hidden ones included, oldest first.
    pub(crate) fn texts(&mut self, now: Moment) -> Vec<String> {
        self.advance(now);
        self.messages.values().map(|message| message.text.to_string()).collect()
    }

    /// Lets time pass: drops what has expired, shows what is due. Every operation begins with it.
    fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        while let Some(&(_, id)) = self.expiry.first().filter(|(at, _)| *at <= self.now) {
            self.remove(id);
        }
        while let Some(&(at, id)) = self.hidden.first().filter(|(at, _)| *at <= self.now) {
            self.hidden.remove(&(at, id));
            self.place(id, at);
        }
    }

    /// The message, if the receipt is its latest. That its lease is over does not matter, as long
    /// as nobody else has had it since.
    fn held(&mut self, id: u64, receipt: u64) -> Result<&mut Message, Unsettled> {
        let message = self.messages.get_mut(&id).ok_or(Unsettled::Gone)?;
        if message.receipt == receipt { Ok(message) } else { Err(Unsettled::Stale) }
    }

    fn hide(&mut self, id: u64, span: Duration) {
        self.displace(id);
        self.place(id, self.now.after(span));
    }

    /// Puts a message that is in neither index where its new `visible_at` says.
    fn place(&mut self, id: u64, visible_at: Moment) {
        let turn = (visible_at <= self.now).then_some(self.next_turn);
        match turn {
            Some(turn) => {
                self.next_turn += 1;
                self.visible.insert(turn, id);
            }
            None => {
                self.hidden.insert((visible_at, id));
            }
        }
        let message = self.message(id);
        message.visible_at = visible_at;
        message.turn = turn;
    }

    fn displace(&mut self, id: u64) {
        let Message { turn, visible_at, .. } = *self.message(id);
        match turn {
            Some(turn) => self.visible.remove(&turn).is_some(),
            None => self.hidden.remove(&(visible_at, id)),
        };
    }

    fn remove(&mut self, id: u64) {
        self.displace(id);
        if let Some(message) = self.messages.remove(&id) {
            self.expiry.remove(&(message.expires_at, id));
        }
    }

    fn message(&mut self, id: u64) -> &mut Message {
        self.messages.get_mut(&id).expect("indexes hold only ids of messages")
    }

    fn seen(&self, id: u64) -> Seen {
        let Message {
            ref text, inserted_at, expires_at, visible_at, dequeue_count, receipt, ..
        } = self.messages[&id];
        let text = Arc::clone(text);
        Seen { id, text, inserted_at, expires_at, visible_at, dequeue_count, receipt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START.after(Duration::from_secs(seconds))
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    struct Sample {
        queue: Queue,
        serial: Serial,
    }

    impl Sample {
        /// A queue with the messages `1` to `count`, all visible.
        fn of(count: u64) -> Self {
            let mut sample = Self { queue: Queue::new(), serial: Serial::default() };
            for number in 1..=count {
                sample.send(&number.to_string(), 0, None);
            }
            sample
        }

        fn send(&mut self, text: &str, delay: u64, ttl: Option<u64>) {
            self.queue.send(at(0), &mut self.serial, text.into(), secs(delay), ttl.map(secs));
        }

        fn take(&mut self, now: u64, max: usize, order: Order) -> Vec<Seen> {
            let taken = self.queue.receive(at(now), &mut self.serial, max, secs(10), order);
            self.check();
            taken
        }

        fn check(&self) {
            let Queue { messages, visible, hidden, expiry, .. } = &self.queue;
            assert_eq!(visible.len() + hidden.len(), messages.len());
            let expiring = messages.values().filter(|m| m.expires_at < Moment::NEVER).count();
            assert_eq!(expiry.len(), expiring, "no index holds what is gone");
        }
    }

    fn texts(seen: &[Seen]) -> Vec<&str> {
        seen.iter().map(|seen| &*seen.text).collect()
    }

    #[test]
    fn messages_come_in_the_order_in_which_they_became_visible() {
        let mut sample = Sample::of(0);
        for (text, delay) in [("a", 30), ("b", 10), ("c", 0)] {
            sample.send(text, delay, None);
        }
        assert_eq!(texts(&sample.take(15, 9, Order::OldestFirst)), ["c", "b"]);
        assert_eq!(texts(&sample.take(60, 9, Order::OldestFirst)), ["b", "c", "a"]);
    }

    #[test]
    fn the_newest_first_on_request() {
        let mut sample = Sample::of(3);
        assert_eq!(texts(&sample.take(0, 2, Order::NewestFirst)), ["3", "2"]);
    }

    #[test]
    fn every_message_has_a_receipt_of_its_own_and_an_old_one_is_stale() {
        let mut sample = Sample::of(2);
        let first = sample.take(0, 2, Order::OldestFirst);
        assert_ne!(first[0].receipt, first[1].receipt);
        let again = sample.take(10, 1, Order::OldestFirst);
        assert_eq!(again[0].dequeue_count, 2);
        let old = (first[0].id, first[0].receipt);
        assert_eq!(sample.queue.delete(at(11), old), Err(Unsettled::Stale));
        // The other is visible again, but nobody has it.
        let unclaimed = (first[1].id, first[1].receipt);
        assert_eq!(sample.queue.delete(at(11), unclaimed), Ok(()));
        assert_eq!(sample.queue.delete(at(11), unclaimed), Err(Unsettled::Gone));
        sample.check();
    }

    #[test]
    fn the_end_of_a_ttl_takes_a_hidden_message_too() {
        let mut sample = Sample::of(0);
        sample.send("a", 0, Some(5));
        let taken = sample.take(0, 1, Order::OldestFirst);
        let held = (taken[0].id, taken[0].receipt);
        let Sample { queue, serial } = &mut sample;
        let refused = queue.update(at(1), serial, held, None, secs(5));
        assert_eq!(refused, Err(Unsettled::PastExpiry));
        assert_eq!(queue.len(at(4)), 1);
        assert_eq!(queue.len(at(5)), 0);
        sample.check();
    }

    #[test]
    fn a_clear_leaves_nothing_and_old_receipts_find_nothing() {
        let mut sample = Sample::of(3);
        sample.send("expiring", 5, Some(9));
        let taken = sample.take(0, 1, Order::OldestFirst);
        sample.queue.clear(at(1));
        sample.check();
        let old = (taken[0].id, taken[0].receipt);
        assert_eq!(sample.queue.delete(at(1), old), Err(Unsettled::Gone));
        sample.send("new", 0, None);
        assert_eq!(texts(&sample.take(2, 9, Order::OldestFirst)), ["new"]);
    }
}
