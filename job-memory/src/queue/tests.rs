//! What single operations promise, and that a million messages leave nothing behind.

use std::time::Duration;

use bytes::Bytes;

use super::{Lease, Queue, Stale};
use crate::clock::Moment;

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Moment {
    Moment::START.after(Duration::from_secs(seconds))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A queue with messages 1 to `count`, all visible.
fn filled(count: u64) -> Queue {
    let mut queue = Queue::new();
    for number in 1..=count {
        let id = queue.send(at(0), Bytes::from(number.to_string()), Duration::ZERO, None);
        assert_eq!(id, number);
    }
    queue
}

fn take(queue: &mut Queue, now: u64, max: usize, lease: u64) -> Vec<Lease> {
    queue.receive(at(now), max, secs(lease)).into_iter().map(|taken| taken.lease).collect()
}

fn ids(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.id).collect()
}

impl Queue {
    /// Panics unless every index holds what it should and nothing else.
    pub(super) fn check(&self) {
        let total = self.messages.len();
        assert_eq!(self.ready.len() + self.hidden.len(), total, "every message has one place");
        assert_eq!(self.ready.iter(&self.messages).count(), self.ready.len());
        assert_eq!(self.by_age.len(), total);
        let ages: Vec<_> = self.by_age.iter(&self.messages).collect();
        assert_eq!(ages.len(), total);
        let ids = ages.iter().map(|&slot| self.messages[slot as usize].id);
        assert!(ids.is_sorted(), "the list by age is in the order of sending");
        let with_ttl = self.messages.iter().filter(|(_, m)| m.expires_at < Moment::NEVER).count();
        assert_eq!(self.expiry.len(), with_ttl, "only messages with a TTL are in its heap");
    }
}

#[test]
fn messages_come_in_the_order_in_which_they_became_visible() {
    let mut queue = Queue::new();
    for delay in [30, 10, 0, 20, 10] {
        queue.send(at(0), Bytes::new(), secs(delay), None);
    }
    assert_eq!(ids(&take(&mut queue, 15, 9, 5)), [3, 2, 5]);
    // Those three are back at 20 s, as is the fourth; the older go first among equals.
    assert_eq!(ids(&take(&mut queue, 60, 9, 5)), [2, 3, 4, 5, 1]);
}

#[test]
fn a_lease_hides_until_its_end_and_not_longer() {
    let mut queue = filled(1);
    assert_eq!(take(&mut queue, 0, 1, 60).len(), 1);
    let just_before = Moment::START.after(MINUTE - Duration::from_nanos(1));
    assert!(queue.receive(just_before, 1, MINUTE).is_empty());
    assert_eq!(queue.receive(at(60), 1, MINUTE)[0].count, 2);
}

#[test]
fn an_expired_receipt_works_until_somebody_else_has_the_message() {
    let mut queue = filled(2);
    let first = take(&mut queue, 0, 2, 10);
    assert!(queue.renew(at(30), first[0], MINUTE).is_ok(), "nobody had it in between");
    let second = take(&mut queue, 30, 2, 10);
    assert_eq!(ids(&second), [2]);
    assert_eq!(queue.delete(at(30), first[1]), Err(Stale));
    assert!(queue.delete(at(30), second[0]).is_ok());
}

#[test]
fn a_renewal_can_shorten() {
    let mut queue = filled(2);
    let leases = take(&mut queue, 0, 2, 60);
    queue.renew(at(1), leases[1], secs(4)).unwrap();
    assert_eq!(queue.outlook().next_visible_at, at(5));
    assert_eq!(ids(&take(&mut queue, 5, 2, 60)), [2]);
}

#[test]
fn every_settlement_rotates_the_receipt() {
    let mut queue = filled(1);
    let first = take(&mut queue, 0, 1, 60)[0];
    let second = queue.renew(at(1), first, MINUTE).unwrap();
    let (third, old) = queue.replace(at(1), second, Bytes::from("new"), MINUTE).unwrap();
    assert_eq!(old, "1");
    for stale in [first, second] {
        assert_eq!(queue.renew(at(2), stale, secs(1)), Err(Stale));
        assert_eq!(queue.release(at(2), stale, secs(1)), Err(Stale));
        assert_eq!(queue.replace(at(2), stale, Bytes::new(), secs(1)), Err(Stale));
        assert_eq!(queue.delete(at(2), stale), Err(Stale));
    }
    assert_eq!(queue.outlook().next_visible_at, at(61), "a stale receipt changes nothing");
    queue.release(at(3), third, Duration::ZERO).unwrap();
    assert_eq!(queue.delete(at(3), third), Err(Stale));
    assert_eq!(queue.peek(at(3), 1)[0].body, "new");
}

