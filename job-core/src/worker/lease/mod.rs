//! Leases: who holds the receipts, and who keeps them alive.
//!
//! [`Leases`] is the book of one queue: every receipt that the worker holds is in it, from the
//! receive until it is taken to settle the message. Nothing else ever holds one, so a renewal and
//! a settle can never race: [`Lease::take`] waits for a renewal in flight. The [`keeper`] renews
//! what has been held for a third of its lease.
//!
//! A [`Lease`] is owned by whoever is to settle the message. Dropping it, as a panic does, lets
//! the lease run out.
//!
//! Deadlines are measured on the monotonic clock, from the moment a request was *sent*.

mod keeper;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

pub(crate) use self::keeper::keep;
use crate::backend::{MessageId, Receipt};

/// A lease in the book, and the right to take its receipt out.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Arc<Leases>,
    index: usize,
    taken: bool,
}

/// The lease is lost: somebody else may have the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseLost;

/// A receipt to settle with, and the moment from which it may be worthless.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) receipt: Receipt,
    pub(crate) deadline: Instant,
}

/// The leases of one queue.
#[derive(Debug)]
pub(crate) struct Leases {
    lease: Duration,
    book: Mutex<Book>,
}

/// Invariant: an entry is linked in the list exactly while it is [`State::Held`] and may still be
/// renewed; it is in `ending` exactly while it is [`State::Ending`].
#[derive(Debug)]
struct Book {
    entries: Slab<Entry>,
    /// Those to renew, by the time they are due. All leases of a queue are equally long, so that
    /// is nearly the order in which they were begun: a plain list, with no dead entries in it.
    first: Option<usize>,
    last: Option<usize>,
    /// Those that are not renewed any more, by the moment they end here. Few, if any.
    ending: BTreeSet<(Instant, usize)>,
    /// How long before the end of its lease a handler is cancelled.
    margin: Duration,
}

#[derive(Debug)]
struct Entry {
    receipt: Receipt,
    state: State,
    deadline: Instant,
    renew_at: Instant,
    /// From here on it is not renewed, whatever its handler does.
    give_up_at: Option<Instant>,
    /// Nobody will ask for it any more.
    abandoned: bool,
    /// Who waits for the loss, or for a renewal in flight to end.
    waker: Option<Waker>,
    before: Option<usize>,
    after: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Held,
    /// A renewal is in flight; what comes of it decides which receipt is valid.
    Renewing,
    /// Not renewed any more: the handler had its time, or the outcome of a renewal is unknown.
    Ending,
    Lost,
}

