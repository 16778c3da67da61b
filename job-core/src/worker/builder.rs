//! Setting a worker up: what it can be told. What is wrong with it is found in `plan`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::config::WorkerConfig;
use super::plan::Plan;
use super::problems::{BuildError, Problems};
use super::queue::Queue;
use crate::data::DataMap;
use crate::handler::Registration;
use crate::pipeline::{JobLayer, Layers};
use crate::{Backoff, Client, Handler, Job};

/// Sets up a [`Worker`]. Made by [`Worker::builder`].
///
/// A clone sets up another worker that shares data and layers with the first.
#[derive(Clone, Debug)]
pub struct WorkerBuilder {
    pub(super) client: Client,
    pub(super) data: DataMap,
    pub(super) queues: Vec<Queue>,
    pub(super) only_jobs: Option<Vec<String>>,
    pub(super) only_complete: bool,
    pub(super) registered: Vec<Registration>,
    pub(super) linked: bool,
    /// What was set, by calls or by config, whichever was later.
    pub(super) config: WorkerConfig,
    pub(super) layers: Layers,
    pub(super) job_layers: BTreeMap<&'static str, Layers>,
    #[cfg(feature = "http")]
    pub(super) render: Option<crate::http::Render>,
    pub(super) problems: Vec<String>,
}

