//! What happened to every job, as seen from outside the framework.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use job_core::{EnqueueError, JobId};

/// How a run of a handler ended, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Completed,
    Failed,
    Snoozed,
    Discarded,
    /// The handler's future was dropped: timeout, lost lease, shutdown or kill.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Started {
        attempt: u32,
    },
    Ended(Fate),
    /// The poison mark was written.
    Fenced,
    /// A copy was stored in the poison queue.
    Copied,
    /// Its message was deleted from its queue.
    Deleted,
    Restart,
}

#[derive(Debug, Default)]
pub struct JobHistory {
    pub acknowledged: bool,
    pub expected: bool,
    pub args_intact: bool,
    pub deleted_early: bool,
    pub events: Vec<Event>,
    args: Option<(u64, String)>,
}

#[derive(Debug, Default)]
pub struct History {
    pub jobs: HashMap<JobId, JobHistory>,
    pub faults: u64,
    expiries: HashMap<JobId, u32>,
    given_back: HashMap<JobId, u32>,
    lost_responses: HashMap<JobId, u32>,
}

impl History {
    pub fn expiries(&self, id: JobId) -> u32 {
        self.expiries.get(&id).copied().unwrap_or(0)
    }

    pub fn given_back(&self, id: JobId) -> u32 {
        self.given_back.get(&id).copied().unwrap_or(0)
    }

    pub fn lost_responses(&self, id: JobId) -> u32 {
        self.lost_responses.get(&id).copied().unwrap_or(0)
    }

    fn job(&mut self, id: JobId) -> &mut JobHistory {
        self.jobs
            .entry(id)
            .or_insert_with(|| JobHistory { args_intact: true, ..Default::default() })
    }
}

#[derive(Clone, Debug)]
pub struct Ledger {
    seed: u64,
    history: Arc<Mutex<History>>,
}

impl Ledger {
    pub fn new(seed: u64) -> Self {
        Self { seed, history: Arc::default() }
    }

    /// An arg that shows whether the args arrived as they were.
    pub fn checksum(n: u64) -> String {
        format!("\u{1}ä\"\\{}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn enqueued(&self, n: u64, result: Result<JobId, EnqueueError>) {
        let mut history = self.history();
        let (id, acknowledged) = match result {
            Ok(id) => (id, true),
            Err(error) => (error.id(), false),
        };
        let job = history.job(id);
        job.acknowledged = acknowledged;
        job.expected = true;
        job.args = Some((n, Self::checksum(n)));
    }

    pub fn start(&self, id: JobId, n: u64, checksum: &str, attempt: u32) -> Run {
        let mut history = self.history();
        let job = history.job(id);
        job.args_intact &= job.args.as_ref().is_some_and(|own| *own == (n, checksum.to_owned()));
        job.events.push(Event::Started { attempt });
        let starts = job.events.iter().filter(|e| matches!(e, Event::Started { .. })).count();
        Run {
            ledger: self.clone(),
            id,
            seed: self.seed ^ (n << 16) ^ starts as u64,
            fate: None.into(),
        }
    }

    pub fn check_args(&self, id: JobId, args: &str) {
        let args: serde_json::Value = serde_json::from_str(args).unwrap();
        let mut history = self.history();
        let job = history.job(id);
        job.args_intact &= job
            .args
            .as_ref()
            .is_some_and(|(n, checksum)| args["n"] == *n && args["checksum"] == **checksum);
    }

    pub fn restarted(&self) {
        for job in self.history().jobs.values_mut() {
            job.events.push(Event::Restart);
        }
    }

    pub fn event(&self, id: JobId, event: Event) {
        let mut history = self.history();
        let job = history.job(id);
        if event == Event::Deleted {
            let finished = job.events.iter().any(|e| {
                matches!(e, Event::Copied | Event::Ended(Fate::Completed | Fate::Discarded))
            });
            job.deleted_early |= !finished;
        }
        job.events.push(event);
    }

    pub fn fault(&self) {
        self.history().faults += 1;
    }

    pub fn expired(&self, id: JobId) {
        *self.history().expiries.entry(id).or_default() += 1;
    }

    pub fn lost_response(&self, id: JobId) {
        *self.history().lost_responses.entry(id).or_default() += 1;
    }

    pub fn given_back(&self, id: JobId, times: u32) {
        let mut history = self.history();
        let known = history.given_back.entry(id).or_default();
        *known = times.max(*known);
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// One run of a handler; says how it ended even when it is dropped.
pub struct Run {
    ledger: Ledger,
    id: JobId,
    seed: u64,
    fate: std::cell::Cell<Option<Fate>>,
}

impl Run {
    pub fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    pub fn end(&self, fate: Fate) {
        self.fate.set(Some(fate));
        self.ledger.event(self.id, Event::Ended(fate));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.fate.get().is_none() {
            self.ledger.event(self.id, Event::Ended(Fate::Dropped));
        }
    }
}