impl Leases {
    pub(crate) fn new(lease: Duration) -> Self {
        let book = Book {
            entries: Slab::new(),
            first: None,
            last: None,
            ending: BTreeSet::new(),
            margin: (lease / 10).min(Duration::from_secs(2)),
        };
        Self { lease, book: Mutex::new(book) }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Enters a lease that was begun by a request sent at `sent_at`.
    pub(crate) fn enter(self: &Arc<Self>, receipt: Receipt, sent_at: Instant) -> Lease {
        self.lease_of(&mut self.book(), receipt, sent_at)
    }

    /// Enters several, with whatever belongs to each, all at once.
    pub(crate) fn enter_all<T, U>(
        self: &Arc<Self>,
        receipts: impl IntoIterator<Item = (Receipt, T)>,
        sent_at: Instant,
        mut with: impl FnMut(Lease, T) -> U,
    ) -> Vec<U> {
        let mut book = self.book();
        let enter = |(receipt, it)| with(self.lease_of(&mut book, receipt, sent_at), it);
        receipts.into_iter().map(enter).collect()
    }

    fn lease_of(self: &Arc<Self>, book: &mut Book, receipt: Receipt, sent_at: Instant) -> Lease {
        let index = book.enter(receipt, sent_at, self.lease);
        Lease { leases: Arc::clone(self), index, taken: false }
    }

    /// Takes the receipts of those leases of this book that no renewal is in flight for, all at
    /// once; gives the other leases back.
    pub(crate) fn take_free(
        &self,
        leases: impl ExactSizeIterator<Item = Lease>,
    ) -> (Vec<Held>, Vec<Lease>) {
        let (mut held, mut busy) = (Vec::with_capacity(leases.len()), Vec::new());
        let mut book = self.book();
        for mut lease in leases {
            match book.entries[lease.index].state {
                State::Held | State::Ending => {
                    lease.taken = true;
                    held.push(book.remove(lease.index));
                }
                State::Renewing | State::Lost => busy.push(lease),
            }
        }
        (held, busy)
    }

    /// How many leases are held.
    pub(crate) fn len(&self) -> usize {
        self.book().entries.len()
    }

    /// How much earlier than due to renew, as a share of the time until then.
    fn ahead(&self, share: f64) -> Duration {
        (self.lease / 3).mul_f64(share)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no code panics while it holds this lock")
    }
}

impl Lease {
    /// A handler is about to run, from `now` until `give_up_at` at the latest.
    pub(crate) fn begin(&self, now: Instant, give_up_at: Instant) -> Result<(), LeaseLost> {
        let mut book = self.leases.book();
        let entry = &mut book.entries[self.index];
        if entry.state == State::Lost || entry.deadline <= now {
            return Err(LeaseLost);
        }
        entry.give_up_at = Some(give_up_at);
        Ok(())
    }

    /// A receipt that nobody may have.
    #[cfg(feature = "sabotage")]
    pub(crate) fn stolen_receipt(&self) -> Receipt {
        self.leases.book().entries[self.index].receipt.clone()
    }

    /// Of which message it is.
    pub(crate) fn message_id(&self) -> MessageId {
        self.leases.book().entries[self.index].receipt.message_id().clone()
    }

