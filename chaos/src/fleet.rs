//! The worker processes: started, watched, started again.
//!
//! Whatever supervises them for real can take the place of what is in here: the rest of the
//! harness asks for no more than this.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::history::{Event, History, Signal};
use crate::proxy::Port;
use crate::worker::{GRACE, ROLE, Role, Settings};

/// How long a process may take to end before it is killed: long enough for the checker to see.
const PATIENCE: Duration = GRACE.saturating_add(Duration::from_secs(20));

/// How long the place of a process that ended stays empty.
const BACKOFF: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Fleet {
    shared: Arc<Shared>,
    tasks: JoinSet<anyhow::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    history: History,
    dir: PathBuf,
    history_path: PathBuf,
    sabotage: Option<String>,
    places: Mutex<Vec<Place>>,
}

/// Where one process runs after the other.
#[derive(Debug)]
struct Place {
    port: Port,
    /// Of the next process.
    role: Role,
    process: Option<Process>,
    closed: bool,
}

#[derive(Debug)]
struct Process {
    pid: Pid,
    role: Role,
    paused: bool,
    leaving: bool,
}

impl Fleet {
    /// Starts a process for each port.
    pub(crate) fn start(
        history: History,
        history_path: PathBuf,
        dir: PathBuf,
        ports: Vec<(Port, Role)>,
        sabotage: Option<String>,
    ) -> Self {
        let count = ports.len();
        let place = |(port, role)| Place { port, role, process: None, closed: false };
        let places = Mutex::new(ports.into_iter().map(place).collect());
        let shared = Arc::new(Shared { history, dir, history_path, sabotage, places });
        let mut tasks = JoinSet::new();
        for place in 0..count {
            tasks.spawn(Arc::clone(&shared).keep(place));
        }
        Self { shared, tasks }
    }

    /// The places whose process is up, neither paused nor on its way out.
    pub(crate) fn up(&self) -> Vec<usize> {
        let places = self.shared.places();
        let up = places.iter().enumerate().filter(|(_, place)| {
            place.process.as_ref().is_some_and(|process| !process.paused && !process.leaving)
        });
        up.map(|(place, _)| place).collect()
    }

    /// The places whose process, or the next one, has that role.
    pub(crate) fn with_role(&self, role: Role) -> Vec<usize> {
        let places = self.shared.places();
        let with = places.iter().enumerate().filter(|(_, place)| {
            place.role == role || place.process.as_ref().is_some_and(|process| process.role == role)
        });
        with.map(|(place, _)| place).collect()
    }

    /// Sends a signal to the process there; its pid, if there is one.
    pub(crate) fn signal(&self, place: usize, signal: Signal) -> Option<u32> {
        self.shared.signal(place, signal, None)
    }

    /// Sends a signal to that process, if it is there still.
    pub(crate) fn signal_process(&self, place: usize, worker: u32, signal: Signal) {
        self.shared.signal(place, signal, Some(worker));
    }

    /// Ends the process there in good order; the next one has that role. Returns once it is up.
    pub(crate) async fn roll(&self, place: usize, role: Role) {
        self.shared.places()[place].role = role;
        let old = self.signal(place, Signal::Term);
        let up = || {
            let places = self.shared.places();
            let process = places[place].process.as_ref();
            process.is_some_and(|process| process.role == role && Some(id(process.pid)) != old)
        };
        let give_up = Instant::now() + PATIENCE + Duration::from_secs(5);
        while !up() && Instant::now() < give_up {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends all of them in good order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let count = {
            let mut places = self.shared.places();
            places.iter_mut().for_each(|place| place.closed = true);
            places.len()
        };
        for place in 0..count {
            self.signal(place, Signal::Term);
        }
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended??;
            }
            Ok(())
        };
        match timeout(PATIENCE, ended).await {
            Ok(ended) => ended,
            // The checker tells; they are killed with their tasks.
            Err(_) => Ok(()),
        }
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, place: usize, signal: Signal, only: Option<u32>) -> Option<u32> {
        let mut places = self.places();
        let process = places[place].process.as_mut()?;
        let worker = id(process.pid);
        if only.is_some_and(|only| only != worker) {
            return None;
        }
        match signal {
            Signal::Stop => process.paused = true,
            Signal::Cont => process.paused = false,
            Signal::Term | Signal::Kill => process.leaving = true,
        }
        self.history.write(Event::Signal { worker, signal });
        let number = match signal {
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Cont => rustix::process::Signal::CONT,
            Signal::Term => rustix::process::Signal::TERM,
        };
        // An error says that it is gone.
        kill_process(process.pid, number).ok().map(|()| worker)
    }

    /// Keeps a process in a place until that is closed.
    async fn keep(self: Arc<Self>, place: usize) -> anyhow::Result<()> {
        loop {
            let mut child = {
                let mut places = self.places();
                let Place { port, role, process, closed } = &mut places[place];
                if *closed {
                    return Ok(());
                }
                let child = self.spawn(place, *role, port)?;
                let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
                let pid = pid.context("a new process has no id")?;
                port.belongs_to(id(pid));
                *process = Some(Process { pid, role: *role, paused: false, leaving: false });
                let role = format!("{role:?}").to_lowercase();
                self.history.write(Event::Spawned { worker: id(pid), slot: place, role });
                child
            };
            // It would be closed by waiting, and the process end.
            let stdin = child.stdin.take();
            let worker = child.id().unwrap_or_default();
            let status = self.wait(&mut child, place).await?;
            drop(stdin);
            self.places()[place].process = None;
            self.history.write(Event::Exited {
                worker,
                code: status.code(),
                signal: std::os::unix::process::ExitStatusExt::signal(&status),
            });
            sleep(BACKOFF).await;
        }
    }

    /// Until it ends; one that was asked to and does not is killed.
    async fn wait(
        &self,
        child: &mut Child,
        place: usize,
    ) -> anyhow::Result<std::process::ExitStatus> {
        let mut asked = None;
        loop {
            if let Ok(status) = timeout(Duration::from_secs(1), child.wait()).await {
                return Ok(status?);
            }
            let leaving = self.places()[place].process.as_ref().is_some_and(|it| it.leaving);
            if leaving && asked.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                self.signal(place, Signal::Kill, None);
            }
        }
    }

    fn spawn(&self, place: usize, role: Role, port: &Port) -> anyhow::Result<Child> {
        let settings = Settings {
            role,
            connection: port.connection_string.clone(),
            history: self.history_path.clone(),
            notes: self.dir.clone(),
            sabotage: self.sabotage.clone(),
        };
        let log = self.dir.join(format!("worker-{place}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(std::env::current_exe()?)
            .env(ROLE, serde_json::to_string(&settings)?)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        child.context("start a worker")
    }
}

fn id(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get() as u32
}
