//! Setting a worker up: every mistake is found here, not while a job runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::jobs::{JobEntry, JobTable};
use super::queue::Queue;
use crate::backend::Capabilities;
use crate::context::Shared;
use crate::data::DataMap;
use crate::decide::{Policy, Rules};
use crate::handler::{Registration, Requirements};
use crate::{Backoff, Client, Handler, QueueName, envelope, pipeline};

/// Sets up a [`Worker`]. Made by [`Worker::builder`].
#[derive(Debug)]
pub struct WorkerBuilder {
    client: Client,
    data: DataMap,
    queues: Vec<Queue>,
    only_jobs: Option<Vec<String>>,
    registered: Vec<Registration>,
    linked: bool,
    concurrency: Option<usize>,
    defaults: Defaults,
    grace: Duration,
    rules: Rules,
    problems: Vec<String>,
}

/// What holds for jobs where neither call, job nor queue says anything.
#[derive(Clone, Copy, Debug)]
struct Defaults {
    max_attempts: u32,
    backoff: Backoff,
    timeout: Duration,
}

/// A queue with its settings checked and its jobs looked up.
#[derive(Debug)]
pub(crate) struct QueuePlan {
    pub(crate) name: QueueName,
    pub(crate) poison: QueueName,
    pub(crate) settings: Queue,
    pub(crate) jobs: JobTable,
    pub(crate) raw: Option<JobEntry>,
}

