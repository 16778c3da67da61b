//! Setting a test up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use job_core::backend::Backend;
use job_core::{
    BuildError, Client, Description, Queue, QueueConfig, QueueName, Worker, WorkerBuilder,
    WorkerConfig,
};

use super::TestJobs;
use super::backend::TestBackend;
use super::inline::Inline;
use super::stage::Stage;
use super::witness::WitnessLayer;
use crate::MemoryBackend;

/// Sets [`TestJobs`] up. Made by [`TestJobs::builder`].
#[must_use = "nothing is set up before `.build()`"]
pub struct TestJobsBuilder {
    backend: Option<Arc<dyn Backend>>,
    default_queue: Option<String>,
    real_clock: bool,
    inline: bool,
    changes: Vec<Box<dyn FnOnce(WorkerBuilder) -> WorkerBuilder + Send>>,
}

/// Of all that is left to chance in a worker, such as the jitter of backoffs.
const SEED: u64 = 7;

/// How time passes for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// Tokio's paused clock.
    Paused,
    /// Tokio's clock is the real one, and that of the queues can be put forward.
    Skipping,
    /// All there is to do is to wait.
    Real,
}

/// What makes the workers of a test, one after the other.
#[derive(Clone, Debug)]
pub(super) struct SetUp {
    builder: WorkerBuilder,
    /// The names of the jobs that it runs.
    names: BTreeSet<String>,
    /// The app has said which jobs those are.
    chosen_jobs: bool,
    /// The app has said which queues are served.
    chosen_queues: bool,
}

impl TestJobsBuilder {
    pub(super) fn new() -> Self {
        Self {
            backend: None,
            default_queue: None,
            real_clock: false,
            inline: false,
            changes: Vec::new(),
        }
    }

    /// Gives handlers a value as `Data<T>`. Jobs whose data is not complete are left out, and fail
    /// the test if they are due all the same.
    pub fn data<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.data_arc(Arc::new(value))
    }

    /// Gives handlers a shared value as `Data<T>`; `T` may be a trait object:
    /// `.data_arc::<dyn Mailer>(Arc::new(FakeMailer::default()))`.
    pub fn data_arc<T: ?Sized + Send + Sync + 'static>(self, shared: Arc<T>) -> Self {
        self.worker(|worker| worker.data_arc(shared))
    }

    /// Sets the worker up as the app does: `.worker(|worker| app::set_up(worker, deps))`, with a
    /// function of the app's own that adds data, queues, layers and whatever else there is to a
    /// [`WorkerBuilder`]. Whatever it says, the worker of a test runs one job at a time.
    pub fn worker(
        mut self,
        change: impl FnOnce(WorkerBuilder) -> WorkerBuilder + Send + 'static,
    ) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// The queue of jobs that name none: see [`Client::with_default_queue`].
    pub fn default_queue(mut self, name: impl Into<String>) -> Self {
        self.default_queue = Some(name.into());
        self
    }

    /// Runs each job at its enqueue, within the call, once: an error of the job is the error of the
    /// call, which carries it as the source of its source. Nothing is tried again.
    ///
    /// That error is written with its sources: `{e:#}` of anyhow, or a walk along
    /// [`source`](std::error::Error::source). Its first line says only that the enqueue failed.
    ///
    /// A job with a delay goes to its queue, as does one that snoozes; `advance` and `drain` run it.
    /// What cannot run at all fails its enqueue: a job whose `Data` is missing or that has no
    /// handler, a queue that nobody serves, and jobs that enqueue jobs more than 20 deep. Only if
    /// the set-up names [`jobs`](WorkerBuilder::jobs), others are left on their queues.
    pub fn inline(mut self) -> Self {
        self.inline = true;
        self
    }

    /// For a test that also holds real sockets: a paused clock would jump to their timeouts
    /// whenever the test waits for them. Tokio's clock runs as it does, and
    /// [`advance`](TestJobs::advance) puts the clock of the queues forward, which takes no time.
    pub fn real_clock(mut self) -> Self {
        self.real_clock = true;
        self
    }

    /// Puts the jobs on another backend, such as an emulator of the service that production uses:
    /// the same test on the real thing. There `advance` has to wait as long as it says.
    ///
    /// Other tests may use the same service: the kit puts a name of its own before each queue's.
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backend = Some(Arc::new(backend));
        self
    }

    /// Checks everything.
    ///
    /// The jitter of backoffs is the same in every run of the test, on a runtime of one thread:
    /// this seeds the generator that `fastrand` has for the thread.
    ///
    /// # Panics
    /// If something is wrong with the worker's set-up, with all mistakes in one message, or with
    /// the clock: it has to be paused (`#[tokio::test(start_paused = true)]`), unless
    /// [`real_clock`](Self::real_clock) says otherwise.
    #[track_caller]
    pub fn build(self) -> TestJobs {
        let Self { backend, default_queue, real_clock, inline, changes } = self;
        let remote = backend.as_ref().is_some_and(|backend| backend.capabilities().remote);
        let time = check_clock(real_clock || remote, backend.is_none());
        fastrand::seed(SEED);
        let stage = Arc::new(match backend {
            Some(backend) => Stage::on(backend),
            None => Stage::own(own_queues()),
        });
        let mut client = Client::new(TestBackend(Arc::clone(&stage)));
        if let Some(name) = default_queue {
            client = match client.with_default_queue(&name) {
                Ok(client) => client,
                Err(error) => panic!("`.default_queue({name:?})`: {error}"),
            };
        }
        // The witness first, so that no layer of the app is outside of it.
        let builder =
            Worker::builder(&client).layer(WitnessLayer(Arc::clone(&stage))).jobs_with_data();
        let builder = changes.into_iter().fold(builder, |builder, change| change(builder));
        let (set_up, worker) = match SetUp::new(builder) {
            Ok(set_up) => set_up,
            Err(error) => panic!("the worker of this test cannot be built: {error}"),
        };
        let (set_up, worker) = (Arc::new(set_up), Arc::new(worker));
        let queues = worker.describe().queues.iter();
        let queues = queues.map(|queue| queue.name.parse().expect("a checked name"));
        stage.serve(queues.collect::<BTreeSet<QueueName>>());
        if inline {
            stage.run_inline(Inline::new(&worker, &set_up));
        }
        TestJobs::assemble(client, stage, set_up, worker, time)
    }
}

