//! The plan of a worker: every mistake in its set-up is found here, not while a job runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::builder::WorkerBuilder;
use super::config::{QueueConfig, RateLimit};
#[cfg(feature = "http")]
use super::describe::HttpDescription;
use super::describe::{Description, JobDescription, QueueDescription, WorkerDescription};
use super::home::Home;
use super::jobs::{JobEntry, JobTable};
use super::problems::{BuildError, Problems};
use super::queue::{Queue, Settings};
use crate::backend::Capabilities;
use crate::context::Shared;
use crate::decide::{Policy, Rules, Suspects};
use crate::handler::{Registration, Requirements};
#[cfg(feature = "http")]
use crate::http::Http;
use crate::pipeline::{self, JobService, Layers};
use crate::{Backoff, QueueName, envelope};

/// Jobs by name.
type Jobs = BTreeMap<&'static str, Registration>;

/// A queue with its settings checked and its jobs looked up.
#[derive(Debug)]
pub(crate) struct QueuePlan {
    pub(crate) name: QueueName,
    pub(crate) poison: QueueName,
    pub(crate) settings: Settings,
    pub(crate) jobs: JobTable,
    pub(crate) raw: Option<JobEntry>,
    /// The stack of its own layers, if it has any.
    pub(crate) stack: Option<JobService>,
}

/// What others want to know of a worker while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// How often backlog, age and poison are asked for.
    pub(crate) sample_every: Duration,
    #[cfg(feature = "http")]
    pub(crate) http: Option<Http>,
}

impl Watch {
    #[cfg(feature = "http")]
    fn describe(&self) -> Option<HttpDescription> {
        let Http { address, stall_limit, .. } = self.http.as_ref()?;
        let (address, stall_limit) = (*address, *stall_limit);
        Some(HttpDescription { address, sample_every: self.sample_every, stall_limit })
    }

    /// Whether somebody may ask for all of it.
    pub(crate) fn is_asked(&self) -> bool {
        #[cfg(feature = "http")]
        return self.http.is_some();
        #[cfg(not(feature = "http"))]
        false
    }
}

/// Everything a worker needs to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queues: Vec<QueuePlan>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) grace: Duration,
    pub(crate) rules: Rules,
    pub(crate) watch: Watch,
    /// The process that the worker is in, under a supervisor.
    pub(crate) home: Option<Arc<dyn Home>>,
    /// The stack of the worker's layers, those that are built in included.
    pub(crate) stack: JobService,
    /// Whether it has no others.
    pub(crate) stack_is_bare: bool,
    pub(crate) description: Description,
}

/// What holds for jobs where neither call, job nor queue says anything.
#[derive(Clone, Copy, Debug)]
struct Defaults {
    max_attempts: u32,
    backoff: Backoff,
    timeout: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Plan {
    /// Checks everything.
    pub(super) fn new(builder: WorkerBuilder, mut problems: Problems) -> Result<Self, BuildError> {
        builder.check_settings(&mut problems);
        let all_jobs = builder.collect_jobs(&mut problems);
        let jobs = builder.choose_jobs(&all_jobs, &mut problems);
        let queues = builder.collect_queues(&jobs, &mut problems);
        builder.check_config(&all_jobs, &queues, &mut problems);
        builder.check_job_layers(&all_jobs, &mut problems);
        builder.check_data(&jobs, &queues, &mut problems);
        problems.into_result()?;

        let description = builder.describe(&jobs, &queues);
        // Each layer is asked for its service once, so that what it limits has one limit.
        let stacks = builder.job_layers.iter();
        let stacks =
            stacks.filter_map(|(name, layers)| Some((*name, pipeline::inner_stack(layers)?)));
        let stacks = stacks.collect();
        let queues = queues.into_iter();
        let queues = queues.filter_map(|(name, queue)| builder.plan(name, &queue, &jobs, &stacks));
        Ok(Self {
            queues: queues.collect(),
            concurrency: builder.config.concurrency,
            grace: builder.grace_time(),
            rules: builder.rules(),
            watch: builder.watch(),
            home: None,
            stack: pipeline::worker_stack(&builder.layers),
            stack_is_bare: builder.layers.is_empty(),
            description,
            shared: Arc::new(Shared {
                client: builder.client,
                data: builder.data,
                #[cfg(feature = "otel")]
                traces: builder.config.traces.unwrap_or_default(),
            }),
        })
    }
}

impl WorkerBuilder {
    fn defaults(&self) -> Defaults {
        Defaults {
            max_attempts: self.config.max_attempts.unwrap_or(20),
            backoff: self.config.backoff.unwrap_or_default(),
            timeout: self.config.timeout.unwrap_or(Duration::from_secs(30 * 60)),
        }
    }

