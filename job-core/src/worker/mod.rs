//! Takes jobs off queues and runs them.
//!
//! [`Worker::run`] spawns the slots of each queue and the keeper of leases, and ends them. How a
//! message goes through a slot is in `slot`, how it was received in `poll` and `feed`, and how it
//! is settled in `settle`; what is to become of it is decided in [`decide`](crate::decide).

mod aside;
mod builder;
mod config;
mod describe;
mod feed;
mod home;
mod jobs;
mod lease;
mod listening;
mod perform;
mod plan;
mod poll;
mod problems;
mod queue;
mod rate;
mod recent;
mod report;
mod run;
mod served;
mod settle;
mod shutdown;
mod slot;
mod start;

use std::future::{Future, pending};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument;

use self::aside::{Aside, watch};
pub use self::builder::WorkerBuilder;
pub use self::config::{ConfigError, QueueConfig, RateLimit, WorkerConfig};
#[cfg(feature = "http")]
pub use self::describe::HttpDescription;
pub use self::describe::{Description, JobDescription, QueueDescription, WorkerDescription};
use self::feed::Feed;
pub(crate) use self::home::Home;
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) use self::home::{Claim, Fate, Handed};
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) use self::lease::Held;
use self::lease::{Leases, keep};
use self::listening::Listening;
pub use self::perform::{Perform, PerformError};
use self::plan::{Plan, QueuePlan};
pub use self::problems::BuildError;
pub use self::queue::Queue;
use self::rate::Rate;
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) use self::recent::Recent;
pub(crate) use self::report::Counters;
pub use self::report::Report;
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) use self::run::CLAIM_LIMIT;
use self::served::Pace;
pub(crate) use self::served::Served;
pub(crate) use self::settle::Unsettled;
use self::shutdown::Shutdown;
pub use self::shutdown::WorkerHandle;
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) use self::shutdown::{Signals, listen};
use self::slot::Slot;
use crate::backend::{Backend, BackendError, ErrorKind, QueueSpec};
use crate::decide::{Rules, Suspects};
use crate::sabotage::{Sabotage, sabotaged};
use crate::telemetry::events;
use crate::telemetry::figures::{sample, show_held};
use crate::telemetry::meters::QueueMeters;
use crate::{Client, QueueName};

/// How long, after the grace time, cancelled jobs have to be gone and given back.
const LAST_MOMENTS: Duration = Duration::from_millis(1500);

/// How long to wait for an answer when a queue is made.
const CREATE_LIMIT: Duration = Duration::from_secs(30);

/// How long a queue may resist being made before the worker ends with an error. Whatever started
/// it starts it again, and sees that something is wrong.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Runs jobs.
///
/// ```no_run
/// # async fn example(client: job_core::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use job_core::{Queue, Worker};
///
/// let report = Worker::builder(&client)
///     .queue(Queue::new("mail").concurrency(16))
///     .build()?
///     .run_until_shutdown_signal()
///     .await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
///
/// Dropping the future of a run ends it at once, as a crash would: what it held comes again when
/// its leases end. To end it in good order use a [`WorkerHandle`] or a signal.
#[derive(Debug)]
pub struct Worker {
    plan: Plan,
    shutdown: Shutdown,
}

impl Worker {
    /// Sets a worker up that serves the client's backend. An enqueue by `client`, or a clone of
    /// it, wakes the worker at once: by itself, or where the backend is of this process and
    /// [`wakes`](crate::backend::Capabilities::wakes), by that.
    pub fn builder(client: &Client) -> WorkerBuilder {
        WorkerBuilder::new(client)
    }

    fn new(plan: Plan) -> Self {
        Self { plan, shutdown: Shutdown::default() }
    }

    /// What the worker will do: its queues, its jobs, and all settings in effect. It prints as
    /// tables and serializes as JSON.
    pub fn describe(&self) -> &Description {
        &self.plan.description
    }