/// Everything a worker needs to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queues: Vec<QueuePlan>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) grace: Duration,
    pub(crate) rules: Rules,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl WorkerBuilder {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            data: DataMap::default(),
            queues: Vec::new(),
            only_jobs: None,
            registered: Vec::new(),
            linked: true,
            concurrency: None,
            defaults: Defaults {
                max_attempts: 20,
                backoff: Backoff::default(),
                timeout: Duration::from_secs(30 * 60),
            },
            grace: Duration::from_secs(25),
            rules: Rules { crash_limit: 3, put_back_limit: DAY },
            problems: Vec::new(),
        }
    }

    /// Gives handlers a value as `Data<T>`.
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.data_arc(Arc::new(value))
    }

    /// Gives handlers a shared value as `Data<T>`; `T` may be a trait object:
    /// `.data_arc::<dyn Mailer>(Arc::new(Smtp::new()))`.
    #[must_use]
    pub fn data_arc<T: ?Sized + Send + Sync + 'static>(mut self, shared: Arc<T>) -> Self {
        if !self.data.insert(shared) {
            let name = std::any::type_name::<T>();
            self.problems.push(format!(
                "there are two values for Data<{name}>; wrap one of them in a type of its own"
            ));
        }
        self
    }

    /// Serves a queue. Without any, the queues of all registered jobs are served.
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queues.push(queue);
        self
    }

    /// Runs only the jobs of these names. Without it, all that are registered.
    #[must_use]
    pub fn jobs<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.only_jobs.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }

    /// Registers a handler by hand. `#[job]` does so by itself; this is for handlers without it,
    /// and for those in crates that nothing else refers to, whose code the linker drops.
    #[must_use]
    #[track_caller]
    pub fn register<H: Handler>(mut self) -> Self {
        self.registered.push(Registration::of::<H>());
        self
    }

    /// Leaves out the handlers that `#[job]` registered: only those of
    /// [`register`](Self::register) count.
    #[must_use]
    pub fn without_linked_jobs(mut self) -> Self {
        self.linked = false;
        self
    }

    /// How many jobs run at once over all queues. No limit by default but that of each queue.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// How often a job is tried if neither call, job nor queue says so; 20 by default.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.defaults.max_attempts = max_attempts;
        self
    }

    /// How long to wait between attempts if neither job nor queue says so; by default
    /// exponentially from 5 s to 10 min.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.defaults.backoff = backoff;
        self
    }

    /// How long one attempt may take if neither job nor queue says so; 30 min by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.defaults.timeout = timeout;
        self
    }

    /// How long running jobs have to finish at a shutdown; 25 s by default. Then they are
    /// cancelled and given back.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How many times a job may take its worker process with it before it goes to the poison
    /// queue; 3 by default.
    #[must_use]
    pub fn crash_limit(mut self, crash_limit: u32) -> Self {
        self.rules.crash_limit = crash_limit;
        self
    }

    /// How long in sum a message is put back that this worker does not know what to do with: an
    /// unknown job, a newer format, args that do not fit. A deploy under way may explain it. Then
    /// it goes to the poison queue. A day by default.
    #[must_use]
    pub fn put_back_limit(mut self, limit: Duration) -> Self {
        self.rules.put_back_limit = limit;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError`] lists all mistakes at once.
    pub fn build(mut self) -> Result<Worker, BuildError> {
        let mut problems = Problems(std::mem::take(&mut self.problems));
        if cfg!(panic = "abort") {
            problems.add(
                "the program is built with `panic = \"abort\"`, so a panicking job would end the \
                 worker; remove it from the Cargo profile",
            );
        }
        self.check_settings(&mut problems);
        let jobs = self.collect_jobs(&mut problems);
        let queues = self.collect_queues(&jobs, &mut problems);
        self.check_data(&jobs, &queues, &mut problems);
        problems.into_result()?;

        let queues = queues.into_iter().filter_map(|(name, queue)| self.plan(name, queue, &jobs));
        let queues = queues.collect();
        let shared = Arc::new(Shared { client: self.client, data: self.data });
        Ok(Worker::new(
            Plan {
                shared,
                queues,
                concurrency: self.concurrency,
                grace: self.grace,
                rules: self.rules,
            },
            pipeline::stack(),
        ))
    }

    fn check_settings(&self, problems: &mut Problems) {
        let Defaults { max_attempts, timeout, .. } = self.defaults;
        if max_attempts == 0 {
            problems.add("the worker's max_attempts is 0; a job needs at least 1 attempt");
        }
        if let Some(concurrency) = self.concurrency {
            problems.concurrency("the worker's concurrency", concurrency);
        }
        if self.rules.crash_limit == 0 {
            problems.add("the worker's crash_limit is 0; use at least 1");
        }
        problems.duration("the worker's timeout", timeout, Duration::from_millis(1), 7 * DAY);
        problems.duration("the worker's grace", self.grace, Duration::ZERO, DAY);
        let limit = self.rules.put_back_limit;
        problems.duration("the worker's put_back_limit", limit, Duration::ZERO, 366 * DAY);
        let most = self.client.backend().capabilities().max_body;
        if most <= envelope::ROOM {
            problems.add(format!(
                "the backend takes bodies of {most} bytes at most, which is too few for job \
                 envelopes; it needs more than {}",
                envelope::ROOM
            ));
        }
    }

    /// The jobs to run, by name.
    fn collect_jobs(&self, problems: &mut Problems) -> BTreeMap<&'static str, Registration> {
        let mut by_name = BTreeMap::<&'static str, Registration>::new();
        let mut all = self.registered.clone();
        if self.linked {
            all.extend(Registration::linked());
        }
        let mut jobs = BTreeMap::new();
        for job in all {
            for name in std::iter::once(&job.name).chain(job.aliases) {
                match by_name.insert(name, job) {
                    Some(other) if !other.is_same(&job) => problems.add(format!(
                        "two handlers for job `{name}`: `{}` at {} and `{}` at {}; rename one",
                        (other.handler)(),
                        other.location,
                        (job.handler)(),
                        job.location,
                    )),
                    _ => {}
                }
            }
            jobs.insert(job.name, job);
        }
        if let Some(only) = &self.only_jobs {
            for name in only {
                if !jobs.contains_key(&**name) {
                    problems.add(format!(
                        "`.jobs(..)` names `{name}`, which is not registered; registered are: {}",
                        list(jobs.keys())
                    ));
                }
            }
            jobs.retain(|name, _| only.iter().any(|wanted| wanted == name));
        }
        if jobs.is_empty() {
            problems.add(
                "there is no job to run; put `#[job]` on an `async fn`, or name it with \
                 `.register::<..>()` if its crate is not otherwise used",
            );
        }
        for job in jobs.values() {
            self.check_job(job, problems);
        }
        jobs
    }

    fn check_job(&self, job: &Registration, problems: &mut Problems) {
        let name = job.name;
        if name.is_empty() {
            problems
                .add(format!("the job of `{}` has an empty name; give it one", (job.handler)()));
        }
        if job.options.max_attempts == Some(0) {
            problems.add(format!("max_attempts of job `{name}` is 0; it needs at least 1"));
        }
        if let Some(timeout) = job.options.timeout {
            let what = format!("the timeout of job `{name}`");
            problems.duration(&what, timeout, Duration::from_millis(1), 7 * DAY);
        }
        if let Some(expires_in) = job.options.expires_in {
            let what = format!("expires_in of job `{name}`");
            problems.duration(&what, expires_in, Duration::from_millis(1), 3660 * DAY);
        }
    }

    /// The queues to serve: those that were named, else those of all jobs.
    fn collect_queues(
        &self,
        jobs: &BTreeMap<&'static str, Registration>,
        problems: &mut Problems,
    ) -> BTreeMap<QueueName, Queue> {
        let mut queues = BTreeMap::new();
        for queue in &self.queues {
            self.check_queue(queue, jobs, problems);
            if let Some(name) = problems.queue_name(&queue.name)
                && queues.insert(name, queue.clone()).is_some()
            {
                problems.add(format!("queue `{}` is set up twice; merge them", queue.name));
            }
        }
        if self.queues.is_empty() {
            for job in jobs.values() {
                let name = self.queue_of(job);
                if let Some(name) = problems.queue_name(name) {
                    queues.entry(name).or_insert_with_key(|name| {
                        let queue = Queue::new(name.as_str());
                        self.check_lease(&queue, problems);
                        queue
                    });
                }
            }
        }
        queues
    }

    fn queue_of<'a>(&'a self, job: &Registration) -> &'a str {
        job.options.queue.unwrap_or(self.client.default_queue().as_str())
    }

    fn check_queue(
        &self,
        queue: &Queue,
        jobs: &BTreeMap<&'static str, Registration>,
        problems: &mut Problems,
    ) {
        let name = &queue.name;
        problems.concurrency(&format!("the concurrency of queue `{name}`"), queue.concurrency);
        if let Some((limit, per)) = queue.rate_limit {
            if limit == 0 {
                problems.add(format!(
                    "the rate limit of queue `{name}` is 0; it would never run a job; use at \
                     least 1"
                ));
            }
            let what = format!("the window of the rate limit of queue `{name}`");
            problems.duration(&what, per, Duration::from_millis(1), DAY);
        }
        if queue.max_attempts == Some(0) {
            problems.add(format!("max_attempts of queue `{name}` is 0; a job needs at least 1"));
        }
        if let Some(timeout) = queue.timeout {
            let what = format!("the timeout of queue `{name}`");
            problems.duration(&what, timeout, Duration::from_millis(1), 7 * DAY);
        }
        self.check_lease(queue, problems);
        let what = format!("min_poll of queue `{name}`");
        problems.duration(&what, queue.min_poll, Duration::from_millis(1), DAY);
        let what = format!("max_poll of queue `{name}`");
        problems.duration(&what, queue.max_poll, Duration::from_millis(1), DAY);
        if queue.min_poll > queue.max_poll {
            problems.add(format!(
                "min_poll of queue `{name}` ({:?}) is longer than its max_poll ({:?}); swap them \
                 or raise max_poll",
                queue.min_poll, queue.max_poll
            ));
        }
        if let Some(job) = queue.raw.filter(|job| !jobs.contains_key(job)) {
            problems.add(format!(
                "raw queue `{name}` is for job `{job}`, which is not registered here; add \
                 `.register::<..>()`, and name it in `.jobs(..)` if you use that"
            ));
        }
        if queue.raw.is_some() && !self.client.backend().capabilities().counts {
            problems.add(format!(
                "queue `{name}` cannot be raw: the backend does not count deliveries, so its jobs \
                 would be tried for ever; send envelopes to it with a client instead"
            ));
        }
    }

    fn check_lease(&self, queue: &Queue, problems: &mut Problems) {
        let Capabilities { min_lease, max_lease, max_delay, replace, .. } =
            *self.client.backend().capabilities();
        let least = min_lease.max(Duration::from_millis(100));
        // A message that is rewritten while it is held is hidden anew for a lease.
        let most = if replace { max_lease.min(max_delay) } else { max_lease };
        problems.duration(
            &format!("the lease of queue `{}`", queue.name),
            queue.lease,
            least,
            most,
        );
    }

    /// Every job of a served queue must find its data.
    fn check_data(
        &self,
        jobs: &BTreeMap<&'static str, Registration>,
        queues: &BTreeMap<QueueName, Queue>,
        problems: &mut Problems,
    ) {
        for job in jobs.values() {
            let served = queues.contains_key(self.queue_of(job))
                || queues.values().any(|queue| queue.raw == Some(job.name))
                || self.only_jobs.is_some();
            if !served {
                continue;
            }
            for missing in self.missing_data(job) {
                problems.add(format!(
                    "job `{}` needs Data<{missing}>, which the worker was not given; add \
                     `.data(..)`, or `.data_arc(..)` for a trait object",
                    job.name
                ));
            }
        }
    }

    fn missing_data(&self, job: &Registration) -> Vec<&'static str> {
        let mut needs = Requirements::default();
        (job.requires)(&mut needs);
        let missing = needs.into_data().into_iter().filter(|key| !self.data.holds(*key));
        missing.map(|key| key.type_name()).collect()
    }

    fn plan(
        &self,
        name: QueueName,
        queue: Queue,
        jobs: &BTreeMap<&'static str, Registration>,
    ) -> Option<QueuePlan> {
        let poison = name.poison().ok()?;
        let entry = |job: &Registration| JobEntry {
            registration: *job,
            policy: Policy {
                max_attempts: job
                    .options
                    .max_attempts
                    .or(queue.max_attempts)
                    .unwrap_or(self.defaults.max_attempts),
                backoff: job.options.backoff.or(queue.backoff).unwrap_or(self.defaults.backoff),
                expires_in: job.options.expires_in,
            },
            timeout: job.options.timeout.or(queue.timeout).unwrap_or(self.defaults.timeout),
        };
        let raw = queue.raw.and_then(|name| jobs.get(name)).map(entry);
        // A job of a queue that is not served here may still be sent to one that is; it runs
        // here if its data is complete, and is left for other workers if it is not.
        let able = jobs.values().filter(|job| self.missing_data(job).is_empty());
        let jobs = JobTable::new(able.map(entry));
        Some(QueuePlan { name, poison, settings: queue, jobs, raw })
    }
}