    fn grace_time(&self) -> Duration {
        self.config.grace.unwrap_or(Duration::from_secs(25))
    }

    fn watch(&self) -> Watch {
        Watch {
            sample_every: self.config.sample_every.unwrap_or(Duration::from_secs(30)),
            #[cfg(feature = "http")]
            http: self.config.http.map(|address| Http {
                address,
                stall_limit: self.config.stall_limit.unwrap_or(Duration::from_secs(60)),
                render: self.render.clone(),
            }),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            crash_limit: self.config.crash_limit.unwrap_or(3),
            put_back_limit: self.config.put_back_limit.unwrap_or(DAY),
            suspects: Suspects::Here,
            asked: false,
        }
    }

    fn check_settings(&self, problems: &mut Problems) {
        let Defaults { max_attempts, timeout, .. } = self.defaults();
        let rules = self.rules();
        if max_attempts == 0 {
            problems.add("the worker's max_attempts is 0; a job needs at least 1 attempt");
        }
        if let Some(concurrency) = self.config.concurrency {
            problems.concurrency("the worker's concurrency", concurrency);
        }
        if rules.crash_limit == 0 {
            problems.add("the worker's crash_limit is 0; use at least 1");
        }
        let Watch { sample_every, .. } = self.watch();
        problems.duration("the worker's sample_every", sample_every, Duration::from_millis(1), DAY);
        #[cfg(feature = "http")]
        if let Some(limit) = self.config.stall_limit {
            let least = Duration::from_secs(1);
            problems.duration("the worker's stall_limit", limit, least, DAY);
        }
        problems.duration("the worker's timeout", timeout, Duration::from_millis(1), 7 * DAY);
        problems.duration("the worker's grace", self.grace_time(), Duration::ZERO, DAY);
        let limit = rules.put_back_limit;
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

    /// All jobs there are, by name.
    fn collect_jobs(&self, problems: &mut Problems) -> Jobs {
        let mut by_name = Jobs::new();
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
        jobs
    }

    /// The jobs to run.
    fn choose_jobs(&self, all: &Jobs, problems: &mut Problems) -> Jobs {
        let mut jobs = all.clone();
        if let Some(only) = &self.only_jobs {
            for name in only {
                if !all.contains_key(&**name) {
                    problems.add(format!(
                        "`.jobs(..)` names `{name}`, which is not registered; registered are: {}",
                        list(all.keys())
                    ));
                }
            }
            jobs.retain(|name, _| only.iter().any(|wanted| wanted == name));
        } else if self.only_complete {
            jobs.retain(|_, job| self.missing_data(job).is_empty());
        }
        if jobs.is_empty() && !self.only_complete {
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

    /// The queues to serve: those that the config chooses, else those that were set up, else
    /// those of all jobs.
    fn collect_queues(&self, jobs: &Jobs, problems: &mut Problems) -> BTreeMap<QueueName, Queue> {
        let mut set_up = BTreeMap::new();
        for queue in &self.queues {
            self.check_queue(queue, jobs, problems);
            if let Some(name) = problems.queue_name(&queue.name)
                && set_up.insert(name, queue.clone()).is_some()
            {
                problems.add(format!("queue `{}` is set up twice; merge them", queue.name));
            }
        }
        let chosen: Vec<_> = match &self.config.serve {
            Some(serve) => serve.iter().map(String::as_str).collect(),
            None if self.queues.is_empty() => jobs.values().map(|job| self.queue_of(job)).collect(),
            None => {
                self.check_spelling(&set_up, jobs, problems);
                return set_up;
            }
        };
        if chosen.is_empty() && self.config.serve.is_some() {
            problems.add(
                "the config's `serve` names no queue; leave it out to serve those of all jobs",
            );
        }
        let mut queues = BTreeMap::new();
        for name in chosen {
            if let Some(name) = problems.queue_name(name) {
                queues.entry(name).or_insert_with_key(|name| {
                    set_up.remove(name).unwrap_or_else(|| {
                        let queue = self.configured(name);
                        self.check_queue(&queue, jobs, problems);
                        queue
                    })
                });
            }
        }
        self.check_spelling(&queues, jobs, problems);
        queues
    }

    /// A queue that no call has set up.
    fn configured(&self, name: &QueueName) -> Queue {
        let mut queue = Queue::new(name.as_str());
        if let Some(configured) = self.config.queues.get(name.as_str()) {
            queue.config = *configured;
        }
        queue
    }

    /// A queue that is no job's, nearly spelled like one that is and is not served: a mistake.
    /// Other queues that are no job's are not, since calls may name them.
    fn check_spelling(
        &self,
        queues: &BTreeMap<QueueName, Queue>,
        jobs: &Jobs,
        problems: &mut Problems,
    ) {
        const NEAR: usize = 2;
        let is_served = |name: &str| queues.keys().any(|queue| queue.as_str() == name);
        for (name, queue) in queues {
            let name = name.as_str();
            if queue.raw.is_some() || jobs.values().any(|job| self.queue_of(job) == name) {
                continue;
            }
            let meant = jobs.values().find(|job| {
                let home = self.queue_of(job);
                !is_served(home) && strsim::levenshtein(home, name) <= NEAR
            });
            if let Some(job) = meant {
                problems.add(format!(
                    "queue `{name}` is the queue of no job; did you mean `{}`, the queue of job \
                     `{}`, which is not served?",
                    self.queue_of(job),
                    job.name
                ));
            }
        }
    }

    fn queue_of<'a>(&'a self, job: &Registration) -> &'a str {
        job.options.queue.unwrap_or(self.client.default_queue().as_str())
    }

    fn check_queue(&self, queue: &Queue, jobs: &Jobs, problems: &mut Problems) {
        let name = &queue.name;
        let settings = queue.settings();
        problems.concurrency(&format!("the concurrency of queue `{name}`"), settings.concurrency);
        if let Some(RateLimit { limit, per }) = settings.rate_limit {
            if limit == 0 {
                problems.add(format!(
                    "the rate limit of queue `{name}` is 0; it would never run a job; use at \
                     least 1"
                ));
            }
            let what = format!("the window of the rate limit of queue `{name}`");
            problems.duration(&what, per, Duration::from_millis(1), DAY);
        }
        if queue.config.max_attempts == Some(0) {
            problems.add(format!("max_attempts of queue `{name}` is 0; a job needs at least 1"));
        }
        if let Some(timeout) = queue.config.timeout {
            let what = format!("the timeout of queue `{name}`");
            problems.duration(&what, timeout, Duration::from_millis(1), 7 * DAY);
        }
        self.check_lease(name, settings.lease, problems);
        let what = format!("min_poll of queue `{name}`");
        problems.duration(&what, settings.min_poll, Duration::from_millis(1), DAY);
        let what = format!("max_poll of queue `{name}`");
        problems.duration(&what, settings.max_poll, Duration::from_millis(1), DAY);
        if settings.min_poll > settings.max_poll {
            problems.add(format!(
                "min_poll of queue `{name}` ({:?}) is longer than its max_poll ({:?}); swap them \
                 or raise max_poll",
                settings.min_poll, settings.max_poll
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

    fn check_lease(&self, queue: &str, lease: Duration, problems: &mut Problems) {
        let Capabilities { min_lease, max_lease, max_delay, replace, .. } =
            *self.client.backend().capabilities();
        let least = min_lease.max(Duration::from_millis(100));
        // A message that is rewritten while it is held is hidden anew for a lease.
        let most = if replace { max_lease.min(max_delay) } else { max_lease };
        problems.duration(&format!("the lease of queue `{queue}`"), lease, least, most);
    }

    /// A queue in the config must be one that somebody knows, or its name is a slip of the pen.
    fn check_config(
        &self,
        jobs: &Jobs,
        queues: &BTreeMap<QueueName, Queue>,
        problems: &mut Problems,
    ) {
        let named = self.queues.iter().map(|queue| queue.name.as_str());
        let of_jobs = jobs.values().map(|job| self.queue_of(job));
        let served = queues.keys().map(QueueName::as_str);
        let known: BTreeSet<_> = named.chain(of_jobs).chain(served).collect();
        for name in self.config.queues.keys().filter(|name| !known.contains(&***name)) {
            problems.add(format!(
                "the config has settings for queue `{name}`, which is neither served here nor the \
                 queue of any job; known are: {}",
                list(known.iter())
            ));
        }
    }

    fn check_job_layers(&self, jobs: &Jobs, problems: &mut Problems) {
        for name in self.job_layers.keys().filter(|name| !jobs.contains_key(*name)) {
            problems.add(format!(
                "`.job_layer(..)` is for job `{name}`, which is not registered; registered are: {}",
                list(jobs.keys())
            ));
        }
    }

    /// Every job of a served queue must find its data.
    fn check_data(
        &self,
        jobs: &Jobs,
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
        queue: &Queue,
        jobs: &Jobs,
        stacks: &BTreeMap<&'static str, JobService>,
    ) -> Option<QueuePlan> {
        let poison = name.poison().ok()?;
        let entry = |job: &Registration| self.entry(job, &queue.config, stacks.get(job.name));
        let raw = queue.raw.and_then(|name| jobs.get(name)).map(entry);
        // A job of a queue that is not served here may still be sent to one that is; it runs
        // here if its data is complete, and is left for other workers if it is not.
        let able = jobs.values().filter(|job| self.missing_data(job).is_empty());
        let jobs = JobTable::new(able.map(entry));
        let stack = pipeline::inner_stack(&queue.layers);
        Some(QueuePlan { name, poison, settings: queue.settings(), jobs, raw, stack })
    }

    /// A job as it runs when it comes from that queue.
    fn entry(
        &self,
        job: &Registration,
        queue: &QueueConfig,
        stack: Option<&JobService>,
    ) -> JobEntry {
        let defaults = self.defaults();
        let options = &job.options;
        let max_attempts = options.max_attempts.or(queue.max_attempts);
        JobEntry {
            registration: *job,
            policy: Policy {
                max_attempts: max_attempts.unwrap_or(defaults.max_attempts),
                backoff: options.backoff.or(queue.backoff).unwrap_or(defaults.backoff),
                expires_in: options.expires_in,
            },
            timeout: options.timeout.or(queue.timeout).unwrap_or(defaults.timeout),
            meters: Default::default(),
            stack: stack.cloned(),
        }
    }

    fn describe(&self, jobs: &Jobs, queues: &BTreeMap<QueueName, Queue>) -> Description {
        let Defaults { max_attempts, backoff, timeout } = self.defaults();
        let Rules { crash_limit, put_back_limit, .. } = self.rules();
        let worker = WorkerDescription {
            concurrency: self.config.concurrency,
            max_attempts,
            backoff,
            timeout,
            grace: self.grace_time(),
            crash_limit,
            put_back_limit,
            layers: self.layers.names(),
            #[cfg(feature = "http")]
            http: self.watch().describe(),
        };
        let describe_queue = |(name, queue): (&QueueName, &Queue)| {
            let settings = queue.settings();
            QueueDescription {
                name: name.to_string(),
                raw: queue.raw,
                concurrency: settings.concurrency,
                rate_limit: settings.rate_limit,
                lease: settings.lease,
                min_poll: settings.min_poll,
                max_poll: settings.max_poll,
                max_attempts: queue.config.max_attempts.unwrap_or(max_attempts),
                backoff: queue.config.backoff.unwrap_or(backoff),
                timeout: queue.config.timeout.unwrap_or(timeout),
                layers: queue.layers.names(),
            }
        };
        let describe_job = |job: &Registration| {
            let home = self.queue_of(job);
            let served = queues.iter().find(|(name, _)| name.as_str() == home);
            let config = match served {
                Some((_, queue)) => queue.config,
                None => self.config.queues.get(home).copied().unwrap_or_default(),
            };
            let JobEntry { policy, timeout, .. } = self.entry(job, &config, None);
            let mut needs = Requirements::default();
            (job.requires)(&mut needs);
            JobDescription {
                name: job.name,
                aliases: job.aliases.to_vec(),
                version: job.version,
                queue: home.to_owned(),
                served: served.is_some(),
                handler: (job.handler)(),
                max_attempts: policy.max_attempts,
                backoff: policy.backoff,
                timeout,
                expires_in: policy.expires_in,
                data: needs.into_data().iter().map(|key| key.type_name()).collect(),
                layers: self.job_layers.get(job.name).map(Layers::names).unwrap_or_default(),
            }
        };
        Description {
            worker,
            queues: queues.iter().map(describe_queue).collect(),
            jobs: jobs.values().map(describe_job).collect(),
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
