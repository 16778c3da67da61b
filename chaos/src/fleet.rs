//! The worker processes: a supervisor runs them, and each of them reports to the harness, which
//! tells it its role and a way to the queue of its own, and sees when it is gone.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::history::{Event, History, Signal};
use crate::proxy::Proxy;
use crate::worker::{GRACE, Hello, ROLE, Role, SUSPECTS, Settings, Told};

/// How long processes may take to end before the harness goes on: long enough for the checker to
/// see.
const PATIENCE: Duration = GRACE.saturating_add(Duration::from_secs(15));

#[derive(Debug)]
pub(crate) struct Fleet {
    shared: Arc<Shared>,
    settings: Settings,
    log: PathBuf,
    supervisor: tokio::sync::Mutex<Option<Child>>,
    _desk: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    history: History,
    proxy: Arc<Proxy>,
    sabotage: Option<String>,
    processes: Mutex<BTreeMap<u32, Process>>,
    /// Of the next process of a name.
    roles: Mutex<BTreeMap<String, Role>>,
}

/// One that lives.
#[derive(Debug)]
struct Process {
    name: String,
    role: Role,
    paused: bool,
    leaving: bool,
}

impl Fleet {
    /// Starts so many processes under a supervisor.
    pub(crate) async fn start(
        history: History,
        proxy: Arc<Proxy>,
        workers: usize,
        history_path: PathBuf,
        notes: PathBuf,
        roles: BTreeMap<String, Role>,
        sabotage: Option<String>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let desk: SocketAddr = listener.local_addr()?;
        let log = notes.join("workers.log");
        let processes = Mutex::default();
        let shared = Shared { history, proxy, sabotage, processes, roles: Mutex::new(roles) };
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).receive(listener));
        let settings = Settings { desk, workers, history: history_path, notes };
        let fleet = Self { shared, settings, log, supervisor: None.into(), _desk: tasks };
        *fleet.supervisor.lock().await = Some(fleet.supervisor()?);
        Ok(fleet)
    }

    fn supervisor(&self) -> anyhow::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(std::env::current_exe()?)
            .env(ROLE, serde_json::to_string(&self.settings)?)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        child.context("start a supervisor")
    }

    /// Ends only when the supervisor ended by itself, and says why.
    pub(crate) async fn fallen(&self) -> anyhow::Error {
        fallen(&self.supervisor, &self.log).await
    }

    /// The processes that are up, neither paused nor on their way out.
    pub(crate) fn up(&self) -> Vec<u32> {
        let processes = self.shared.processes();
        let up = processes.iter().filter(|(_, process)| !process.paused && !process.leaving);
        up.map(|(worker, _)| *worker).collect()
    }

    pub(crate) fn role(&self, worker: u32) -> Option<Role> {
        self.shared.processes().get(&worker).map(|process| process.role)
    }

    /// Sends a signal to that process, if it is there still.
    pub(crate) fn signal(&self, worker: u32, signal: Signal) -> bool {
        self.shared.signal(worker, signal)
    }

    /// Ends a process in good order; the next one of its name has that role. Returns once it is
    /// up, if one is to come.
    pub(crate) async fn roll(&self, worker: u32, role: Role) {
        let Some(name) = self.shared.name(worker) else { return };
        lock(&self.shared.roles).insert(name.clone(), role);
        self.signal(worker, Signal::Term);
        // The one for suspects is started when there are any.
        let up = || match name == SUSPECTS {
            true => !self.shared.processes().contains_key(&worker),
            false => self.shared.processes().iter().any(|(pid, process)| {
                process.name == name && process.role == role && *pid != worker
            }),
        };
        let give_up = Instant::now() + PATIENCE;
        while !up() && Instant::now() < give_up {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// From now on all have that role.
    pub(crate) async fn roll_all(&self, role: Role) {
        lock(&self.shared.roles).clear();
        let others = || {
            let processes = self.shared.processes();
            let other = processes.iter().filter(|(_, process)| process.role != role);
            other.map(|(worker, _)| *worker).collect::<Vec<_>>()
        };
        for worker in others() {
            self.roll(worker, role).await;
        }
    }

    /// Ends the supervisor in good order and starts another one, as a deploy does.
    pub(crate) async fn deploy(&self) -> anyhow::Result<()> {
        let mut supervisor = self.supervisor.lock().await;
        self.end(supervisor.take()).await?;
        *supervisor = Some(self.supervisor()?);
        Ok(())
    }

    /// Kills the supervisor, whose processes have to notice, and starts another one at once.
    pub(crate) async fn orphan(&self) -> anyhow::Result<()> {
        let mut supervisor = self.supervisor.lock().await;
        self.shared.all_leave();
        if let Some(mut old) = supervisor.take() {
            old.kill().await?;
        }
        *supervisor = Some(self.supervisor()?);
        Ok(())
    }

    /// Ends all of them in good order.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let supervisor = self.supervisor.lock().await.take();
        self.end(supervisor).await?;
        // Those that a killed supervisor left are to be gone, too.
        let give_up = Instant::now() + PATIENCE;
        while !self.shared.processes().is_empty() && Instant::now() < give_up {
            sleep(Duration::from_millis(20)).await;
        }
        let left: Vec<u32> = self.shared.processes().keys().copied().collect();
        for worker in left {
            // The checker tells.
            kill(worker, rustix::process::Signal::KILL);
        }
        Ok(())
    }

    async fn end(&self, supervisor: Option<Child>) -> anyhow::Result<()> {
        let Some(mut supervisor) = supervisor else { return Ok(()) };
        // One that was just started does not listen yet: a signal would be its plain end.
        let give_up = Instant::now() + PATIENCE;
        while self.up().is_empty() && Instant::now() < give_up {
            sleep(Duration::from_millis(20)).await;
        }
        self.shared.all_leave();
        if let Some(pid) = supervisor.id() {
            kill(pid, rustix::process::Signal::TERM);
        }
        // It listens to the end of its standard input.
        let stdin = supervisor.stdin.take();
        let ended = timeout(PATIENCE, supervisor.wait()).await;
        drop(stdin);
        let said = match ended {
            Ok(status) => match status? {
                status if status.success() => None,
                status => Some(format!("it ended with {status}")),
            },
            Err(_) => {
                supervisor.kill().await?;
                Some("it did not end".to_owned())
            }
        };
        if let Some(why) = said {
            self.shared.history.write(Event::Supervisor { why });
        }
        Ok(())
    }
}