    /// A handle to end the worker by.
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle { shutdown: self.shutdown.clone() }
    }

    /// Under a supervisor, in that process of it.
    #[cfg(all(unix, feature = "supervisor"))]
    pub(crate) fn at(mut self, home: Arc<dyn Home>) -> Self {
        if home.is_for_suspects() {
            // One at a time. They come one at a time, too; this is for two workers in one process.
            self.plan.concurrency = Some(1);
            for queue in &mut self.plan.queues {
                queue.settings.concurrency = 1;
            }
        }
        self.plan.home = Some(home);
        self
    }

    /// Runs jobs until a handle ends it.
    ///
    /// # Errors
    /// [`WorkerError`] if a queue can be neither found nor made. Later errors of the backend are
    /// logged and tried again, for ever.
    pub async fn run(self) -> Result<Report, WorkerError> {
        self.run_until(pending()).await
    }

    /// Runs jobs until SIGTERM or ctrl-c, or until a handle ends it. A second signal skips the
    /// grace time.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if signals cannot be listened for.
    pub async fn run_until_shutdown_signal(self) -> Result<Report, WorkerError> {
        let (first, second) = (self.handle(), self.handle());
        let _listening = shutdown::listen(move || first.shutdown(), move || second.shutdown_now())
            .map_err(WorkerError::Signals)?;
        self.run().await
    }

    /// Runs jobs until `signal` ends, or until a handle ends it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<Report, WorkerError> {
        let listening = Listening::start(&self.plan, &self.shutdown)?;
        let ended = self.work_until(signal, &listening).await;
        listening.close().await;
        ended
    }

    async fn work_until(
        self,
        signal: impl Future<Output = ()>,
        listening: &Listening,
    ) -> Result<Report, WorkerError> {
        let Self { plan, shutdown } = self;
        let counters = Arc::new(Counters::default());
        let grace = plan.grace;
        let mut signal = std::pin::pin!(signal);
        tokio::select! {
            created = create_queues(&plan) => created?,
            () = shutdown.stop.cancelled() => return Ok(counters.report()),
            () = &mut signal => return Ok(counters.report()),
        }

        let home = plan.home.clone();
        if let Some(home) = &home {
            let names: Vec<_> = plan.queues.iter().map(|queue| queue.name.clone()).collect();
            home.serving(&names, grace, &counters);
        }
        let backend = Arc::clone(plan.shared.client.backend());
        // It ends with this future, however that ends, as do the tasks.
        let aside = start_aside(&backend);
        let sample_every = plan.watch.sample_every;
        let queues = serve(plan, &shutdown, &counters, aside.as_ref());
        listening.serving(&queues);
        let leases = queues.iter().map(|queue| Arc::clone(&queue.leases)).collect();
        let mut keeper = JoinSet::new();
        match &aside {
            Some(aside) => {
                aside.spawn(keep(Arc::clone(aside.backend()), leases));
                aside.spawn(watch(Handle::current(), Arc::clone(&counters), queues.clone()));
            }
            // On the clock of the worker's runtime, which tests may pause.
            None => drop(keeper.spawn(keep(backend, leases).in_current_span())),
        }
        // Each by itself: none waits for another's answer.
        for queue in queues.iter().filter(|queue| queue.meters.is_on()) {
            let queue = Arc::clone(queue);
            match &aside {
                Some(it) => it.spawn(sample(Arc::clone(it.backend()), queue, sample_every)),
                None => {
                    let sampling = sample(Arc::clone(&queue.backend), queue, sample_every);
                    drop(keeper.spawn(sampling.in_current_span()));
                }
            }
        }
        let mut slots = JoinSet::new();
        for queue in &queues {
            for _ in 0..queue.plan.settings.concurrency {
                slots.spawn(Slot::new(Arc::clone(queue)).run().in_current_span());
            }
        }

        tokio::select! {
            () = &mut signal => shutdown.stop(),
            () = shutdown.stop.cancelled() => {}
            () = outlive(&mut slots) => {}
        }
        listening.stopping();
        events::worker_stopping(grace);
        if sabotaged(Sabotage::ExitWithoutGivingBack) {
            return Ok(counters.report());
        }
        tokio::select! {
            () = grace_over(home.as_deref(), aside.as_ref(), grace) => {}
            () = shutdown.cancel.cancelled() => {}
            () = outlive(&mut slots) => {}
        }
        shutdown.cancel();
        let ended = tokio::select! {
            biased;
            () = outlive(&mut slots) => true,
            () = pause(aside.as_ref(), LAST_MOMENTS) => false,
        };
        if !ended {
            let handlers = counters.running();
            counters.abandoned.add(handlers);
            events::handlers_abandoned(handlers, slots.len() as u64 - handlers);
        }
        for queue in &queues {
            queue.meters.ended();
            show_held(queue);
        }
        let report = counters.report();
        events::worker_stopped(&report);
        Ok(report)
    }
}

/// A thread for renewals and settlements, if the backend has connections for it.
fn start_aside(backend: &Arc<dyn Backend>) -> Option<Aside> {
    let own = backend.independent()?;
    match Aside::start(own) {
        Ok(aside) => Some(aside),
        Err(error) => {
            events::no_thread_for_leases(&error);
            None
        }
    }
}

/// Waits for the end of the grace time, which in a supervised process that is being replaced begins
/// only when all are to stop.
async fn grace_over(home: Option<&dyn Home>, aside: Option<&Aside>, grace: Duration) {
    if let Some(home) = home {
        home.unhurried().await;
    }
    pause(aside, grace).await;
}

/// Waits by a clock that no handler holds up, if there is one: a runtime whose threads are blocked
/// does not look at its own.
async fn pause(aside: Option<&Aside>, time: Duration) {
    match aside {
        Some(aside) => aside.sleep(time).await,
        None => sleep(time).await,
    }
}

/// Waits until all slots have ended.
async fn outlive(slots: &mut JoinSet<()>) {
    while let Some(ended) = slots.join_next().await {
        if let Err(error) = ended {
            events::slot_ended(&error);
        }
    }
}

