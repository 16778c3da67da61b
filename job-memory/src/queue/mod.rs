//! One queue as a pure state machine: every operation takes the time, none does any I/O.
//!
//! It knows messages, leases, delays and TTLs. It knows nothing of clocks, locks, waiting,
//! capabilities or the names of queues; those are the business of the code around it.
//!
//! Invariant: a message is in exactly one of `ready` and `hidden`, in `by_age`, and in `expiry` if
//! it has a TTL. What is gone is in none of them: no index holds dead entries, so a settled lease
//! costs nothing afterwards.

mod heap;
mod hidden;
mod list;
mod message;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use self::heap::{Due, Heap};
use self::hidden::Hidden;
use self::list::{ByAge, ByPlace, Links, List};
use self::message::{Message, Messages, Place};
use crate::clock::Moment;

/// How many empty slots an empty queue keeps for what comes next.
const KEPT_ROOM: usize = 1 << 16;

/// The messages of one queue.
pub(crate) struct Queue {
    messages: Messages,
    /// Visible messages, in the order in which they became so.
    ready: List<ByPlace>,
    /// Messages under a delay or a lease.
    hidden: Hidden,
    /// Every message, oldest first.
    by_age: List<ByAge>,
    /// Messages that have a TTL, by its end.
    expiry: Heap,
    next_id: u64,
    /// The latest time it was told; operations that race for the lock may arrive out of order.
    now: Moment,
}

/// The right to settle one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: u64,
    slot: u32,
    generation: u32,
}

/// A lease that is no longer valid, or whose message is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

/// A message as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) count: u32,
    pub(crate) inserted_at: Moment,
    pub(crate) body: Bytes,
}

/// A message under a new lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lease: Lease,
    pub(crate) count: u32,
    pub(crate) inserted_at: Moment,
    pub(crate) body: Bytes,
}

/// How many messages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) total: usize,
    pub(crate) visible: usize,
    pub(crate) oldest: Option<Moment>,
}

/// What a waiter goes by: whether there is something to take, and when there will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) visible: usize,
    /// When the earliest hidden message becomes visible, or [`Moment::NEVER`].
    pub(crate) next_visible_at: Moment,
}

/// What a purge took out. Its bodies are freed when it is dropped, which the caller does outside
/// of its lock.
pub(crate) struct Purged(Messages);

