//! The task that renews leases.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Leases;
use crate::backend::{Backend, ErrorKind, Receipt};
use crate::pipeline::catch_panic::catch;
use crate::sabotage::{Sabotage, sabotaged};
use crate::telemetry::events;

/// How much of the time until a renewal is left to chance, so that workers that started together
/// do not renew together.
const JITTER: f64 = 0.2;

/// Renews the leases of a worker's queues when a third of them is over, until a handler has had
/// its time or the receipt is taken.
#[derive(Debug)]
struct LeaseKeeper {
    backend: Arc<dyn Backend>,
    queues: Vec<Arc<Leases>>,
    rng: fastrand::Rng,
}

impl LeaseKeeper {
    fn new(backend: Arc<dyn Backend>, queues: Vec<Arc<Leases>>) -> Self {
        Self { backend, queues, rng: fastrand::Rng::new() }
    }

    /// Keeps leases until it is dropped.
    async fn run(mut self) {
        if sabotaged(Sabotage::NoRenewal) {
            std::future::pending::<()>().await;
        }
        let max = self.backend.capabilities().max_renew.max(1);
        let mut renewals = JoinSet::new();
        let mut early = self.rng.f64() * JITTER;
        loop {
            let now = Instant::now();
            let next = self.queues.iter().map(|leases| {
                let ahead = leases.ahead(early);
                // What is entered from now on is due after a third of a lease at the earliest, so
                // nobody needs to wake the keeper for it.
                let idle = now + leases.lease / 3 - ahead;
                leases.book().next_due(ahead).map_or(idle, |at| at.min(idle))
            });
            let next = next.min().unwrap_or_else(|| now + Duration::from_secs(3600));
            tokio::select! {
                () = sleep_until(next) => {}
                // What it could not renew ends soon.
                Some(renewed) = renewals.join_next() => {
                    if let Err(error) = renewed {
                        events::renewal_panicked(&error);
                    }
                }
            }

            let now = Instant::now();
            for leases in &self.queues {
                loop {
                    let due = leases.book().due(now, leases.ahead(early), max);
                    if due.is_empty() {
                        break;
                    }
                    early = self.rng.f64() * JITTER;
                    let due = InFlight { leases: Arc::clone(leases), entries: due };
                    renewals.spawn(renew(Arc::clone(&self.backend), due));
                }
            }
        }
    }
}

/// Keeps leases, whatever panics: without a keeper every job longer than a lease would run twice.
pub(crate) async fn keep(backend: Arc<dyn Backend>, leases: Vec<Arc<Leases>>) {
    loop {
        let keeper = LeaseKeeper::new(Arc::clone(&backend), leases.clone());
        let Err(panicked) = catch(pin!(keeper.run())).await else { return };
        events::keeper_panicked(&panicked);
        sleep(Duration::from_secs(1)).await;
    }
}

/// Leases in [`State::Renewing`](super::State::Renewing). Those that are still in it when it is
/// dropped, for whatever reason, are not renewed any more: they last until their deadline.
struct InFlight {
    leases: Arc<Leases>,
    entries: Vec<(usize, Receipt)>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        for (key, _) in self.entries.drain(..) {
            self.leases.book().end(key);
        }
    }
}

/// Renews one group of leases, as often as it takes until their deadline draws near. Then their
/// handlers are cancelled, before somebody else can have the message.
async fn renew(backend: Arc<dyn Backend>, mut due: InFlight) {
    let leases = Arc::clone(&due.leases);
    let deadline = {
        let book = leases.book();
        let earliest = due.entries.iter().map(|(key, _)| book.entries[*key].deadline).min();
        earliest.unwrap_or_else(Instant::now) - book.margin
    };
    // Once a request's outcome is unknown, a stale receipt may only mean that it worked.
    let mut uncertain = false;
    let mut pause = Duration::from_millis(100);
    while !due.entries.is_empty() {
        let sent_at = Instant::now();
        let receipts: Vec<_> = due.entries.iter().map(|(_, receipt)| receipt.clone()).collect();
        let answer = timeout_at(deadline, backend.renew(&receipts, leases.lease)).await;
        let Ok(results) = answer else { return };

        let mut wait = Duration::ZERO;
        let mut again = Vec::new();
        let missing = due.entries.split_off(results.len().min(due.entries.len()));
        for ((key, receipt), result) in
            std::mem::replace(&mut due.entries, missing).into_iter().zip(results)
        {
            match result {
                Ok(renewed) => leases.book().renewed(key, renewed, sent_at, leases.lease),
                Err(error)
                    if error.kind() == ErrorKind::LeaseLost
                        && !(uncertain || error.outcome_unknown()) =>
                {
                    events::lease_not_renewed(receipt.message_id());
                    leases.book().lose(key);
                }
                Err(error) if error.kind() == ErrorKind::LeaseLost => leases.book().end(key),
                Err(error) => {
                    // Until the next try, whoever wants to settle can.
                    leases.book().end(key);
                    events::renewal_failed(receipt.queue(), &error);
                    uncertain |= error.outcome_unknown();
                    wait = wait.max(error.retry_after().unwrap_or(pause));
                    again.push((key, receipt));
                }
            }
        }
        if !due.entries.is_empty() {
            events::renewal_incomplete();
            return;
        }
        // Whatever the service asks for, there is to be another try before it is too late.
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = wait.min(left / 2).max(pause);
        if again.is_empty() || wait >= left {
            return;
        }
        sleep(wait).await;
        pause = (pause * 2).min(leases.lease / 10);
        due.entries = leases.book().resume(again);
    }
}
