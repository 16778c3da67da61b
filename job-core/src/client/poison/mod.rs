//! Looking after what could not succeed: list, show, count, replay, purge.
//!
//! Everything here goes through the backend's ordinary operations, so it works beside running
//! workers and beside other tools. Messages that it must look at closely are leased while it
//! does; if the process dies in the middle, they come back when the lease ends.

mod error;
mod job;
mod replay;
mod report;
mod retry;
mod scan;

pub use self::error::{PoisonError, PoisonErrorKind};
pub use self::job::PoisonJob;
pub use self::replay::Replay;
pub use self::report::ReplayReport;

use self::error::Step;
use self::retry::retry;
use self::scan::Scan;
use super::Client;
use crate::backend::{BackendError, ErrorKind, Peeked};
use crate::{InvalidQueueName, JobId, QueueName};

/// The poison queue of one queue: made by [`Client::poison`].
///
/// A poison queue that does not exist is an empty one: workers make it when they first need it.
#[derive(Clone, Debug)]
pub struct PoisonQueue {
    client: Client,
    queue: QueueName,
    name: QueueName,
}

impl PoisonQueue {
    pub(super) fn new(client: Client, queue: &str) -> Result<Self, InvalidQueueName> {
        let queue = QueueName::new(queue)?.healthy()?;
        let name = queue.poison()?;
        Ok(Self { client, queue, name })
    }

    /// The name of the poison queue itself.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// The queue that its jobs come from and that they are replayed to.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// How many jobs are in it; an estimate where the backend's
    /// [`exact_stats`](crate::backend::Capabilities::exact_stats) is false.
    ///
    /// # Errors
    /// If the backend cannot be asked.
    pub async fn count(&self) -> Result<u64, PoisonError> {
        let backend = self.client.backend();
        let stats = retry(|| backend.stats(&self.name)).await;
        let total = missing_as(stats.map(|stats| stats.total), 0);
        total.map_err(|error| self.error(Step::Read, error))
    }

    /// Up to `max` of its jobs, roughly the oldest first.
    ///
    /// As many as the backend shows without taking them are only looked at. Where it cannot do
    /// that, or not for so many, they are leased and given back at once; that counts a delivery,
    /// which means nothing in a poison queue.
    ///
    /// # Errors
    /// If the backend cannot be asked.
    pub async fn list(&self, max: usize) -> Result<Vec<PoisonJob>, PoisonError> {
        let at_once = self.client.backend().capabilities().max_peek;
        if at_once > 0 {
            let jobs = self.peek(max).await?;
            if max <= at_once || jobs.len() < at_once {
                return Ok(jobs);
            }
        }
        let mut jobs = Vec::new();
        self.scan(|job| {
            jobs.push(job);
            jobs.len() < max
        })
        .await?;
        jobs.truncate(max);
        Ok(jobs)
    }

    /// The job with that id, wherever in the queue it is; `None` if it is not there, or if
    /// somebody else has it under a lease at the moment.
    ///
    /// # Errors
    /// If the backend cannot be asked.
    pub async fn show(&self, id: JobId) -> Result<Option<PoisonJob>, PoisonError> {
        let at_once = self.client.backend().capabilities().max_peek;
        if at_once > 0 {
            let jobs = self.peek(at_once).await?;
            let all = jobs.len() < at_once;
            let found = jobs.into_iter().find(|job| job.id() == id);
            if found.is_some() || all {
                return Ok(found);
            }
        }
        let mut found = None;
        self.scan(|job| {
            if job.id() == id {
                found = Some(job);
            }
            found.is_none()
        })
        .await?;
        Ok(found)
    }

    /// Sends jobs back to where they came from, once the returned future is awaited: all of them,
    /// or those that the [`Replay`] is narrowed down to.
    pub fn replay(&self) -> Replay {
        Replay::new(self.clone())
    }

    /// Removes everything from the poison queue, for good. Gives the number where the backend
    /// tells it.
    ///
    /// # Errors
    /// If the backend cannot be asked, or refuses.
    pub async fn purge(&self) -> Result<Option<u64>, PoisonError> {
        let backend = self.client.backend();
        let purged = missing_as(retry(|| backend.purge(&self.name)).await, Some(0));
        let purged = purged.map_err(|error| self.error(Step::Purge, error))?;
        crate::telemetry::events::poison_purged(&self.name, purged);
        Ok(purged)
    }

    async fn peek(&self, max: usize) -> Result<Vec<PoisonJob>, PoisonError> {
        let backend = self.client.backend();
        let max = max.min(backend.capabilities().max_peek);
        if max == 0 {
            return Ok(Vec::new());
        }
        let peeked = missing_as(retry(|| backend.peek(&self.name, max)).await, Vec::new());
        let peeked = peeked.map_err(|error| self.error(Step::Read, error))?;
        let read = |Peeked { message_id, inserted_at, body, .. }| {
            PoisonJob::read(self, &message_id, inserted_at, body)
        };
        Ok(peeked.into_iter().map(read).collect())
    }

    /// Shows every job to `look` until it has seen enough, and gives all of them back.
    async fn scan(&self, mut look: impl FnMut(PoisonJob) -> bool) -> Result<(), PoisonError> {
        let backend = self.client.backend();
        let max = backend.capabilities().max_receive;
        let mut scan = Scan::new(&**backend, &self.name);
        let result = loop {
            let fresh = match scan.next(max).await {
                Ok(fresh) => fresh,
                Err(error) => break Err(self.error(Step::Read, error)),
            };
            let mut more = !fresh.is_empty();
            for delivery in fresh {
                scan.hold(delivery.receipt);
                let (id, at) = (&delivery.message_id, delivery.inserted_at);
                more = more && look(PoisonJob::read(self, id, at, delivery.body));
            }
            if !more {
                break Ok(());
            }
        };
        scan.finish().await;
        result
    }

    fn error(&self, step: Step, error: BackendError) -> PoisonError {
        PoisonError::new(self.name.clone(), step, Some(error))
    }
}

/// A poison queue that is not there is empty.
fn missing_as<T>(result: Result<T, BackendError>, empty: T) -> Result<T, BackendError> {
    match result {
        Err(error) if error.kind() == ErrorKind::QueueNotFound => Ok(empty),
        other => other,
    }
}
