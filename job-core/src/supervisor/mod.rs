//! Several processes of this program that run jobs, and a supervisor that keeps them running.
//!
//! Whatever a job does to its process, the others go on: an abort and a stack overflow end one
//! process, which is started again. So does running out of memory, where the kernel kills that
//! process alone: Kubernetes on cgroup v2 has the whole container killed, this one included, unless
//! the kubelet is told otherwise (`singleProcessOOMKill`), and systemd stops the service unless it has
//! `OOMPolicy=continue`.
//!
//! ```no_run
//! use job_core::{Client, Queue, Supervisor, Worker};
//!
//! # fn client() -> Result<Client, std::io::Error> { Err(std::io::ErrorKind::Unsupported.into()) }
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let report = Supervisor::new()
//!         .processes(4)
//!         .max_memory(512 << 20)
//!         .run(async |process| {
//!             let client: Client = client()?; // to Azure, say: queues in memory are not shared
//!             let worker = Worker::builder(&client).queue(Queue::new("mail")).build()?;
//!             Ok::<_, Box<dyn std::error::Error + Send + Sync>>(process.run(worker).await?)
//!         })
//!         .await?;
//!     println!("{report}"); // in the supervisor alone
//!     Ok(())
//! }
//! ```
//!
//! # How it works
//!
//! [`Supervisor::run`] starts this program again, with the same args, as often as there are to be
//! processes; there, `run` calls the closure, and ends the process when it is done: it returns in
//! the supervisor alone. What `main` does before `run` is done in every process, so let it be short:
//! args, logging. Neither a runtime nor anything that `run` is to share comes from the supervisor.
//!
//! - **Restarts.** A process that ends, for whatever reason, is started again, after a
//!   [pause](Supervisor::backoff) that doubles while it happens again and again. A program that
//!   cannot get to the point of serving, where its worker has found its queues, is in a crash loop
//!   when it ended before that [five times](Supervisor::crash_loop) in a row: its settings are
//!   wrong, say, or its backend cannot be reached. Then the others are stopped, and `run` returns
//!   the error. What ends it after that point, such as a job, is never a reason to give up.
//! - **Shutdown.** SIGTERM, ctrl-c or a [handle](Supervisor::handle) reaches all processes, whose
//!   workers have their grace time. A second signal skips it. What is not gone 2 s later is killed.
//!   SIGTERM to one process ends that one in good order; it is started again. A supervisor that is
//!   killed is noticed by its processes, which end as by SIGTERM.
//! - **Signs of life** come every second from a thread of their own, so a handler that blocks the
//!   runtime does not count as dead. Who gives none for [30 s](Supervisor::silence), being stopped
//!   or stuck, is killed and started again.
//! - **What a process has started**, such as an encoder, is in its process group unless it left it,
//!   and is killed with it when the supervisor kills it. When it ends otherwise, that is its own.
//! - **Recycling.** A process that has [too much memory](Supervisor::max_memory) or
//!   [enough jobs](Supervisor::max_jobs) behind it is replaced: once its successor has found its
//!   queues, it takes no more jobs, finishes those it has, however long they take, and ends. The
//!   [handle](SupervisorHandle::processes) shows it until then, and a warning every ten minutes says
//!   that it is still there. Where no successor can be started, nothing changes.
//! - **Suspects.** A job of which two starts on record ended with the process going away, or one if
//!   there may not be another, is not run beside others again: it is handed over to a process of its
//!   own, started when needed, one such job at a time. Others are given back meanwhile, not charged.
//!   See [`crash_limit`](crate::WorkerBuilder::crash_limit) for what becomes of it.
//!
//! Log lines of a process are in a span `worker` with the field `process`; those of the supervisor
//! have that field, too. Stdout and stderr are the supervisor's own; stdin is empty.
//!
//! Queues, rate limits and concurrency are for each process: four processes with a concurrency of
//! 16 run 64 jobs at a time, and a few more while one of them is replaced.

mod child;
mod handle;
mod memory;
mod pool;
mod process;
mod report;
mod slot;
mod wire;

use std::future::Future;
use std::time::Duration;

use tracing::Instrument;

use self::child::{Limits, Program};
pub use self::handle::SupervisorHandle;
use self::pool::Pool;
use self::process::Link;
pub use self::process::WorkerProcess;
pub use self::report::{ProcessState, ProcessStatus, SupervisorError, SupervisorReport};
use self::slot::Restarts;
use crate::BoxError;
use crate::worker::Signals;

/// The grace time of a process whose worker has not told it yet: that of a worker by default.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// A process that has not ended so long after its grace time is killed. A little less than 2 s, so
/// that it is gone by then.
const AFTER_GRACE: Duration = Duration::from_millis(1900);

