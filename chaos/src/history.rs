//! What happened, as JSON lines: each process appends one line an event, in a single write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::jobs::Kind;

/// Microseconds of the machine's monotonic clock, which all its processes share.
pub(crate) type Micros = u64;

pub(crate) const SECOND: Micros = 1_000_000;

pub(crate) fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64 / 1_000
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at: Micros,
    /// Milliseconds since 1970: for people only.
    pub(crate) wall: u64,
    /// The process that wrote it.
    pub(crate) pid: u32,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// Jobs are named by the text of their id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The first line.
    Run { rules: Rules },
    /// A job is about to be sent.
    Invoke { job: String, kind: Kind, n: u64 },
    /// It is on its queue.
    Enqueued { job: String },
    /// It certainly is not.
    Rejected { job: String },
    /// Nobody knows.
    Unknown { job: String },
    /// A call of the stack around the handler began.
    Entered { job: String, attempt: u32 },
    /// It ended.
    Left { job: String, outcome: String },
    /// The handler began. `intact`: its payload is what goes with that number.
    Start { job: String, attempt: u32, run: u64, n: u64, kind: Kind, intact: bool },
    /// The handler is about to return.
    Finish { job: String, run: u64, end: End },
    /// The handler's future was dropped.
    Cancelled { job: String, run: u64 },
    /// A request that changed something or was tampered with.
    Wire(Wire),
    /// Whoever sent that one did not wait for its answer, which a fault held up.
    Unheard(Wire),
    /// A worker process was started.
    Spawned { worker: u32, process: String, role: String },
    /// SIGKILL, SIGSTOP, SIGCONT or SIGTERM was sent to it; or the latter to its supervisor, or that
    /// was killed.
    Signal { worker: u32, signal: Signal },
    /// It is gone.
    Exited { worker: u32 },
    /// A supervisor is asked to end or killed, and all its processes are to end.
    Succession,
    /// A supervisor did not end as it should have.
    Supervisor { why: String },
    /// The harness, which has little to do, was not run for so long: the machine stood still.
    StoodStill { micros: Micros },
    /// No more faults from here on.
    Quiet,
    /// The queue is empty.
    Drained,
    /// A message that was still in the queue at the end.
    Remains { job: Option<String> },
    /// A copy in the poison queue at the end.
    Poisoned { job: String, reason: Reason, n: Option<u64>, kind: Option<Kind>, intact: bool },
    /// A secret in a log. What it is, never the secret itself.
    Leaked { secret: String, file: String },
    /// The last line.
    End,
}

/// What the run was set up with: what the checker measures by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) seed: u64,
    pub(crate) lease_ms: u64,
    pub(crate) grace_ms: u64,
    pub(crate) longest_poll_ms: u64,
    pub(crate) crash_limit: u32,
    /// Whether there are neither faults nor kills: then nothing may happen twice.
    pub(crate) fair: bool,
    /// Whether there are kills and nothing else: then their jobs come again in time.
    pub(crate) only_kills: bool,
    /// Whether jobs that may have killed their worker run in a process of their own, so that no
    /// other job goes down with them.
    pub(crate) suspects_alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Done,
    Failed,
    Permanent,
    Discarded,
    Snoozed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    AttemptsExhausted,
    Crashed,
    Permanent,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signal {
    Kill,
    Stop,
    Cont,
    Term,
}

/// One request, as the proxy saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wire {
    pub(crate) op: Op,
    pub(crate) queue: String,
    /// The process it came from; 0 for producers.
    pub(crate) worker: u32,
    /// When it was passed on to the service.
    pub(crate) sent: Micros,
    /// What the service answered, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Whether that answer went back whole.
    pub(crate) answered: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// By how much a fault delayed it or its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delayed_ms: Option<u64>,
    /// Of an update: for how long it is hidden from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hidden_ms: Option<u64>,
    /// What it is about. A receive has any number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) messages: Vec<Seen>,
}

impl Wire {
    /// Whether the service did it.
    pub(crate) fn applied(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    Send,
    Receive,
    Update,
    Delete,
    #[default]
    Other,
}

/// A message as a request or an answer shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Body>,
}

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) job: String,
    pub(crate) mark: Mark,
    #[serde(default)]
    pub(crate) failed: u32,
    #[serde(default)]
    pub(crate) crashed: u32,
    #[serde(default)]
    pub(crate) snoozed: u32,
    #[serde(default)]
    pub(crate) given_back: u32,
    #[serde(default)]
    pub(crate) put_back: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mark {
    #[default]
    None,
    /// A start was announced.
    Started,
    /// To be moved to the poison queue.
    Fenced,
    /// As it is in the poison queue.
    Poison,
}

/// The file that all processes write to.
#[derive(Clone, Debug)]
pub(crate) struct History {
    file: Arc<File>,
    pid: u32,
}

impl History {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        Ok(Self { file: Arc::new(file), pid: std::process::id() })
    }

    pub(crate) fn write(&self, event: Event) {
        self.write_at(now(), event);
    }

    /// # Panics
    /// A history with holes would prove nothing.
    pub(crate) fn write_at(&self, at: Micros, event: Event) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let entry = Entry { at, wall: wall.as_millis() as u64, pid: self.pid, event };
        let mut line = serde_json::to_vec(&entry).expect("an event is JSON");
        line.push(b'\n');
        let written = (&*self.file).write(&line).expect("the history can be written");
        assert_eq!(written, line.len(), "a line is written at once");
    }
}

/// All of a file, in order of time.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let entry = serde_json::from_str(line);
        entries.push(entry.map_err(|error| {
            io::Error::other(format!("{}, line {}: {error}", path.display(), number + 1))
        })?);
    }
    entries.sort_by_key(|entry: &Entry| entry.at);
    Ok(entries)
}
