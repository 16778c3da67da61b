//! The program that is supervised. It says what happens on stdout, a line in one write each:
//! `start ORDER PROCESS PID ATTEMPT`, `done ORDER PROCESS PID ATTEMPT`; a process also says
//! `asked PROCESS PID` when its supervisor asks it to end and `signal PROCESS PID` at a SIGTERM. The
//! process with `http` says `http PROCESS PID ADDRESS` once it has that. The
//! supervisor says `state PROCESS STATE PID RESTARTS`, and at its end `report ..` or `error ..`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitCode, abort, id};
use std::time::Duration;

use job_azure::{Account, AzureBackend};
use job_core::prelude::*;
use job_core::supervisor::{ProcessStatus, WorkerProcess};
use job_core::{BoxError, Supervisor};
use tokio::signal::unix::SignalKind;

/// What a supervisor and its processes are told: `name=value` pairs.
pub const SETTINGS: &str = "SUPERVISOR_TEST";

/// The lease of its queue.
pub const LEASE: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    fn read() -> Option<Self> {
        let text = std::env::var(SETTINGS).ok()?;
        let pairs = text.split('\n').filter_map(|pair| pair.split_once('='));
        Some(Self(pairs.map(|(name, value)| (name.into(), value.into())).collect()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_secs)
    }
}

pub fn client(connection: &str) -> Client {
    let account = Account::from_connection_string(connection).unwrap();
    Client::new(AzureBackend::new(account).unwrap())
}

/// Runs as a supervisor or one of its processes, if this is one.
pub fn run() -> Option<ExitCode> {
    let settings = Settings::read()?;
    tracing_subscriber::fmt()
        .with_env_filter("info,typespec_client_core=warn")
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    // 0 of them: all is done on the main one.
    let threads = settings.number("threads").unwrap_or(2) as usize;
    let mut runtime = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(threads.max(1)).enable_all().build().unwrap();
    Some(runtime.block_on(supervise(settings)))
}