impl SetUp {
    fn new(builder: WorkerBuilder) -> Result<(Self, Worker), BuildError> {
        let worker = builder.clone().build()?;
        // One job at a time, so that runs come in the same order every time.
        let one = |name: &str| {
            let mut queue = QueueConfig::default();
            queue.concurrency = Some(1);
            (name.to_owned(), queue)
        };
        let queues = worker.describe().queues.iter().map(|queue| one(&queue.name));
        let mut config = WorkerConfig::default();
        config.queues = queues.collect::<BTreeMap<_, _>>();
        let chosen_jobs = chooses_jobs(&builder);
        let chosen_queues = chooses_queues(&builder);
        let builder = builder.config(config);
        let worker = builder.clone().build()?;
        let names = names(worker.describe());
        Ok((Self { builder, names, chosen_jobs, chosen_queues }, worker))
    }

    /// Whether the worker runs jobs of that name.
    pub(super) fn runs(&self, job: &str) -> bool {
        self.names.contains(job)
    }

    /// Whether a job that the worker does not run is for another worker.
    pub(super) fn leaves_jobs_to_others(&self) -> bool {
        self.chosen_jobs
    }

    /// Whether a queue that the worker does not serve is for another worker.
    pub(super) fn leaves_queues_to_others(&self) -> bool {
        self.chosen_queues
    }

    /// A worker like the one before.
    pub(super) fn worker(&self) -> Worker {
        self.builder.clone().build().expect("it was built once already")
    }

    /// Why a job is not among those that the worker runs, if it could be.
    pub(super) fn why_not(&self, job: &str) -> Option<String> {
        let error = self.builder.clone().jobs([job]).build().err()?;
        let problem = error.problems().find(|problem| problem.contains("needs Data<"));
        problem.map(ToOwned::to_owned)
    }
}

/// Whether there is a choice of jobs: one more choice, of none, changes nothing then.
fn chooses_jobs(builder: &WorkerBuilder) -> bool {
    let none = builder.clone().jobs(Vec::<String>::new()).build();
    none.is_ok_and(|worker| !worker.describe().jobs.is_empty())
}

/// Whether there is a choice of queues: without one, one more queue is the only one.
fn chooses_queues(builder: &WorkerBuilder) -> bool {
    const MORE: &str = "one-more-queue";
    let more = builder.clone().queue(Queue::new(MORE)).build();
    more.is_ok_and(|worker| worker.describe().queues.iter().any(|queue| queue.name != MORE))
}

/// All names of the jobs that a worker runs.
fn names(description: &Description) -> BTreeSet<String> {
    let names = description.jobs.iter().flat_map(|job| {
        let aliases = job.aliases.iter().copied();
        std::iter::once(job.name).chain(aliases)
    });
    names.map(ToOwned::to_owned).collect()
}

/// Queues on which a delay may be as long as it likes, so that there are no hops to tell of.
fn own_queues() -> MemoryBackend {
    let mut capabilities = MemoryBackend::new().capabilities().clone();
    capabilities.max_delay = Duration::from_secs(100 * 365 * 24 * 3600);
    MemoryBackend::with_capabilities(capabilities)
}

#[track_caller]
fn check_clock(real: bool, own: bool) -> Time {
    match (real, is_paused()) {
        (false, true) => Time::Paused,
        (true, false) if own => Time::Skipping,
        (true, false) => Time::Real,
        (false, false) => panic!(
            "the clock is not paused, so delays would be waited for: write \
             `#[tokio::test(start_paused = true)]` over the test (tokio's feature `test-util`), or \
             `.real_clock()` in the builder of `TestJobs` if the test holds real sockets"
        ),
        (true, true) => panic!(
            "the clock is paused, so the timeouts of sockets would fire at once: leave \
             `start_paused = true` out of the `#[tokio::test]`, or `.real_clock()` and `.backend(..)` \
             out of the builder of `TestJobs`"
        ),
    }
}

/// Whether tokio's clock stands still while the real one goes on. There is no way to ask it.
fn is_paused() -> bool {
    let (tokio, real) = (tokio::time::Instant::now(), Instant::now());
    while real.elapsed() < Duration::from_micros(20) {
        std::hint::spin_loop();
    }
    tokio.elapsed().is_zero()
}

impl fmt::Debug for TestJobsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestJobsBuilder")
            .field("real_clock", &self.real_clock)
            .field("inline", &self.inline)
            .finish_non_exhaustive()
    }
}