fn serve(
    plan: Plan,
    shutdown: &Shutdown,
    counters: &Arc<Counters>,
    aside: Option<&Aside>,
) -> Vec<Arc<Served>> {
    let Plan { shared, queues, concurrency, grace, rules, watch, home, .. } = plan;
    let (stack, stack_is_bare) = (plan.stack, plan.stack_is_bare);
    let permits = concurrency.map(|permits| Arc::new(Semaphore::new(permits)));
    let client = shared.client.clone();
    let capabilities = client.backend().capabilities();
    // What is told of new messages in this process anyway need not be told twice.
    let rings = capabilities.remote || !capabilities.wakes;
    let serve_one = |mut plan: QueuePlan| {
        plan.jobs.count(&plan.name);
        plan.raw.iter_mut().for_each(|job| job.count(&plan.name));
        let settings = &plan.settings;
        let raw = plan.raw.as_ref().map(|job| job.registration.name);
        events::queue_served(&plan.name, settings.concurrency, &plan.jobs.names(), raw);
        let rate = settings.rate_limit.map(|rate| Arc::new(Rate::new(rate.limit, rate.per)));
        Arc::new(Served {
            rules: Rules { suspects: suspects(home.as_deref(), settings.lease), ..rules },
            home: home.clone(),
            grace,
            backend: Arc::clone(client.backend()),
            settling: Arc::clone(aside.map_or(client.backend(), Aside::backend)),
            aside: aside.map(Aside::way),
            enqueued: rings.then(|| client.wakers().subscribe(&plan.name)),
            capabilities: capabilities.clone(),
            shared: Arc::clone(&shared),
            stack: stack.clone(),
            stack_is_bare,
            reserves_nothing: stack_is_bare
                && plan.stack.is_none()
                && permits.is_none()
                && rate.is_none(),
            shutdown: shutdown.clone(),
            counters: Arc::clone(counters),
            meters: QueueMeters::new(&plan.name, settings.concurrency, watch.is_asked()),
            leases: Arc::new(Leases::new(settings.lease)),
            feed: Feed::default(),
            permits: permits.clone(),
            services: Mutex::default(),
            rate,
            pace: Mutex::new(Pace::new(settings.min_poll)),
            remembers: AtomicBool::new(false),
            vain: Mutex::default(),
            survived: Mutex::default(),
            plan,
        })
    };
    queues.into_iter().map(serve_one).collect()
}

/// A suspect asks about as often for its turn as its last worker's death has made it wait.
fn suspects(home: Option<&dyn Home>, lease: Duration) -> Suspects {
    match home {
        Some(home) if !home.is_for_suspects() => Suspects::Elsewhere { longest_wait: lease },
        _ => Suspects::Here,
    }
}

/// Makes what is missing of the worker's queues and their poison queues. A worker whose identity
/// may not do that goes on: the queues may be there.
async fn create_queues(plan: &Plan) -> Result<(), WorkerError> {
    for queue in &plan.queues {
        let spec = QueueSpec::default().lease(queue.settings.lease);
        for name in [&queue.name, &queue.poison] {
            create_queue(plan, name, &spec).await?;
        }
        check_access(plan, &queue.name).await?;
    }
    Ok(())
}

/// Ends a worker at its start that could only ever be refused.
async fn check_access(plan: &Plan, name: &QueueName) -> Result<(), WorkerError> {
    let checked = plan.shared.client.backend().check_access(name);
    match timeout(CREATE_LIMIT, checked).await {
        Ok(Err(error)) if error.kind() == ErrorKind::Unauthorized => {
            Err(WorkerError::Denied { queue: name.clone(), source: error })
        }
        Ok(Err(error)) => {
            events::queue_not_checked(name, &error);
            Ok(())
        }
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

async fn create_queue(plan: &Plan, name: &QueueName, spec: &QueueSpec) -> Result<(), WorkerError> {
    let mut wait = Duration::from_millis(250);
    let give_up = Instant::now() + START_LIMIT;
    loop {
        let created = plan.shared.client.backend().create_queue(name, spec);
        let created = timeout(CREATE_LIMIT, created).await;
        let error = match created.unwrap_or_else(|_| Err(ErrorKind::Timeout.into())) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Unauthorized {
            events::queue_not_allowed(name, &error);
            return Ok(());
        }
        let pause = error.retry_after().map_or(wait, |after| after.max(wait));
        if !error.is_retryable() || Instant::now() + pause > give_up {
            return Err(WorkerError::Queue { queue: name.clone(), source: error });
        }
        events::queue_not_created(name, &error, pause);
        sleep(pause).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A queue can be neither found nor made.
    #[error("queue `{queue}` can be neither found nor created; check the backend's settings")]
    Queue {
        /// Which.
        queue: QueueName,
        /// Why.
        source: BackendError,
    },
    /// The credentials do not let a worker serve a queue.
    #[error("queue `{queue}` may not be served with these credentials")]
    Denied {
        /// Which.
        queue: QueueName,
        /// Why.
        source: BackendError,
    },
    /// The address for health and metrics cannot be had.
    #[cfg(feature = "http")]
    #[error(
        "cannot listen on {address} for health and metrics; give each worker an address of its own"
    )]
    Http {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The process cannot listen for signals.
    #[error("cannot listen for shutdown signals; use `run` and a handle instead")]
    Signals(#[source] std::io::Error),
}