impl Lease {
    /// The lease in the 64 bits of a token; the message's id is kept beside it.
    pub(crate) fn token(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// The reverse of [`token`](Self::token).
    pub(crate) fn from_parts(id: u64, token: u64) -> Self {
        Self { id, slot: (token >> 32) as u32, generation: token as u32 }
    }
}

impl Purged {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            messages: Messages::new(),
            ready: List::new(),
            hidden: Hidden::new(),
            by_age: List::new(),
            expiry: Heap::default(),
            next_id: 1,
            now: Moment::START,
        }
    }

    /// Lets time pass: drops what is at the end of its TTL, shows what is due. Every operation
    /// begins with it.
    pub(crate) fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        while let Some(due) = self.expiry.first().filter(|due| due.at <= self.now) {
            self.remove(due.slot);
        }
        while let Some(due) = self.hidden.first(&self.messages).filter(|due| due.at <= self.now) {
            self.displace(due.slot);
            self.show(due.slot);
        }
    }

    /// Takes in a message and gives its id.
    pub(crate) fn send(
        &mut self,
        now: Moment,
        body: Bytes,
        delay: Duration,
        ttl: Option<Duration>,
    ) -> u64 {
        self.advance(now);
        let id = self.next_id;
        self.next_id += 1;
        let expires_at = ttl.map_or(Moment::NEVER, |ttl| self.now.after(ttl));
        let key = self.messages.insert(Message {
            body,
            id,
            inserted_at: self.now,
            visible_at: self.now.after(delay),
            expires_at,
            count: 0,
            generation: 0,
            place: Place::Ready,
            links: Links::NONE,
            age: Links::NONE,
            expiry: 0,
        });
        let slot = u32::try_from(key).expect("four thousand million messages do not fit");
        self.by_age.push_back(&mut self.messages, slot);
        if expires_at < Moment::NEVER {
            self.expiry.insert(Due { at: expires_at, id, slot }, expiry_moved(&mut self.messages));
        }
        self.place(slot);
        id
    }

    /// Leases up to `max` visible messages, those longest visible first.
    pub(crate) fn receive(&mut self, now: Moment, max: usize, lease: Duration) -> Vec<Taken> {
        self.advance(now);
        let count = max.min(self.ready.len());
        let mut taken = Vec::with_capacity(count);
        let visible_at = self.now.after(lease);
        for _ in 0..count {
            let Some(slot) = self.ready.first() else { break };
            self.ready.remove(&mut self.messages, slot);
            let message = &mut self.messages[slot as usize];
            message.count = message.count.saturating_add(1);
            message.visible_at = visible_at;
            let (count, inserted_at, body) =
                (message.count, message.inserted_at, message.body.clone());
            taken.push(Taken { lease: self.rotate(slot), count, inserted_at, body });
            self.hidden.insert(&mut self.messages, slot);
        }
        taken
    }

    /// Makes the message that became visible last the next one to be received.
    pub(crate) fn last_first(&mut self, now: Moment) {
        self.advance(now);
        for _ in 1..self.ready.len() {
            let Some(slot) = self.ready.first() else { break };
            self.ready.remove(&mut self.messages, slot);
            self.ready.push_back(&mut self.messages, slot);
        }
    }

    /// Hides the message for `lease` from now.
    pub(crate) fn renew(
        &mut self,
        now: Moment,
        lease: Lease,
        span: Duration,
    ) -> Result<Lease, Stale> {
        self.advance(now);
        let slot = self.find(lease)?;
        self.hide(slot, span);
        Ok(self.rotate(slot))
    }

    /// Gives the message back, to be visible after `delay`.
    pub(crate) fn release(
        &mut self,
        now: Moment,
        lease: Lease,
        delay: Duration,
    ) -> Result<(), Stale> {
        self.renew(now, lease, delay).map(drop)
    }

    /// Rewrites the body and hides the message for `delay` from now. Gives the old body too, to be
    /// freed outside of the lock.
    pub(crate) fn replace(
        &mut self,
        now: Moment,
        lease: Lease,
        body: Bytes,
        delay: Duration,
    ) -> Result<(Lease, Bytes), Stale> {
        let lease = self.renew(now, lease, delay)?;
        let message = &mut self.messages[lease.slot as usize];
        Ok((lease, std::mem::replace(&mut message.body, body)))
    }

    /// Removes the message and gives its body, to be freed outside of the lock.
    pub(crate) fn delete(&mut self, now: Moment, lease: Lease) -> Result<Bytes, Stale> {
        self.advance(now);
        let slot = self.find(lease)?;
        Ok(self.remove(slot))
    }

    /// The first `max` visible messages.
    pub(crate) fn peek(&mut self, now: Moment, max: usize) -> Vec<Seen> {
        self.advance(now);
        let slots = self.ready.iter(&self.messages).take(max);
        slots.map(|slot| Seen::of(&self.messages[slot as usize])).collect()
    }

    /// How many messages there are.
    pub(crate) fn figures(&mut self, now: Moment) -> Figures {
        self.advance(now);
        Figures {
            total: self.messages.len(),
            visible: self.ready.len(),
            oldest: self.by_age.first().map(|slot| self.messages[slot as usize].inserted_at),
        }
    }

    /// What there is to wait for, as of the last operation.
    pub(crate) fn outlook(&self) -> Outlook {
        let next = self.hidden.first(&self.messages);
        Outlook {
            visible: self.ready.len(),
            next_visible_at: next.map_or(Moment::NEVER, |due| due.at),
        }
    }

    /// Removes everything. Ids go on where they were, so that every receipt is stale.
    pub(crate) fn purge(&mut self, now: Moment) -> Purged {
        self.advance(now);
        let next_id = self.next_id;
        let old = std::mem::replace(self, Self { next_id, now: self.now, ..Self::new() });
        Purged(old.messages)
    }

    fn find(&self, lease: Lease) -> Result<u32, Stale> {
        let message = self.messages.get(lease.slot as usize).ok_or(Stale)?;
        let valid = message.id == lease.id && message.generation == lease.generation;
        if valid { Ok(lease.slot) } else { Err(Stale) }
    }

    /// Makes every earlier receipt of the message stale.
    fn rotate(&mut self, slot: u32) -> Lease {
        let message = &mut self.messages[slot as usize];
        message.generation = message.generation.wrapping_add(1);
        Lease { id: message.id, slot, generation: message.generation }
    }

    fn hide(&mut self, slot: u32, span: Duration) {
        self.displace(slot);
        self.messages[slot as usize].visible_at = self.now.after(span);
        self.place(slot);
    }

    /// Puts a message that is in neither where its `visible_at` says.
    fn place(&mut self, slot: u32) {
        if self.messages[slot as usize].visible_at <= self.now {
            self.show(slot);
        } else {
            self.hidden.insert(&mut self.messages, slot);
        }
    }

    fn show(&mut self, slot: u32) {
        self.messages[slot as usize].place = Place::Ready;
        self.ready.push_back(&mut self.messages, slot);
    }

    fn displace(&mut self, slot: u32) {
        match self.messages[slot as usize].place {
            Place::Ready => self.ready.remove(&mut self.messages, slot),
            Place::Run => self.hidden.remove_from_run(&mut self.messages, slot),
            Place::Heap(position) => self.hidden.remove_from_heap(&mut self.messages, position),
        }
    }

    fn remove(&mut self, slot: u32) -> Bytes {
        self.displace(slot);
        self.by_age.remove(&mut self.messages, slot);
        let Message { expires_at, expiry, .. } = self.messages[slot as usize];
        if expires_at < Moment::NEVER {
            self.expiry.remove(expiry, expiry_moved(&mut self.messages));
        }
        let body = self.messages.remove(slot as usize).body;
        if self.messages.is_empty() && self.messages.capacity() > KEPT_ROOM {
            // A backlog that was worked off must not hold its memory for ever.
            *self = Self { next_id: self.next_id, now: self.now, ..Self::new() };
        }
        body
    }
}

impl Seen {
    fn of(message: &Message) -> Self {
        let Message { id, count, inserted_at, ref body, .. } = *message;
        Self { id, count, inserted_at, body: body.clone() }
    }
}

fn expiry_moved(messages: &mut Messages) -> impl FnMut(u32, u32) {
    |slot, position| messages[slot as usize].expiry = position
}