#[test]
fn the_end_of_a_ttl_takes_a_leased_message_too() {
    let mut queue = Queue::new();
    queue.send(at(0), Bytes::new(), Duration::ZERO, Some(secs(10)));
    queue.send(at(0), Bytes::new(), Duration::ZERO, Some(secs(50)));
    let leases = take(&mut queue, 0, 2, 60);
    assert_eq!(queue.delete(at(10), leases[0]), Err(Stale));
    assert!(queue.renew(at(10), leases[1], MINUTE).is_ok());
    assert_eq!(queue.figures(at(49)).total, 1);
    assert_eq!(queue.figures(at(50)).total, 0);
    queue.check();
}

#[test]
fn a_purge_takes_all_and_makes_receipts_stale() {
    let mut queue = filled(3);
    queue.send(at(0), Bytes::new(), MINUTE, Some(MINUTE));
    let lease = take(&mut queue, 0, 1, 60)[0];
    assert_eq!(queue.purge(at(1)).len(), 4);
    queue.check();
    assert_eq!(queue.send(at(1), Bytes::new(), Duration::ZERO, None), 5, "ids go on");
    let again = take(&mut queue, 1, 1, 60)[0];
    assert_eq!(queue.delete(at(1), lease), Err(Stale));
    assert!(queue.delete(at(1), again).is_ok());
}

#[test]
fn time_never_goes_back() {
    let mut queue = filled(1);
    queue.advance(at(100));
    take(&mut queue, 50, 1, 60);
    assert_eq!(queue.outlook().next_visible_at, at(160));
}

#[test]
fn figures_tell_the_oldest_whatever_its_state() {
    let mut queue = Queue::new();
    assert_eq!(queue.figures(at(0)).oldest, None);
    queue.send(at(1), Bytes::new(), MINUTE, None);
    queue.send(at(2), Bytes::new(), Duration::ZERO, None);
    let figures = queue.figures(at(3));
    assert_eq!((figures.total, figures.visible, figures.oldest), (2, 1, Some(at(1))));
}

#[test]
fn a_message_is_small() {
    assert!(size_of::<super::Message>() <= 112, "{}", size_of::<super::Message>());
}

/// A deterministic stream of numbers, for storms that look random.
fn shuffle(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

#[test]
fn a_million_messages_leave_no_dead_entries() {
    const MILLION: u64 = 1_000_000;
    let mut queue = filled(MILLION);
    let mut random = 1;
    let (mut settled, mut now) = (0, 0);
    let mut held: Vec<Lease> = Vec::new();
    while settled < MILLION {
        now += 1;
        held.extend(take(&mut queue, now, 32, 100_000_000));
        // Renewals by different spans, so that leases go through both the list and the heap.
        for _ in 0..8 {
            let pick = shuffle(&mut random, held.len());
            let span = secs(200_000_000 + shuffle(&mut random, 1000) as u64);
            held[pick] = queue.renew(at(now), held[pick], span).unwrap();
        }
        if held.len() >= 1000 || queue.ready.len() == 0 {
            for _ in 0..held.len().min(500) {
                let pick = shuffle(&mut random, held.len());
                queue.delete(at(now), held.swap_remove(pick)).unwrap();
                settled += 1;
            }
        }
        assert_eq!(queue.hidden.len(), held.len(), "only living leases are indexed");
        assert_eq!(queue.expiry.len(), 0);
    }
    queue.check();
    assert_eq!(queue.figures(at(now)).total, 0);
    assert!(queue.messages.capacity() <= super::KEPT_ROOM, "a drained backlog frees its memory");
}

#[test]
fn a_million_delayed_messages_with_ttl_leave_nothing_either() {
    const MILLION: usize = 1_000_000;
    let mut queue = Queue::new();
    let mut random = 2;
    for _ in 0..MILLION {
        let delay = secs(1 + shuffle(&mut random, 1000) as u64);
        let ttl = secs(2000 + shuffle(&mut random, 1000) as u64);
        queue.send(at(0), Bytes::new(), delay, Some(ttl));
    }
    assert_eq!((queue.hidden.len(), queue.expiry.len()), (MILLION, MILLION));
    assert_eq!(queue.figures(at(1000)).visible, MILLION);
    assert_eq!(queue.hidden.len(), 0);
    for lease in take(&mut queue, 1000, MILLION / 2, 5000) {
        queue.delete(at(1000), lease).unwrap();
    }
    assert_eq!(queue.expiry.len(), MILLION / 2);
    assert_eq!(queue.figures(at(3000)).total, 0);
    assert_eq!((queue.hidden.len(), queue.expiry.len()), (0, 0));
}