/// Runs workers in several processes of this program: see [the module](self).
#[derive(Debug)]
#[must_use = "it does nothing until it is run"]
pub struct Supervisor {
    settings: Settings,
    handle: SupervisorHandle,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    processes: usize,
    limits: Limits,
    max_jobs: Option<u64>,
    restarts: Restarts,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor of one process.
    pub fn new() -> Self {
        let settings = Settings {
            processes: 1,
            limits: Limits { silence: Duration::from_secs(30), memory: None },
            max_jobs: None,
            restarts: Restarts {
                first: Duration::from_secs(1),
                longest: Duration::from_secs(60),
                well: Duration::from_secs(60),
                limit: 5,
            },
        };
        Self { settings, handle: SupervisorHandle::new() }
    }

    /// How many processes run jobs; 1 by default. The supervisor runs none itself.
    pub fn processes(mut self, processes: usize) -> Self {
        self.settings.processes = processes;
        self
    }

    /// The most resident memory that a process may have, in bytes, before it is replaced; no limit
    /// by default. It is looked at every two seconds: this is for slow leaks, and no hard limit.
    /// One that has more before it has lived [well](Self::crash_loop) is kept for the longest pause
    /// of [`backoff`](Self::backoff) first, with a warning: a limit below what the program needs at
    /// its start would have it replaced for ever.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.settings.limits.memory = Some(bytes);
        self
    }

    /// How many jobs a process starts before it is replaced; no limit by default. Those that it
    /// starts within a second or so after that come on top.
    pub fn max_jobs(mut self, jobs: u64) -> Self {
        self.settings.max_jobs = Some(jobs);
        self
    }

    /// How long a process may give no sign of life before it is killed; 30 s by default, 3 s at
    /// least. It includes what the program does from its start to [`run`](Self::run).
    pub fn silence(mut self, silence: Duration) -> Self {
        self.settings.limits.silence = silence;
        self
    }

    /// How long after its death a process is started again: `first`, then twice as long each time,
    /// up to `longest`; from 1 s to 60 s by default. It is `first` again after one that had finished
    /// a job, as its last sign of life said, or lived [well](Self::crash_loop).
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.restarts.first = first;
        self.settings.restarts.longest = longest;
        self
    }

    /// How many deaths in a row of one process are a crash loop, counting those before it serves:
    /// before a worker in [`WorkerProcess::run`] has found its queues. One that serves begins the
    /// count anew. `well` is how long a life must be for the [pause](Self::backoff) to begin anew.
    /// 5 and 60 s by default.
    pub fn crash_loop(mut self, deaths: u32, well: Duration) -> Self {
        self.settings.restarts.limit = deaths;
        self.settings.restarts.well = well;
        self
    }

    /// A handle to end the supervisor by, and to see how its processes are.
    pub fn handle(&self) -> SupervisorHandle {
        self.handle.clone()
    }

    /// In the supervisor: starts the processes and keeps them running until SIGTERM, ctrl-c or a
    /// handle ends it.
    ///
    /// In a process that it started: calls `worker` and ends the process when that returns, with
    /// status 0 or, at an error, 1; the error is told to the supervisor, which logs it. To have
    /// something done at the end of a process, such as sending off the last traces, do it in
    /// `worker` after [`WorkerProcess::run`].
    ///
    /// # Errors
    /// [`SupervisorError`]: a setting makes no sense, the system does not let this process start
    /// others, or a process is in a crash loop.
    pub async fn run<F, Fut, T, E>(self, worker: F) -> Result<SupervisorReport, SupervisorError>
    where
        F: FnOnce(WorkerProcess) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        if let Some(link) = Link::find() {
            let link = link.map_err(system("reach the supervisor of this process"))?;
            let span = link.span();
            link.run(worker).instrument(span).await;
        }
        let Self { settings, handle } = self;
        settings.check()?;
        let program = Program::own().map_err(system("find this program's own file"))?;
        let signals = Signals::new().map_err(system("listen for signals"))?;
        Pool::new(program, settings, handle).run(signals).await
    }
}

impl Settings {
    fn check(&self) -> Result<(), SupervisorError> {
        let Self { processes, limits, max_jobs, restarts } = self;
        let problem = if *processes == 0 {
            "a supervisor of 0 processes runs no job; use at least 1"
        } else if *processes > 1024 {
            "a supervisor has 1024 processes at most"
        } else if limits.silence < Duration::from_secs(3) {
            "processes give a sign of life each second; let `silence` be 3 s at least"
        } else if *max_jobs == Some(0) || limits.memory == Some(0) {
            "with a limit of 0 every process would be replaced at once; use at least 1"
        } else if restarts.first > restarts.longest {
            "the first pause of `backoff` is longer than its longest; swap them"
        } else if restarts.limit == 0 {
            "0 deaths are no crash loop; use at least 1"
        } else {
            return Ok(());
        };
        Err(SupervisorError::Settings(problem))
    }
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> SupervisorError {
    move |source| SupervisorError::System { what, source }
}
