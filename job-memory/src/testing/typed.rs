//! What is on the queues, as jobs.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use job_core::{Job, JobId, PoisonReason, QueueName};

use super::TestJobs;
use super::book::Entry;

/// A job that is on a queue, or in a poison queue. It derefs to the job.
#[derive(Clone)]
#[non_exhaustive]
pub struct Enqueued<J> {
    /// The job itself.
    pub job: J,
    /// Its id.
    pub id: JobId,
    /// The queue that it is on.
    pub queue: QueueName,
    /// How long it was put off for when it was enqueued or last tried.
    pub delay: Duration,
    /// Which attempt its next run is, counted from 1.
    pub attempt: u32,
    /// The error of its last attempt.
    pub error: Option<String>,
    /// Why it is poison, if it is.
    pub reason: Option<PoisonReason>,
    meta: Vec<(String, String)>,
}

impl<J> Enqueued<J> {
    /// What was attached to it under that key.
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.meta.iter().find(|(own, _)| own == key).map(|(_, value)| &**value)
    }
}

impl<J> Deref for Enqueued<J> {
    type Target = J;

    fn deref(&self) -> &J {
        &self.job
    }
}

/// Jobs need no `Debug`; what is theirs is left out.
impl<J> fmt::Debug for Enqueued<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enqueued")
            .field("id", &self.id)
            .field("queue", &self.queue)
            .field("delay", &self.delay)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl TestJobs {
    /// Every job of that kind on a queue, due or not, in the order in which they were enqueued.
    ///
    /// # Panics
    /// If the args of one cannot be read.
    #[track_caller]
    pub fn all_enqueued<J: Job>(&self) -> Vec<Enqueued<J>> {
        self.all(false)
    }

    /// Every job of that kind in a poison queue, in the order in which they came there.
    ///
    /// # Panics
    /// If the args of one cannot be read.
    #[track_caller]
    pub fn all_poisoned<J: Job>(&self) -> Vec<Enqueued<J>> {
        self.all(true)
    }

    #[track_caller]
    fn all<J: Job>(&self, poison: bool) -> Vec<Enqueued<J>> {
        let book = self.stage().book();
        let there = book.entries().filter(|entry| entry.queue.is_poison() == poison);
        let of_kind: Vec<_> = there.filter(|entry| entry.wire.is::<J>()).cloned().collect();
        // A test that fails here must be able to look at the book afterwards.
        drop(book);
        let mut all = Vec::new();
        for entry in of_kind {
            all.push(read(entry));
        }
        all
    }
}

#[track_caller]
fn read<J: Job>(entry: Entry) -> Enqueued<J> {
    let Entry { queue, wire, delay, .. } = entry;
    let job = match wire.job() {
        Ok(job) => job,
        Err(error) => {
            panic!("a `{}` on `{queue}` cannot be read: {error}: {}", J::NAME, wire.shown_args())
        }
    };
    Enqueued {
        job,
        id: wire.id.expect("who has a name has an id"),
        queue,
        delay,
        attempt: wire.attempt(),
        error: wire.poison.as_ref().and_then(|it| it.error.clone()).or(wire.last_error),
        reason: wire.poison.map(|poison| poison.reason),
        meta: wire.meta.into_iter().collect(),
    }
}