impl WorkerBuilder {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            data: DataMap::default(),
            queues: Vec::new(),
            only_jobs: None,
            only_complete: false,
            registered: Vec::new(),
            linked: true,
            config: WorkerConfig::default(),
            layers: Layers::default(),
            job_layers: BTreeMap::new(),
            #[cfg(feature = "http")]
            render: None,
            problems: Vec::new(),
        }
    }

    /// The client that the worker was given, for data that enqueue jobs of their own:
    ///
    /// ```
    /// # struct App { client: job_core::Client }
    /// use job_core::WorkerBuilder;
    ///
    /// fn set_up(worker: WorkerBuilder) -> WorkerBuilder {
    ///     let app = App { client: worker.client().clone() };
    ///     worker.data(app)
    /// }
    /// ```
    pub fn client(&self) -> &Client {
        &self.client
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

    /// Serves a queue. Without any, the queues of all registered jobs are served. A
    /// [config](Self::config) that chooses the queues has the last word.
    #[must_use]
    pub fn queue(mut self, mut queue: Queue) -> Self {
        if let Some(configured) = self.config.queues.get(&queue.name) {
            let called = std::mem::replace(&mut queue.config, *configured);
            queue.config.overlay(called);
        }
        self.queues.push(queue);
        self
    }

    /// Takes settings over from a file or from the environment: those that `config` says anything
    /// of, the others stay as they are.
    ///
    /// Of a setting that is both in a config and in a call, the **later** wins, field by field and
    /// for queues as well: call this last, and whoever deploys the program has the last word; call
    /// it first, and what is in the program stands. What a job says of itself precedes both.
    ///
    /// ```
    /// # fn example(client: job_core::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use job_core::{Queue, Worker, WorkerConfig};
    ///
    /// let config: WorkerConfig = serde_json::from_str(
    ///     r#"{ "timeout": "30s", "queues": { "mail": { "concurrency": 4 } } }"#,
    /// )?;
    /// let worker = Worker::builder(&client)
    ///     .queue(Queue::new("mail").concurrency(16).rate_limit(100, job_core::prelude::SECOND))
    ///     .config(config) // 4 at a time, and still 100 a second
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`serve`](WorkerConfig::serve) in a config chooses the queues that are served, whatever
    /// calls say; settings of a queue do not. Settings of a queue that is neither served nor named
    /// by any job are an error of [`build`](Self::build).
    #[must_use]
    pub fn config(mut self, config: WorkerConfig) -> Self {
        for queue in &mut self.queues {
            if let Some(configured) = config.queues.get(&queue.name) {
                queue.config.overlay(*configured);
            }
        }
        self.config.overlay(config);
        self
    }

    /// Puts a tower layer around every job of the worker, inside the timeout. The first that is
    /// added is the outermost. While it is not ready, the worker receives nothing.
    ///
    /// It is asked for its service once, whatever the number of queues:
    ///
    /// ```
    /// # fn example(client: job_core::Client) -> Result<(), job_core::BuildError> {
    /// use job_core::Worker;
    /// use tower::limit::ConcurrencyLimitLayer;
    ///
    /// let worker = Worker::builder(&client)
    ///     .layer(ConcurrencyLimitLayer::new(10)) // 10 jobs at a time over all its queues
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// See [`middleware`](crate::middleware) for the order of layers, and for what fits.
    #[must_use]
    pub fn layer(mut self, layer: impl JobLayer) -> Self {
        self.layers.add(layer);
        self
    }

    /// Puts a tower layer around every job of one kind, inside the layers of its queue:
    /// `.job_layer::<SendWelcome>(layer)`. The first that is added is the outermost.
    ///
    /// What a message holds is known once it is received. So if this layer is not ready, the job
    /// waits for it under its lease, and its timeout runs. A limit belongs on a queue instead.
    #[must_use]
    pub fn job_layer<J: Job>(mut self, layer: impl JobLayer) -> Self {
        self.job_layers.entry(J::NAME).or_default().add(layer);
        self
    }

    /// Runs only the jobs of these names. Without it, all that are registered.
    ///
    /// Messages of other jobs are put back when they come: some other worker of the same queue
    /// must run them within [`put_back_limit`](Self::put_back_limit). Jobs that are never to be
    /// seen here belong on a queue of their own.
    #[must_use]
    pub fn jobs<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.only_jobs.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }

    /// Leaves out the jobs whose `Data` the worker was not given, where they would be an error of
    /// [`build`](Self::build): for tests, each of which sets up what it needs. Jobs that are named
    /// by [`jobs`](Self::jobs) must be complete all the same.
    ///
    /// A worker that is left without any job does nothing.
    #[must_use]
    pub fn jobs_with_data(mut self) -> Self {
        self.only_complete = true;
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
        self.config.concurrency = Some(concurrency);
        self
    }

    /// How often a job is tried if neither call, job nor queue says so; 20 by default.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.config.max_attempts = Some(max_attempts);
        self
    }

    /// How long to wait between attempts if neither job nor queue says so; by default
    /// exponentially from 5 s to 10 min.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.config.backoff = Some(backoff);
        self
    }

    /// How long one attempt may take if neither job nor queue says so; 30 min by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = Some(timeout);
        self
    }

    /// How long running jobs have to finish at a shutdown; 25 s by default. Then they are
    /// cancelled and given back.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = Some(grace);
        self
    }

    /// How many times a job may take its worker process with it before it goes to the poison
    /// queue; 3 by default. Each time is an attempt, too. The first time is free where all before
    /// it is accounted for.
    ///
    /// Nobody can tell which of the jobs of a process took it away. So under a `Supervisor` a job
    /// that was there before has its last chance alone, in a process of its own; with a limit or
    /// `max_attempts` of 1 it has none.
    #[must_use]
    pub fn crash_limit(mut self, crash_limit: u32) -> Self {
        self.config.crash_limit = Some(crash_limit);
        self
    }

    /// How long in sum a message is put back that this worker does not know what to do with: an
    /// unknown job, a newer format, args that do not fit. A deploy under way may explain it. Then
    /// it goes to the poison queue. A day by default.
    #[must_use]
    pub fn put_back_limit(mut self, limit: Duration) -> Self {
        self.config.put_back_limit = Some(limit);
        self
    }

    /// How often the backend is asked for backlog, age of the oldest message and poison of each
    /// queue; 30 s by default. It is asked only where somebody wants to know: where a recorder of
    /// the `metrics` facade is there when the worker starts, or with `http`.
    ///
    /// It costs requests: on Azure Queue Storage three for each queue and time, so 8,640 a day for
    /// each worker by default, or $0.10 a month.
    #[must_use]
    pub fn sample_every(mut self, every: Duration) -> Self {
        self.config.sample_every = Some(every);
        self
    }

    /// How the span of a run is connected with the one in which its job was enqueued;
    /// [`Parent`](crate::telemetry::TraceRelation::Parent) by default.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn traces(mut self, relation: crate::telemetry::TraceRelation) -> Self {
        self.config.traces = Some(relation);
        self
    }

    /// Serves health, metrics and scaling figures over HTTP at that address while the worker runs:
    /// see [`http`](crate::http). Off by default. Nothing there is secret, and nothing is guarded:
    /// let it be a loopback address, as a port alone is, or one that only the cluster can reach.
    ///
    /// ```
    /// # fn example(client: job_core::Client) -> Result<(), job_core::BuildError> {
    /// use job_core::Worker;
    ///
    /// let worker = Worker::builder(&client).http(([127, 0, 0, 1], 9090)).build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(mut self, address: impl Into<std::net::SocketAddr>) -> Self {
        self.config.http = Some(address.into());
        self
    }

    /// How long the worker may not move before `/livez` says so; 60 s by default.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.config.stall_limit = Some(limit);
        self
    }

    /// What `/metrics` answers, for programs that have a recorder of their own:
    /// `.render_metrics(move || prometheus.render())`. Without it the worker installs one for
    /// Prometheus when it starts, unless the program has any.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn render_metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.render = Some(crate::http::Render::new(render));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError`] lists all mistakes at once.
    pub fn build(mut self) -> Result<Worker, BuildError> {
        let mut problems = Problems::new(std::mem::take(&mut self.problems));
        if cfg!(panic = "abort") {
            problems.add(
                "the program is built with `panic = \"abort\"`, so a panicking job would end the \
                 worker; remove it from the Cargo profile",
            );
        }
        Plan::new(self, problems).map(Worker::new)
    }
}