fn list<'a>(names: impl Iterator<Item = &'a &'static str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[derive(Debug)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    fn concurrency(&mut self, what: &str, given: usize) {
        const MOST: usize = 100_000;
        if given == 0 {
            self.add(format!("{what} is 0; it would never run a job; use at least 1"));
        } else if given > MOST {
            self.add(format!("{what} is {given}; the most is {MOST}"));
        }
    }

    fn duration(&mut self, what: &str, given: Duration, least: Duration, most: Duration) {
        if given < least {
            self.add(format!("{what} is {given:?}; the least is {least:?}"));
        } else if given > most {
            self.add(format!("{what} is {given:?}; the most is {most:?}"));
        }
    }

    /// Checks the name of a queue that jobs are to run from.
    fn queue_name(&mut self, name: &str) -> Option<QueueName> {
        let checked = QueueName::new(name).and_then(|name| name.poison().map(|_| name));
        match checked {
            Ok(name) if name.is_poison() => {
                self.add(format!(
                    "queue `{name}` is a poison queue, which no worker serves; replay its jobs \
                     with `client.poison(..)`"
                ));
                None
            }
            Ok(name) => Some(name),
            Err(error) => {
                self.add(error.to_string());
                None
            }
        }
    }

    fn into_result(mut self) -> Result<(), BuildError> {
        self.0.dedup();
        if self.0.is_empty() { Ok(()) } else { Err(BuildError { problems: self.0 }) }
    }
}

/// What is wrong with the set-up of a worker: all of it, each with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<String>,
}

impl BuildError {
    /// The mistakes, one text each.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.problems {
            [one] => write!(f, "the worker cannot be built: {one}"),
            many => {
                write!(f, "the worker cannot be built, for {} reasons:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

impl std::error::Error for BuildError {}
