//! The queue against a naive model of it: a `Vec` that every operation scans.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Lease, Queue, Stale};
use crate::clock::Moment;

#[derive(Clone, Debug)]
enum Op {
    Advance(Duration),
    Send { delay: Duration, ttl: Option<Duration> },
    Receive { max: usize, lease: Duration },
    Renew { receipt: usize, lease: Duration },
    Release { receipt: usize, delay: Duration },
    Replace { receipt: usize, delay: Duration },
    Delete { receipt: usize },
    Peek { max: usize },
    Purge,
}

/// What the model knows of one message.
struct Entry {
    id: u64,
    body: Bytes,
    inserted_at: Moment,
    visible_at: Moment,
    expires_at: Moment,
    count: u32,
    /// The number of the receipt that is valid, if any is.
    receipt: Option<usize>,
    /// Its turn among the visible, if it is visible.
    turn: Option<u64>,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    turns: u64,
    receipts: usize,
}

impl Model {
    fn advance(&mut self, now: Moment) {
        self.entries.retain(|entry| entry.expires_at > now);
        let due = |entry: &&mut Entry| entry.turn.is_none() && entry.visible_at <= now;
        let mut due: Vec<_> = self.entries.iter_mut().filter(due).collect();
        due.sort_by_key(|entry| (entry.visible_at, entry.id));
        for entry in due {
            entry.turn = Some(self.turns);
            self.turns += 1;
        }
    }

    fn send(&mut self, now: Moment, id: u64, body: Bytes, delay: Duration, ttl: Option<Duration>) {
        self.entries.push(Entry {
            id,
            body,
            inserted_at: now,
            visible_at: now.after(delay),
            expires_at: ttl.map_or(Moment::NEVER, |ttl| now.after(ttl)),
            count: 0,
            receipt: None,
            turn: None,
        });
        // Not `advance`: the queue drops a message with a TTL of zero at the next operation.
        self.show(now);
    }

    fn show(&mut self, now: Moment) {
        for entry in self.entries.iter_mut().filter(|entry| entry.turn.is_none()) {
            if entry.visible_at <= now {
                entry.turn = Some(self.turns);
                self.turns += 1;
            }
        }
    }

    fn visible(&mut self) -> Vec<&mut Entry> {
        let mut visible: Vec<_> =
            self.entries.iter_mut().filter(|entry| entry.turn.is_some()).collect();
        visible.sort_by_key(|entry| entry.turn);
        visible
    }

    fn receive(&mut self, now: Moment, max: usize, lease: Duration) -> Vec<(u64, u32, Bytes)> {
        let mut receipts = self.receipts;
        let mut taken = Vec::new();
        for entry in self.visible().into_iter().take(max) {
            entry.count += 1;
            entry.visible_at = now.after(lease);
            entry.turn = None;
            entry.receipt = Some(receipts);
            receipts += 1;
            taken.push((entry.id, entry.count, entry.body.clone()));
        }
        self.receipts = receipts;
        taken
    }

    fn hide(&mut self, now: Moment, receipt: usize, span: Duration) -> Option<&mut Entry> {
        let at = self.entries.iter().position(|entry| entry.receipt == Some(receipt))?;
        self.entries[at].visible_at = now.after(span);
        self.entries[at].turn = None;
        self.entries[at].receipt = Some(self.receipts);
        self.receipts += 1;
        self.show(now);
        Some(&mut self.entries[at])
    }

    fn delete(&mut self, receipt: usize) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.receipt != Some(receipt));
        self.entries.len() < before
    }
}

/// The queue and its model side by side. Both number their receipts in the order of their making.
struct Pair {
    queue: Queue,
    model: Model,
    leases: Vec<Lease>,
    now: Moment,
    sent: u32,
}

impl Pair {
    fn new() -> Self {
        let (queue, model) = (Queue::new(), Model::default());
        Self { queue, model, leases: Vec::new(), now: Moment::START, sent: 0 }
    }

    /// A receipt out of all there ever were, so most of them are stale; every other time out of
    /// the last few.
    fn lease(&self, pick: usize) -> Option<(usize, Lease)> {
        let most = self.leases.len();
        let among = if pick.is_multiple_of(2) { most } else { most.min(4) };
        let receipt = most.checked_sub(1 + (pick / 2).checked_rem(among)?)?;
        Some((receipt, self.leases[receipt]))
    }

    fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        let now = self.now;
        self.model.advance(now);
        match op {
            Op::Advance(span) => self.now = now.after(span),
            Op::Send { delay, ttl } => {
                self.sent += 1;
                let body = Bytes::from(self.sent.to_be_bytes().to_vec());
                let id = self.queue.send(now, body.clone(), delay, ttl);
                prop_assert!(self.model.entries.iter().all(|entry| entry.id < id));
                self.model.send(now, id, body, delay, ttl);
            }
            Op::Receive { max, lease } => {
                let taken = self.queue.receive(now, max, lease);
                let expected = self.model.receive(now, max, lease);
                let seen = taken.iter().map(|t| (t.lease.id, t.count, t.body.clone()));
                prop_assert_eq!(seen.collect::<Vec<_>>(), expected);
                self.leases.extend(taken.iter().map(|taken| taken.lease));
            }
            Op::Renew { receipt, lease } => {
                if let Some((receipt, held)) = self.lease(receipt) {
                    let renewed = self.queue.renew(now, held, lease);
                    let expected = self.model.hide(now, receipt, lease).is_some();
                    prop_assert_eq!(renewed.is_ok(), expected);
                    self.leases.extend(renewed);
                }
            }
            Op::Release { receipt, delay } => {
                if let Some((receipt, held)) = self.lease(receipt) {
                    let released = self.queue.release(now, held, delay);
                    let expected = self.model.hide(now, receipt, delay);
                    prop_assert_eq!(released.is_ok(), expected.is_some());
                    if let Some(entry) = expected {
                        // A release gives no receipt, so the number it took is nobody's.
                        entry.receipt = None;
                        self.model.receipts -= 1;
                    }
                }
            }
            Op::Replace { receipt, delay } => {
                if let Some((receipt, held)) = self.lease(receipt) {
                    self.sent += 1;
                    let body = Bytes::from(self.sent.to_be_bytes().to_vec());
                    let replaced = self.queue.replace(now, held, body.clone(), delay);
                    let expected = self.model.hide(now, receipt, delay);
                    prop_assert_eq!(replaced.is_ok(), expected.is_some());
                    if let (Ok((lease, old)), Some(entry)) = (replaced, expected) {
                        prop_assert_eq!(&entry.body, &old);
                        entry.body = body;
                        self.leases.push(lease);
                    }
                }
            }
            Op::Delete { receipt } => {
                if let Some((receipt, held)) = self.lease(receipt) {
                    let deleted = self.queue.delete(now, held);
                    prop_assert_eq!(deleted.is_ok(), self.model.delete(receipt));
                }
            }
            Op::Peek { max } => {
                let seen = self.queue.peek(now, max);
                let seen: Vec<_> = seen.iter().map(|s| (s.id, s.count, s.body.clone())).collect();
                let expected = self.model.visible().into_iter().take(max);
                let expected = expected.map(|entry| (entry.id, entry.count, entry.body.clone()));
                prop_assert_eq!(seen, expected.collect::<Vec<_>>());
            }
            Op::Purge => {
                let purged = self.queue.purge(now);
                prop_assert_eq!(purged.len(), self.model.entries.len());
                self.model.entries.clear();
            }
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        self.model.advance(self.now);
        let figures = self.queue.figures(self.now);
        prop_assert_eq!(figures.total, self.model.entries.len());
        prop_assert_eq!(figures.visible, self.model.visible().len());
        let oldest = self.model.entries.iter().min_by_key(|entry| entry.id);
        prop_assert_eq!(figures.oldest, oldest.map(|entry| entry.inserted_at));
        let hidden = self.model.entries.iter().filter(|entry| entry.turn.is_none());
        let next = hidden.map(|entry| entry.visible_at).min().unwrap_or(Moment::NEVER);
        prop_assert_eq!(self.queue.outlook().next_visible_at, next);
        self.queue.check();
        Ok(())
    }
}

/// Few distinct spans, so that moments coincide.
fn span() -> impl Strategy<Value = Duration> {
    (0_u64..12).prop_map(Duration::from_secs)
}

fn op() -> impl Strategy<Value = Op> {
    let pick = 0_usize..1000;
    prop_oneof![
        3 => span().prop_map(Op::Advance),
        5 => (span(), prop::option::weighted(0.3, span()))
            .prop_map(|(delay, ttl)| Op::Send { delay, ttl }),
        3 => Just(Op::Send { delay: Duration::ZERO, ttl: None }),
        5 => (0_usize..5, 1_u64..12)
            .prop_map(|(max, lease)| Op::Receive { max, lease: Duration::from_secs(lease) }),
        3 => (pick.clone(), span()).prop_map(|(receipt, lease)| Op::Renew { receipt, lease }),
        3 => (pick.clone(), span()).prop_map(|(receipt, delay)| Op::Release { receipt, delay }),
        3 => (pick.clone(), span()).prop_map(|(receipt, delay)| Op::Replace { receipt, delay }),
        3 => pick.prop_map(|receipt| Op::Delete { receipt }),
        1 => (0_usize..5).prop_map(|max| Op::Peek { max }),
        1 => prop::bool::weighted(0.2)
            .prop_map(|purge| if purge { Op::Purge } else { Op::Peek { max: 3 } }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_queue_does_as_its_model(ops in vec(op(), 1..200)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.apply(op)?;
        }
    }
}

#[test]
fn a_stale_receipt_stays_stale_when_its_slot_is_used_again() {
    let mut queue = Queue::new();
    let lease = Duration::from_secs(60);
    queue.send(Moment::START, Bytes::new(), Duration::ZERO, None);
    let first = queue.receive(Moment::START, 1, lease)[0].lease;
    queue.delete(Moment::START, first).unwrap();
    queue.send(Moment::START, Bytes::new(), Duration::ZERO, None);
    let second = queue.receive(Moment::START, 1, lease)[0].lease;
    assert_eq!(first.token(), second.token(), "the test means to reuse the slot");
    assert_eq!(queue.delete(Moment::START, first), Err(Stale));
    assert!(queue.delete(Moment::START, second).is_ok());
}