/// A run that is broken off leaves nobody behind, not even those that are paused.
impl Drop for Fleet {
    fn drop(&mut self) {
        for worker in self.shared.processes().keys() {
            kill(*worker, rustix::process::Signal::KILL);
        }
    }
}

impl Shared {
    fn processes(&self) -> MutexGuard<'_, BTreeMap<u32, Process>> {
        lock(&self.processes)
    }

    fn name(&self, worker: u32) -> Option<String> {
        self.processes().get(&worker).map(|process| process.name.clone())
    }

    /// Listens to processes that say that they are there.
    async fn receive(self: Arc<Self>, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((process, _)) = accepted else { continue };
                    tasks.spawn(Arc::clone(&self).attend(process));
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    /// From the first word of a process to its end, with which its connection ends.
    async fn attend(self: Arc<Self>, mut process: TcpStream) -> anyhow::Result<()> {
        let (read, mut write) = process.split();
        let mut lines = BufReader::new(read).lines();
        let hello = lines.next_line().await?.context("it said nothing")?;
        let Hello { pid: worker, name } = serde_json::from_str(&hello)?;
        let role = lock(&self.roles).get(&name).copied().unwrap_or(Role::New);
        let connection = self.proxy.open(worker).await?;
        let told = Told { role, connection, sabotage: self.sabotage.clone() };
        let written = format!("{role:?}").to_lowercase();
        self.history.write(Event::Spawned { worker, process: name.clone(), role: written });
        let leaving = false;
        self.processes().insert(worker, Process { name, role, paused: false, leaving });
        let mut line = serde_json::to_vec(&told)?;
        line.push(b'\n');
        let _ = write.write_all(&line).await;
        while matches!(lines.next_line().await, Ok(Some(_))) {}
        self.processes().remove(&worker);
        self.history.write(Event::Exited { worker });
        Ok(())
    }

    fn signal(&self, worker: u32, signal: Signal) -> bool {
        let mut processes = self.processes();
        let Some(process) = processes.get_mut(&worker) else { return false };
        let number = match signal {
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Cont => rustix::process::Signal::CONT,
            Signal::Term => rustix::process::Signal::TERM,
        };
        match signal {
            Signal::Stop => process.paused = true,
            Signal::Cont => process.paused = false,
            Signal::Term | Signal::Kill => process.leaving = true,
        }
        self.history.write(Event::Signal { worker, signal });
        kill(worker, number)
    }

    /// Their supervisor ends, and so are they to.
    fn all_leave(&self) {
        self.history.write(Event::Succession);
        for (worker, process) in &mut *self.processes() {
            process.leaving = true;
            self.history.write(Event::Signal { worker: *worker, signal: Signal::Term });
        }
    }
}

/// How many of the last lines of a log are shown.
const LAST_LINES: usize = 30;

/// Ends when the one that should be there is not. While it is ended on purpose, there is none.
async fn fallen(supervisor: &tokio::sync::Mutex<Option<Child>>, log: &Path) -> anyhow::Error {
    loop {
        let ended = match &mut *supervisor.lock().await {
            Some(child) => child.try_wait(),
            None => Ok(None),
        };
        let status = match ended {
            Ok(None) => {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let log = log.display();
        return anyhow::anyhow!("the supervisor ended by itself: {status}\n{log}:\n{last}");
    }
}

/// Waits until that is so.
pub(crate) async fn until(
    what: &str,
    limit: Duration,
    mut is_so: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let give_up = Instant::now() + limit;
    while !is_so() {
        anyhow::ensure!(Instant::now() < give_up, "after {limit:?} {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether it was there to get it.
fn kill(pid: u32, signal: rustix::process::Signal) -> bool {
    Pid::from_raw(pid as i32).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_supervisor_that_ends_by_itself_is_noticed() {
        let log = std::env::temp_dir().join(format!("job-chaos-fallen-{}.log", std::process::id()));
        std::fs::write(&log, "first\n".to_owned() + &"more\n".repeat(LAST_LINES - 1) + "last\n")
            .unwrap();
        let child = Command::new("false").spawn().unwrap();
        let error = fallen(&tokio::sync::Mutex::new(Some(child)), &log).await.to_string();
        std::fs::remove_file(&log).unwrap();
        assert!(error.contains("exit status: 1"), "{error}");
        assert!(error.ends_with("more\nlast") && !error.contains("first"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_waited_for_without_limit() {
        let error = until("nobody came", Duration::ZERO, || false).await.unwrap_err();
        assert_eq!(error.to_string(), "after 0ns nobody came");
        until("nobody came", Duration::ZERO, || true).await.unwrap();
    }
}
