use std::sync::Arc;

use super::*;
use crate::QueueName;

const LEASE: Duration = Duration::from_secs(60);

fn receipt(n: u64) -> Receipt {
    Receipt::new(QueueName::new("mail").unwrap(), n, n)
}

fn order(leases: &Leases) -> Vec<u64> {
    let book = leases.book();
    let mut keys = Vec::new();
    let mut next = book.first;
    while let Some(key) = next {
        keys.push(book.entries[key].receipt.message_id().as_number().unwrap());
        next = book.entries[key].after;
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn settled_leases_leave_nothing_behind() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let mut entered = enter(&leases, (0..5).map(receipt), now);
    for n in [2, 0, 2] {
        let held = entered.remove(n).take().await.unwrap();
        assert_eq!(held.deadline, now + LEASE);
    }
    assert_eq!(order(&leases), [1, 3]);
    for lease in entered {
        lease.take().await.unwrap();
    }
    let book = leases.book();
    assert!(book.entries.is_empty() && book.first.is_none() && book.last.is_none());
}

#[tokio::test(start_paused = true)]
async fn only_what_is_due_is_renewed_and_goes_to_the_end() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let _first = enter(&leases, [receipt(1), receipt(2)], now);
    let _second = enter(&leases, [receipt(3)], now + LEASE / 6);
    assert!(leases.book().due(now + LEASE / 4, Duration::ZERO, 9).is_empty());
    let due = leases.book().due(now + LEASE / 3, Duration::ZERO, 9);
    assert_eq!(due.len(), 2);
    for (key, receipt) in due {
        leases.book().renewed(key, receipt, now + LEASE / 3, LEASE);
    }
    assert_eq!(order(&leases), [3, 1, 2]);
    assert_eq!(leases.book().next_due(Duration::ZERO), Some(now + LEASE / 2));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_taken_only_after_the_renewal_in_flight() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let lease = leases.enter(receipt(1), now);
    let due = leases.book().due(now + LEASE / 3, Duration::ZERO, 9);
    let taking = tokio::spawn(lease.take());
    tokio::task::yield_now().await;
    assert!(!taking.is_finished());
    let new = Receipt::new(QueueName::new("mail").unwrap(), 1, 99);
    leases.book().renewed(due[0].0, new.clone(), now + LEASE / 3, LEASE);
    let held = taking.await.unwrap().unwrap();
    assert_eq!(held.receipt, new);
    assert_eq!(held.deadline, now + LEASE / 3 + LEASE);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_had_its_time_is_not_renewed_and_loses_its_lease_at_the_end() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let lease = leases.enter(receipt(1), now);
    lease.begin(now, now + LEASE / 4).unwrap();
    assert!(leases.book().due(now + LEASE / 3, Duration::ZERO, 9).is_empty());
    // Before somebody else can have it.
    let end = now + LEASE - leases.book().margin;
    assert_eq!(leases.book().next_due(Duration::from_secs(3)), Some(end));
    assert!(leases.book().due(end, Duration::ZERO, 9).is_empty());
    lease.lost().await;
    assert_eq!(lease.take().await.unwrap_err(), LeaseLost);
    assert_eq!(leases.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_in_the_buffer_is_not_begun() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let lease = leases.enter(receipt(1), now);
    tokio::time::advance(LEASE).await;
    assert_eq!(lease.begin(Instant::now(), now + 2 * LEASE), Err(LeaseLost));
}

#[tokio::test(start_paused = true)]
async fn between_two_tries_to_renew_it_a_lease_can_be_taken() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let mut entered = enter(&leases, [receipt(1), receipt(2), receipt(3)], now);
    let due = leases.book().due(now + LEASE / 3, Duration::ZERO, 9);
    for (key, _) in &due {
        leases.book().end(*key);
    }
    entered.remove(0).take().await.unwrap();
    entered.remove(0).take().await.unwrap();
    // Another lease comes in one of their places.
    let other = leases.enter(receipt(4), now);
    let again = leases.book().resume(due);
    assert_eq!(again.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [entered[0].index]);
    assert!(leases.book().ending.is_empty());
    assert_eq!(order(&leases), [4]);
    other.take().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_lease_runs_out_and_leaves_nothing_behind() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let mut entered = enter(&leases, [receipt(1), receipt(2)], now);
    entered.remove(1).take().await.unwrap();
    // Another has the place of the second.
    let other = leases.enter(receipt(3), now);
    drop(entered);
    assert_eq!(leases.book().due(now + LEASE / 3, Duration::ZERO, 9).len(), 1);
    assert!(leases.book().due(now + LEASE, Duration::ZERO, 9).is_empty());
    assert_eq!(leases.len(), 1);
    assert_eq!(leases.book().entries[other.index].state, State::Renewing);
}

#[tokio::test(start_paused = true)]
async fn an_older_lease_that_is_entered_late_comes_first() {
    let leases = Arc::new(Leases::new(LEASE));
    let now = Instant::now();
    let _young = enter(&leases, [receipt(1), receipt(2)], now);
    let _old = enter(&leases, [receipt(3)], now - LEASE / 6);
    let _middle = enter(&leases, [receipt(4)], now - LEASE / 9);
    assert_eq!(order(&leases), [3, 4, 1, 2]);
    let book = leases.book();
    assert_eq!(book.entries[book.last.unwrap()].receipt, receipt(2));
    assert_eq!(book.next_due(Duration::ZERO), Some(now - LEASE / 6 + LEASE / 3));
}

fn enter(
    leases: &Arc<Leases>,
    receipts: impl IntoIterator<Item = Receipt>,
    sent_at: Instant,
) -> Vec<Lease> {
    leases.enter_all(receipts.into_iter().map(|receipt| (receipt, ())), sent_at, |lease, ()| lease)
}
