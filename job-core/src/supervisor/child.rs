//! One process, seen from the supervisor: started, listened to, asked to end, and killed when it
//! does not live or does not end.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::memory;
use super::wire::{self, Down, HEARTBEAT, Up, line};
use crate::telemetry::events;

/// How often its memory is looked at.
const MEMORY_CHECK: Duration = Duration::from_secs(2);

/// How long to listen on for last words after it ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How to start a process: this program, with this one's args.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

impl Program {
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, args: std::env::args_os().collect() })
    }

    #[cfg(test)]
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.into(), args: Vec::new() }
    }

    /// Starts it as the process of that name, in a process group of its own: ctrl-c in a terminal
    /// is for the supervisor, which passes it on once, and what it starts is killed with it.
    pub(super) fn start(&self, name: &str) -> io::Result<Started> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.path);
        if let Some((own, args)) = self.args.split_first() {
            command.arg0(own).args(args);
        }
        command.env(wire::PROCESS, name).stdin(OwnedFd::from(theirs)).process_group(0);
        let child = command.spawn()?;
        let (read, write) = UnixStream::from_std(ours)?.into_split();
        Ok(Started { child, lines: BufReader::new(read).lines(), write })
    }
}

/// A process that was started.
pub(super) struct Started {
    child: Child,
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

/// What is to be done to it.
pub(super) enum Order {
    Tell(Down),
    /// It is to be gone by then.
    KillAt(Instant),
}

/// What it says, and what is seen of it.
pub(super) enum Event {
    Said(Up),
    /// Its resident memory in bytes, more than it may have.
    OverMemory(u64),
    Exited(Exit),
}

/// How a process ended.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) status: Result<ExitStatus, String>,
    pub(super) killed: Option<Killed>,
}

/// Why the supervisor killed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Killed {
    /// It gave no sign of life.
    Silent,
    /// It did not end in time.
    Late,
}

/// What a process may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long it may give no sign of life.
    pub(super) silence: Duration,
    pub(super) memory: Option<u64>,
}

impl Started {
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sees to it until it has ended. The last event is [`Event::Exited`].
    pub(super) async fn watch(
        mut self,
        limits: Limits,
        mut orders: UnboundedReceiver<Order>,
        tell: impl Fn(Event),
    ) {
        let pid = self.child.id();
        let mut silent_at = Instant::now() + limits.silence;
        // A supervisor that was stopped for a while itself first listens to what was said.
        let mut warned = false;
        let mut kill_at: Option<Instant> = None;
        let mut killed = None;
        let mut memory = interval(MEMORY_CHECK);
        let (mut hears, mut ordered) = (true, true);
        let status = loop {
            tokio::select! {
                biased;
                said = self.lines.next_line(), if hears => match said {
                    Ok(Some(said)) => {
                        silent_at = Instant::now() + limits.silence;
                        warned = false;
                        // Who understands less than was said is an older program.
                        if let Ok(said) = serde_json::from_str(&said) {
                            tell(Event::Said(said));
                        }
                    }
                    // It may have closed it and live on; then it is silent.
                    Ok(None) | Err(_) => hears = false,
                },
                status = self.child.wait() => break status,
                order = orders.recv(), if ordered => match order {
                    Some(Order::Tell(down)) => {
                        // One that does not listen is silent, too, or too late.
                        let line = line(&down);
                        let write = timeout(HEARTBEAT, self.write.write_all(&line));
                        if !matches!(write.await, Ok(Ok(()))) {
                            events::process_does_not_listen(pid);
                        }
                    }
                    Some(Order::KillAt(at)) => {
                        kill_at = Some(kill_at.map_or(at, |before| before.min(at)));
                    }
                    None => ordered = false,
                },
                () = sleep_until(silent_at), if killed.is_none() => {
                    if warned {
                        events::process_silent(pid, limits.silence);
                        killed = Some(Killed::Silent);
                        self.kill();
                    }
                    warned = true;
                    silent_at = Instant::now() + HEARTBEAT;
                }
                () = sleep_until(kill_at.unwrap_or(silent_at)), if kill_at.is_some() && killed.is_none() => {
                    events::process_late(pid);
                    killed = Some(Killed::Late);
                    self.kill();
                }
                _ = memory.tick(), if limits.memory.is_some() => {
                    if let (Some(limit), Some(pid)) = (limits.memory, pid)
                        && let Some(resident) = memory::resident(pid).await
                        && resident > limit
                    {
                        tell(Event::OverMemory(resident));
                    }
                }
            }
        };
        let last_words = async {
            while let Ok(Some(said)) = self.lines.next_line().await {
                if let Ok(said) = serde_json::from_str(&said) {
                    tell(Event::Said(said));
                }
            }
        };
        if hears {
            let _ = timeout(LAST_WORDS, last_words).await;
        }
        let status = status.map_err(|error| error.to_string());
        tell(Event::Exited(Exit { status, killed }));
    }

    /// It and what it has started, which is in its group: nobody else would end that.
    fn kill(&mut self) {
        // Its id is its own, and the group's, until it was waited for.
        let group = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            events::group_not_killed(&error);
        }
        if let Err(error) = self.child.start_kill() {
            // It is gone already.
            events::process_not_killed(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_process_has_started_is_killed_with_it() {
        let folder = std::env::temp_dir().join(format!("job-core-kill-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let fifo = folder.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Both have it open for writing, for as long as they live.
        let script = "exec 5>\"$1\"; sleep 1000000 & echo both >&5; wait";
        let args = ["sh", "-c", script, "sh"].map(OsString::from).into_iter();
        let program =
            Program { path: "/bin/sh".into(), args: args.chain([fifo.clone().into()]).collect() };
        let started = program.start("1").unwrap();
        let (orders, ordered) = tokio::sync::mpsc::unbounded_channel();
        let limits = Limits { silence: Duration::from_secs(1_000_000), memory: None };
        let (tell, mut events) = tokio::sync::mpsc::unbounded_channel();
        let watch = tokio::spawn(started.watch(limits, ordered, move |event| {
            tell.send(event).unwrap_or_default();
        }));
        let (started, both) = std::sync::mpsc::channel();
        let read = tokio::task::spawn_blocking(move || {
            use std::io::BufRead;
            let mut lines = std::io::BufReader::new(std::fs::File::open(fifo).unwrap()).lines();
            started.send(lines.next().unwrap().unwrap()).unwrap();
            lines.count()
        });
        let heard = tokio::task::spawn_blocking(move || both.recv().unwrap());
        assert_eq!(heard.await.unwrap(), "both");
        orders.send(Order::KillAt(Instant::now())).unwrap_or_default();
        let killed = match events.recv().await {
            Some(Event::Exited(exit)) => exit.killed,
            _ => None,
        };
        assert_eq!(killed, Some(Killed::Late));
        watch.await.unwrap();
        // Nobody has it open any more.
        assert_eq!(read.await.unwrap(), 0);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