    /// Ends when the lease is lost.
    pub(crate) async fn lost(&self) {
        poll_fn(|cx| {
            let mut book = self.leases.book();
            let entry = &mut book.entries[self.index];
            if entry.state == State::Lost {
                return Poll::Ready(());
            }
            entry.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes the receipt out of the book, to settle with it, once no renewal is in flight.
    pub(crate) async fn take(mut self) -> Result<Held, LeaseLost> {
        let held = poll_fn(|cx| {
            let mut book = self.leases.book();
            let entry = &mut book.entries[self.index];
            match entry.state {
                State::Renewing => {
                    entry.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                State::Lost => {
                    book.entries.remove(self.index);
                    Poll::Ready(Err(LeaseLost))
                }
                State::Held | State::Ending => Poll::Ready(Ok(book.remove(self.index))),
            }
        })
        .await;
        self.taken = true;
        held
    }
}

/// Nobody will ask for it any more: it is not renewed, and runs out.
impl Drop for Lease {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut book = self.leases.book();
        let entry = &mut book.entries[self.index];
        entry.give_up_at = Some(Instant::now());
        entry.abandoned = true;
        if entry.state == State::Lost {
            book.entries.remove(self.index);
        }
    }
}

impl Book {
    fn enter(&mut self, receipt: Receipt, sent_at: Instant, lease: Duration) -> usize {
        let key = self.entries.insert(Entry {
            receipt,
            state: State::Held,
            deadline: sent_at + lease,
            renew_at: sent_at + lease / 3,
            give_up_at: None,
            abandoned: false,
            waker: None,
            before: None,
            after: None,
        });
        self.link(key);
        key
    }

    /// Puts it in its place in the list: nearly always the end.
    fn link(&mut self, key: usize) {
        let renew_at = self.entries[key].renew_at;
        let mut before = self.last;
        while let Some(later) = before.filter(|at| self.entries[*at].renew_at > renew_at) {
            before = self.entries[later].before;
        }
        let after = match before {
            Some(before) => self.entries[before].after.replace(key),
            None => self.first.replace(key),
        };
        match after {
            Some(after) => self.entries[after].before = Some(key),
            None => self.last = Some(key),
        }
        let entry = &mut self.entries[key];
        entry.before = before;
        entry.after = after;
    }

    fn unlink(&mut self, key: usize) {
        let Entry { before, after, .. } = self.entries[key];
        match before {
            Some(before) => self.entries[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.entries[after].before = before,
            None => self.last = before,
        }
    }

    /// Removes an entry that is held or ending.
    fn remove(&mut self, key: usize) -> Held {
        let entry = &self.entries[key];
        match entry.state {
            State::Held => self.unlink(key),
            State::Ending => {
                self.ending.remove(&(entry.deadline - self.margin, key));
            }
            State::Renewing | State::Lost => {}
        }
        let entry = self.entries.remove(key);
        Held { receipt: entry.receipt, deadline: entry.deadline }
    }

    /// Takes what is due for renewal until `ahead` from now off the list, at most `max`, and loses
    /// what is about to end. Handlers that had their time are not renewed any more.
    fn due(&mut self, now: Instant, ahead: Duration, max: usize) -> Vec<(usize, Receipt)> {
        while let Some((at, key)) = self.ending.first().copied().filter(|(at, _)| *at <= now) {
            self.ending.remove(&(at, key));
            self.lose(key);
        }
        let mut due = Vec::new();
        while let Some(key) = self.first.filter(|key| self.entries[*key].renew_at <= now + ahead) {
            if due.len() == max {
                break;
            }
            self.unlink(key);
            if self.entries[key].give_up_at.is_some_and(|at| at <= now) {
                self.end(key);
            } else {
                let entry = &mut self.entries[key];
                entry.state = State::Renewing;
                due.push((key, entry.receipt.clone()));
            }
        }
        due
    }

    /// When [`due`](Self::due) has something to do next.
    fn next_due(&self, ahead: Duration) -> Option<Instant> {
        let renew = self.first.map(|key| self.entries[key].renew_at - ahead);
        let end = self.ending.first().map(|(at, _)| *at);
        renew.into_iter().chain(end).min()
    }

    /// A renewal sent at `sent_at` succeeded.
    fn renewed(&mut self, key: usize, receipt: Receipt, sent_at: Instant, lease: Duration) {
        let entry = &mut self.entries[key];
        entry.receipt = receipt;
        entry.state = State::Held;
        entry.deadline = sent_at + lease;
        entry.renew_at = sent_at + lease / 3;
        let waker = entry.waker.take();
        self.link(key);
        wake(waker);
    }

    /// Off the list for good: it lasts until shortly before its deadline.
    fn end(&mut self, key: usize) {
        let entry = &mut self.entries[key];
        entry.state = State::Ending;
        let waker = entry.waker.take();
        self.ending.insert((entry.deadline - self.margin, key));
        wake(waker);
    }

    /// Those that are to be renewed after all: nobody has taken them, and their time is not over.
    fn resume(&mut self, ended: Vec<(usize, Receipt)>) -> Vec<(usize, Receipt)> {
        let now = Instant::now();
        let mut resumed = ended;
        resumed.retain(|(key, receipt)| {
            // The place in the book may be another lease's by now.
            let Some(entry) = self.entries.get_mut(*key).filter(|it| it.receipt == *receipt) else {
                return false;
            };
            if entry.state != State::Ending || entry.give_up_at.is_some_and(|at| at <= now) {
                return false;
            }
            entry.state = State::Renewing;
            self.ending.remove(&(entry.deadline - self.margin, *key));
            true
        });
        resumed
    }

    fn lose(&mut self, key: usize) {
        let entry = &mut self.entries[key];
        entry.state = State::Lost;
        wake(entry.waker.take());
        if entry.abandoned {
            self.entries.remove(key);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