async fn supervise(settings: Settings) -> ExitCode {
    let mut supervisor = Supervisor::new()
        .processes(settings.number("processes").unwrap_or(1) as usize)
        .backoff(Duration::from_millis(50), Duration::from_millis(400))
        .silence(settings.seconds("silence").unwrap_or(Duration::from_secs(30)));
    if let Some(jobs) = settings.number("max_jobs") {
        supervisor = supervisor.max_jobs(jobs);
    }
    if let Some(bytes) = settings.number("max_memory") {
        supervisor = supervisor.max_memory(bytes);
    }
    if let Some(deaths) = settings.number("crash_loop") {
        supervisor = supervisor.crash_loop(deaths as u32, Duration::from_secs(60));
    }
    let mut states = supervisor.handle().watch();
    let show = async {
        loop {
            let now = states.borrow_and_update().clone();
            let mut last = String::new();
            for ProcessStatus { process, state, pid, restarts, .. } in now {
                // Whoever was replaced comes after its successor.
                let what = if process == last { "retired" } else { "state" };
                say(&format!("{what} {process} {state:?} {} {restarts}", pid.unwrap_or(0)));
                last = process;
            }
            if states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let run = supervisor.run(|process| work(process, settings));
    let ended = tokio::select! {
        ended = run => ended,
        () = show => unreachable!(),
    };
    match ended {
        Ok(report) => {
            say(&format!("report {report}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("error {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What one process does.
async fn work(process: WorkerProcess, settings: Settings) -> Result<(), BoxError> {
    let gates = Gates(settings.get("gates").ok_or("no gates")?.into());
    // Those for suspects only until the test lets them.
    let start = match process.name() {
        "suspects" if !gates.is_open("suspects") => settings.get("suspects_start"),
        _ => settings.get("start"),
    };
    match start {
        Some("fail") => return Err("the database is not there".into()),
        Some("abort") => abort(),
        _ => {}
    }
    let name = settings.get("queue").ok_or("no queue")?;
    let grace = settings.seconds("grace").unwrap_or(Duration::from_secs(20));
    let client = client(settings.get("connection").ok_or("no connection")?);
    let concurrency = settings.number("concurrency").unwrap_or(4) as usize;
    let queue = |name: &str| {
        Queue::new(name).concurrency(concurrency).lease(LEASE).max_poll(Duration::from_millis(300))
    };
    let mut worker =
        Worker::builder(&client).data(gates).data(process.clone()).queue(queue(name)).grace(grace);
    for more in settings.get("more").into_iter().flat_map(|more| more.split(',')) {
        worker = worker.queue(queue(&format!("{name}-{more}")));
    }
    if let Some(port) = settings.number("http") {
        worker = worker.http(([127, 0, 0, 1], port as u16));
    }
    let worker = worker.build()?;
    let handle = worker.handle();
    let tell_address = async {
        let address = handle.http_address().await;
        say(&format!("http {} {} {address}", process.name(), id()));
        std::future::pending::<()>().await;
    };
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let tell_asked = async {
        process.shutdown().await;
        say(&format!("asked {} {}", process.name(), id()));
        std::future::pending::<()>().await;
    };
    let tell_signals = async {
        while terminate.recv().await.is_some() {
            say(&format!("signal {} {}", process.name(), id()));
        }
    };
    tokio::select! {
        ended = process.run(worker) => drop(ended?),
        () = tell_address => unreachable!(),
        () = tell_asked => unreachable!(),
        () = tell_signals => unreachable!(),
    }
    Ok(())
}

/// The folder where a test lays a file to let a job go on.
pub struct Gates(PathBuf);

impl Gates {
    fn is_open(&self, order: &str) -> bool {
        self.0.join(order).exists()
    }

    async fn wait(&self, order: &str) {
        while !self.is_open(order) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[job(queue = "supervised", timeout = "2m", backoff = fixed("1s"))]
pub async fn act(
    order: String,
    gates: Data<Gates>,
    process: Data<WorkerProcess>,
    cx: JobContext,
) -> Result<(), JobError> {
    let (name, pid) = (process.name(), id());
    say(&format!("start {order} {name} {pid} {}", cx.attempt()));
    match order.split('-').next().unwrap_or_default() {
        "gate" => gates.wait(&order).await,
        // Kills its process twice, and behaves in the one for suspects.
        "twice" if cx.attempt() < 3 => abort(),
        "twice" => gates.wait(&order).await,
        "block" => {
            while !gates.is_open(&order) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Does not go on once it was cancelled.
        "hold" => tokio::select! {
            biased;
            () = cx.cancellation().cancelled() => std::future::pending().await,
            () = gates.wait(&order) => {}
        },
        // Ignores that it is cancelled.
        "deaf" => loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
        },
        // On a thread of its own, for ever.
        "spin" => {
            tokio::task::spawn_blocking(|| {
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            })
            .await?
        }
        "poison" => return Err(JobError::permanent("cannot be done")),
        "abort" => abort(),
        "overflow" => assert_ne!(overflow(1), 1),
        "oom" => out_of_memory(),
        "nap" => tokio::time::sleep(Duration::from_secs(3)).await,
        "slow" => tokio::time::sleep(Duration::from_secs(1)).await,
        "leak" => {
            std::mem::forget(std::hint::black_box(vec![1_u8; 200 << 20]));
            gates.wait(&order).await;
        }
        _ => {}
    }
    say(&format!("done {order} {name} {pid} {}", cx.attempt()));
    Ok(())
}

#[allow(unconditional_recursion, reason = "the stack is to overflow")]
fn overflow(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    overflow(page[7] + 1) + page[9]
}

/// Takes memory until there is none, which its process notices first.
fn out_of_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    setrlimit(Resource::As, limit).unwrap();
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

pub fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}
