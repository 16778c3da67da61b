//! What a worker process does.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "sabotage")]
use anyhow::Context as _;
use job_azure::{Account, AzureBackend};
use job_core::middleware::Call;
use job_core::supervisor::WorkerProcess;
use job_core::{BoxError, Client, Job, Outcome, Queue, Supervisor, Worker};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tower::{Layer, Service};
use tracing_subscriber::EnvFilter;

use crate::history::{Event, History};
use crate::jobs::{Newcomer, Ordeal, QUEUE, Stage};

/// The variable by which a process knows that it is a supervisor or a worker: [`Settings`] as JSON.
pub(crate) const ROLE: &str = "JOB_CHAOS_WORKER";

/// The variable in which a supervisor tells a process its name.
const PROCESS: &str = "SUPERVISED_WORKER";

/// What a supervisor says of processes that outstayed their time.
pub(crate) const HAD_TO_KILL: &str = "it had to kill";

/// The name of the process for suspects.
pub(crate) const SUSPECTS: &str = "suspects";

pub(crate) const LEASE: Duration = Duration::from_secs(5);
pub(crate) const GRACE: Duration = Duration::from_secs(4);
pub(crate) const MAX_POLL: Duration = Duration::from_secs(1);
pub(crate) const CRASH_LIMIT: u32 = 3;

/// The address space of a process: plenty for jobs, little for one that devours it.
const MEMORY: u64 = 3 << 30;

/// A process is replaced when it has started so many jobs.
const MAX_JOBS: u64 = 60;

/// A process that was silent for so long is killed: some of those that are paused.
const SILENCE: Duration = Duration::from_secs(8);

/// What a supervisor and its processes are told at their start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Where processes report, and learn the rest.
    pub(crate) desk: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) history: PathBuf,
    pub(crate) notes: PathBuf,
}

/// The first word of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) pid: u32,
    /// By which its supervisor calls it.
    pub(crate) name: String,
}

/// The answer to it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) role: Role,
    pub(crate) connection: String,
    /// How it is broken on purpose.
    pub(crate) sabotage: Option<String>,
}

/// Which release it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Does not know the newcomer.
    Old,
    New,
}

/// A client whose requests end well within a lease.
pub(crate) fn client(connection: &str) -> anyhow::Result<Client> {
    let backend = AzureBackend::builder(Account::from_connection_string(connection)?)
        .connect_timeout(Duration::from_millis(500))
        .request_timeout(Duration::from_millis(800))
        .operation_timeout(Duration::from_millis(1200))
        .build()?;
    Ok(Client::new(backend))
}

pub(crate) fn main(settings: &str) -> anyhow::Result<ExitCode> {
    let settings: Settings = serde_json::from_str(settings)?;
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,typespec_client_core=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if std::env::var_os(PROCESS).is_none() {
        end_with_parent();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let supervisor = Supervisor::new()
        .processes(settings.workers)
        .max_jobs(MAX_JOBS)
        .silence(SILENCE)
        .backoff(Duration::from_millis(200), Duration::from_secs(1))
        .crash_loop(50, Duration::from_secs(5));
    let history = History::open(&settings.history)?;
    let report = runtime.block_on(supervisor.run(async |process| work(settings, process).await));
    let report = report?;
    tracing::info!("{report}");
    if report.killed_late > 0 {
        let why = format!("{HAD_TO_KILL} {} processes that did not end", report.killed_late);
        history.write(Event::Supervisor { why });
    }
    Ok(ExitCode::SUCCESS)
}

/// What each of the processes does.
async fn work(settings: Settings, process: WorkerProcess) -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) })?;
    let told = report(&settings, &process)?;
    #[cfg(feature = "sabotage")]
    if let Some(how) = &told.sabotage {
        let known = job_core::sabotage::Sabotage::ALL.iter().find(|(name, _)| name == how);
        job_core::sabotage::sabotage(known.context("no such sabotage")?.1);
    }
    let history = History::open(&settings.history)?;
    let witness = WitnessLayer { history: history.clone() };
    let client = client(&told.connection)?;
    let queue = Queue::new(QUEUE)
        .concurrency(8)
        .lease(LEASE)
        .min_poll(Duration::from_millis(100))
        .max_poll(MAX_POLL)
        .layer(witness);
    let jobs = match told.role {
        Role::Old => vec![Ordeal::NAME],
        Role::New => vec![Ordeal::NAME, Newcomer::NAME],
    };
    let worker = Worker::builder(&client)
        .data(Stage { history, notes: settings.notes })
        .queue(queue)
        .jobs(jobs)
        .grace(GRACE)
        .crash_limit(CRASH_LIMIT)
        .build()?;
    process.run(worker).await?;
    Ok(())
}

/// Tells the harness that this process is there, and learns what it is to do. The connection ends
/// with the process.
fn report(settings: &Settings, process: &WorkerProcess) -> anyhow::Result<Told> {
    let desk = TcpStream::connect(settings.desk)?;
    let hello = Hello { pid: std::process::id(), name: process.name().to_owned() };
    let mut line = serde_json::to_vec(&hello)?;
    line.push(b'\n');
    (&desk).write_all(&line)?;
    let mut told = String::new();
    BufReader::new(&desk).read_line(&mut told)?;
    std::mem::forget(desk);
    Ok(serde_json::from_str(&told)?)
}

/// Ends the process when its parent does, however that ends: then its standard input does.
fn end_with_parent() {
    std::thread::spawn(|| {
        let mut buffer = [0];
        while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
        std::process::exit(2);
    });
}

/// Writes down what the stack around a handler sees.
#[derive(Clone, Debug)]
struct WitnessLayer {
    history: History,
}

#[derive(Clone, Debug)]
struct Witness<S> {
    inner: S,
    history: Arc<History>,
}

impl<S> Layer<S> for WitnessLayer {
    type Service = Witness<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Witness { inner, history: Arc::new(self.history.clone()) }
    }
}

impl<S> Service<Call> for Witness<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let (job, attempt) = (call.id().to_string(), call.attempt());
        self.history.write(Event::Entered { job: job.clone(), attempt });
        let history = Arc::clone(&self.history);
        let running = self.inner.call(call);
        Box::pin(async move {
            let result = running.await;
            let outcome = match &result {
                Ok(Outcome::Done) => "done",
                Ok(Outcome::Retry { .. }) => "retry",
                Ok(Outcome::Permanent { .. }) => "permanent",
                Ok(Outcome::Discard { .. }) => "discard",
                Ok(Outcome::Snooze { .. }) => "snooze",
                Ok(Outcome::GivenBack) => "given back",
                Ok(_) => "other",
                Err(_) => "error",
            };
            history.write(Event::Left { job, outcome: outcome.to_owned() });
            result
        })
    }
}
