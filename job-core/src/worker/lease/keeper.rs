//! The task that renews leases.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, warn};

use super::Leases;
use crate::backend::{Backend, ErrorKind, Receipt};

/// Renews the leases of a worker's queues when a third of them is over, until a handler has had
/// its time or the receipt is taken.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    backend: Arc<dyn Backend>,
    queues: Vec<Arc<Leases>>,
    rng: fastrand::Rng,
}

impl LeaseKeeper {
    /// A keeper that talks over `backend`'s own connections for it, where it has such.
    pub(crate) fn new(backend: &Arc<dyn Backend>, queues: Vec<Arc<Leases>>) -> Self {
        let backend = backend.independent().unwrap_or_else(|| Arc::clone(backend));
        Self { backend, queues, rng: fastrand::Rng::new() }
    }

    /// Keeps leases until it is dropped.
    pub(crate) async fn run(mut self) {
        let max = self.backend.capabilities().max_renew.max(1);
        let mut renewals = JoinSet::new();
        loop {
            let now = Instant::now();
            let mut next = now + Duration::from_secs(3600);
            for leases in &self.queues {
                loop {
                    let due = leases.book().due(now, max);
                    if due.is_empty() {
                        break;
                    }
                    renewals.spawn(renew(Arc::clone(&self.backend), Arc::clone(leases), due));
                }
                // What is entered from now on is due after a third of a lease at the earliest, so
                // nobody needs to wake the keeper for it.
                let idle = now + leases.lease / 3;
                let due = leases.book().next_due().map_or(idle, |at| at.min(idle));
                next = next.min(due);
            }
            // Workers that started together do not renew together.
            let early = (next - now).mul_f64(self.rng.f64() * 0.2);
            sleep_until((next - early).max(now + Duration::from_millis(1))).await;
            while renewals.try_join_next().is_some() {}
        }
    }
}

/// Renews one group of leases, as often as it takes until their deadline draws near.
async fn renew(backend: Arc<dyn Backend>, leases: Arc<Leases>, mut due: Vec<(usize, Receipt)>) {
    let deadline = {
        let book = leases.book();
        let earliest = due.iter().map(|(key, _)| book.entries[*key].deadline).min();
        earliest.unwrap_or_else(Instant::now) - margin(leases.lease)
    };
    // Once a request's outcome is unknown, a stale receipt may only mean that it worked.
    let mut uncertain = false;
    let mut pause = Duration::from_millis(100);
    while !due.is_empty() {
        let sent_at = Instant::now();
        let receipts: Vec<_> = due.iter().map(|(_, receipt)| receipt.clone()).collect();
        let answer = timeout_at(deadline, backend.renew(&receipts, leases.lease)).await;
        let Ok(results) = answer else {
            uncertain = true;
            break;
        };

        let mut wait = Duration::ZERO;
        let mut again = Vec::new();
        for ((key, receipt), result) in due.into_iter().zip(results) {
            match result {
                Ok(renewed) => leases.book().renewed(key, renewed, sent_at, leases.lease),
                Err(error) if error.kind() == ErrorKind::LeaseLost && !uncertain => {
                    debug!(message_id = %receipt.message_id(), "lease lost");
                    leases.book().lose(key);
                }
                Err(error) if error.kind() == ErrorKind::LeaseLost => leases.book().end(key),
                Err(error) => {
                    warn!(queue = %receipt.queue(), %error, "renewing a lease failed; trying again");
                    uncertain |= error.outcome_unknown();
                    wait = wait.max(error.retry_after().unwrap_or(pause));
                    again.push((key, receipt));
                }
            }
        }
        due = again;
        if !due.is_empty() {
            if Instant::now() + wait >= deadline {
                break;
            }
            sleep(wait).await;
            pause = (pause * 2).min(leases.lease / 10);
        }
    }
    // No more time: let them run out. Their handlers are cancelled before somebody else can have
    // the message, unless a renewal may have worked, which nobody can tell.
    let mut book = leases.book();
    for (key, _) in due {
        if uncertain {
            book.end(key);
        } else {
            book.lose(key);
        }
    }
}

/// How long before the end of its lease a handler is cancelled.
fn margin(lease: Duration) -> Duration {
    (lease / 10).min(Duration::from_secs(2))
}
