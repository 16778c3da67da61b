//! What a worker knows of its jobs.

use std::collections::HashMap;
use std::time::Duration;

use crate::QueueName;
use crate::decide::{Known, Policy};
use crate::handler::Registration;
use crate::pipeline::JobService;
use crate::telemetry::meters::JobMeters;

/// The jobs that one queue of a worker runs, by all their names.
#[derive(Debug, Default)]
pub(crate) struct JobTable {
    jobs: HashMap<&'static str, JobEntry>,
}

/// One job, its options merged with those of queue and worker.
#[derive(Clone, Debug)]
pub(crate) struct JobEntry {
    pub(crate) registration: Registration,
    pub(crate) policy: Policy,
    pub(crate) timeout: Duration,
    /// The stack of its own layers, if it has any.
    pub(crate) stack: Option<JobService>,
    /// What is counted of it while the worker runs.
    pub(crate) meters: JobMeters,
}

impl JobTable {
    pub(crate) fn new(entries: impl IntoIterator<Item = JobEntry>) -> Self {
        let mut jobs = HashMap::new();
        for entry in entries {
            for alias in entry.registration.aliases {
                jobs.insert(*alias, entry.clone());
            }
            jobs.insert(entry.registration.name, entry);
        }
        Self { jobs }
    }

    /// All names that it knows, in order.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.jobs.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Makes what counts them.
    pub(crate) fn count(&mut self, queue: &QueueName) {
        self.jobs.values_mut().for_each(|job| job.count(queue));
    }

    pub(crate) fn find(&self, name: &str) -> Option<&JobEntry> {
        self.jobs.get(name)
    }
}

impl JobEntry {
    /// Makes what counts it.
    pub(crate) fn count(&mut self, queue: &QueueName) {
        self.meters = JobMeters::new(queue, self.registration.name);
    }
}

impl Known for &JobEntry {
    fn policy(&self) -> Policy {
        self.policy
    }

    fn version(&self) -> u32 {
        self.registration.version
    }
}
