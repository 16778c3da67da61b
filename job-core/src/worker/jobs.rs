//! What a worker knows of its jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::QueueName;
use crate::decide::{Known, Policy};
use crate::handler::Registration;
use crate::pipeline::JobService;
use crate::telemetry::meters::JobMeters;

/// The jobs that one queue of a worker runs, by all their names.
#[derive(Debug, Default)]
pub(crate) struct JobTable {
    /// Sorted by name: most workers have a few jobs, and every message asks for one.
    jobs: Vec<(&'static str, JobEntry)>,
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
        let mut jobs = BTreeMap::new();
        for entry in entries {
            for alias in entry.registration.aliases {
                jobs.insert(*alias, entry.clone());
            }
            jobs.insert(entry.registration.name, entry);
        }
        Self { jobs: jobs.into_iter().collect() }
    }

    /// All names that it knows, in order.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.jobs.iter().map(|(name, _)| *name).collect()
    }

    /// Makes what counts them.
    pub(crate) fn count(&mut self, queue: &QueueName) {
        self.jobs.iter_mut().for_each(|(_, job)| job.count(queue));
    }

    pub(crate) fn find(&self, name: &str) -> Option<&JobEntry> {
        let at = self.jobs.binary_search_by(|(own, _)| (*own).cmp(name)).ok()?;
        Some(&self.jobs[at].1)
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
