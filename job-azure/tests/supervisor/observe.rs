//! A supervisor that runs, seen by a test: what it and its processes say, and signals to them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use job_azurite::Azurite;
use job_core::backend::QueueSpec;
use job_core::{Client, PoisonReason, QueueName};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::runtime::Runtime;

use crate::program::{self, Act, SETTINGS};

/// For what should be there much sooner.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A queue of its own, and a folder of gates.
pub struct Bench {
    pub runtime: Runtime,
    pub client: Client,
    pub queue: String,
    gates: PathBuf,
}

impl Bench {
    pub fn new(case: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Cases may run again.
        static BENCHES: AtomicU32 = AtomicU32::new(0);
        let queue = format!("sup-{case}-{}-{}", std::process::id(), BENCHES.fetch_add(1, SeqCst));
        let gates = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&queue);
        std::fs::create_dir_all(&gates).unwrap();
        let client = program::client(&Azurite::shared().connection_string());
        for name in [queue.clone(), format!("{queue}-poison")] {
            let name = QueueName::new(&name).unwrap();
            let spec = QueueSpec::default();
            runtime.block_on(client.backend().create_queue(&name, &spec)).unwrap();
        }
        Self { runtime, client, queue, gates }
    }

    pub fn enqueue<T: Display>(&self, orders: impl IntoIterator<Item = T>) {
        let jobs = orders.into_iter().map(|order| Act { order: order.to_string() });
        let sent = self.client.enqueue_all(jobs).queue(&self.queue);
        self.runtime.block_on(sent.into_future()).unwrap();
    }

    /// One job, on another queue of that worker's.
    pub fn enqueue_on(&self, more: &str, order: &str) {
        let job = Act { order: order.to_owned() };
        let sent = self.client.enqueue(job).queue(format!("{}-{more}", self.queue));
        self.runtime.block_on(sent.into_future()).unwrap();
    }

    /// One job with other attempts than those of its kind.
    pub fn enqueue_with_attempts(&self, order: &str, max_attempts: u32) {
        let job = Act { order: order.to_owned() };
        let sent = self.client.enqueue(job).queue(&self.queue).max_attempts(max_attempts);
        self.runtime.block_on(sent.into_future()).unwrap();
    }

    /// Some time after all are done: who says so may be killed, or have lost its lease, before it
    /// deletes its message, which then comes once more.
    #[track_caller]
    pub fn until_empty(&self) {
        let limit = Instant::now() + LIMIT;
        while self.depth() > 0 {
            assert!(Instant::now() < limit, "it is never deleted");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until these are in the poison queue, and no others.
    #[track_caller]
    pub fn until_poisoned(&self, expected: &[(String, PoisonReason)]) {
        let limit = Instant::now() + LIMIT;
        while self.poisoned() != expected {
            assert!(Instant::now() < limit, "in poison: {:?}", self.poisoned());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Lets a job go on.
    pub fn open(&self, order: &str) {
        std::fs::write(self.gates.join(order), "").unwrap();
    }

    /// Starts a supervisor with these settings beside those of the bench.
    pub fn start(&self, settings: &[(&str, &str)]) -> Running {
        let own = [
            ("queue", self.queue.as_str()),
            ("connection", &Azurite::shared().connection_string()),
            ("gates", self.gates.to_str().unwrap()),
        ]
        .map(|(name, value)| format!("{name}={value}"));
        let given = settings.iter().map(|(name, value)| format!("{name}={value}"));
        let text: Vec<_> = own.into_iter().chain(given).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(SETTINGS, text.join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        // It ends when nobody has the other end any more, a process that was left behind included.
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        Running { child, lines, heard: Vec::new(), pids: BTreeSet::new() }
    }

    /// Messages on the queue, hidden ones included.
    pub fn depth(&self) -> u64 {
        let name = QueueName::new(&self.queue).unwrap();
        self.runtime.block_on(self.client.backend().stats(&name)).unwrap().total
    }

    /// Messages that somebody could receive now.
    pub fn visible(&self) -> usize {
        let name = QueueName::new(&self.queue).unwrap();
        self.runtime.block_on(self.client.backend().peek(&name, 32)).unwrap().len()
    }

    /// Orders and reasons of what is in the poison queue.
    pub fn poisoned(&self) -> Vec<(String, PoisonReason)> {
        self.poisoned_of(&self.queue)
    }

    /// Waits until that is in the poison queue of another queue.
    #[track_caller]
    pub fn until_poisoned_on(&self, more: &str, order: &str) {
        let limit = Instant::now() + LIMIT;
        let queue = format!("{}-{more}", self.queue);
        while self.poisoned_of(&queue) != [(order.to_owned(), PoisonReason::Crashed)] {
            assert!(Instant::now() < limit, "in poison: {:?}", self.poisoned_of(&queue));
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn poisoned_of(&self, queue: &str) -> Vec<(String, PoisonReason)> {
        let poison = self.client.poison(queue).unwrap();
        let jobs = self.runtime.block_on(poison.list(32)).unwrap();
        let mut all: Vec<_> = jobs
            .iter()
            .map(|job| {
                let args: serde_json::Value = serde_json::from_str(job.args().unwrap()).unwrap();
                (args["order"].as_str().unwrap().to_owned(), job.reason())
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.gates);
    }
}

/// A supervisor. It and its processes do not outlive their test.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    pub heard: Vec<String>,
    /// Of all processes that were seen.
    pids: BTreeSet<i32>,
}

/// A line that begins with `start` or `done`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub process: String,
    pub pid: i32,
    pub attempt: u32,
}

impl Running {
    /// Waits until all that was heard so far is enough.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, enough: impl Fn(&[String]) -> Option<T>) -> T {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(found) = enough(&self.heard) {
                return found;
            }
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no {what}; heard:\n{}", self.heard.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without {what}; heard:\n{}", self.heard.join("\n"))
                }
            }
        }
    }

    /// Hears what was said by now.
    pub fn listen(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.hear(line);
        }
    }

    fn hear(&mut self, line: String) {
        let words: Vec<_> = line.split(' ').collect();
        if ["start", "done", "state"].contains(&words[0])
            && let Some(pid) = words.get(3).and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0)
        {
            self.pids.insert(pid);
        }
        self.heard.push(line);
    }

    /// Waits for that line.
    #[track_caller]
    pub fn says(&mut self, expected: &str) {
        self.until(expected, |heard| heard.iter().any(|line| line == expected).then_some(()));
    }

    /// Waits for the `nth` start or end (from 1) of that order.
    #[track_caller]
    pub fn nth(&mut self, what: &str, order: &str, nth: usize) -> Run {
        let begin = format!("{what} {order} ");
        self.until(&format!("{nth} x {begin}"), |heard| {
            let line = heard.iter().filter(|line| line.starts_with(&begin)).nth(nth - 1)?;
            Some(run(line))
        })
    }

    #[track_caller]
    pub fn started(&mut self, order: &str) -> Run {
        self.nth("start", order, 1)
    }

    #[track_caller]
    pub fn done(&mut self, order: &str) -> Run {
        self.nth("done", order, 1)
    }

    /// How often that was said of that order.
    pub fn count(&self, what: &str, order: &str) -> usize {
        let begin = format!("{what} {order} ");
        self.heard.iter().filter(|line| line.starts_with(&begin)).count()
    }

    /// Waits until the process of that name is in that state, and was restarted so often. Its pid.
    #[track_caller]
    pub fn state(&mut self, process: &str, state: &str, restarts: u32) -> i32 {
        let (begin, end) = (format!("state {process} {state} "), format!(" {restarts}"));
        self.until(&format!("{begin}..{end}"), |heard| {
            let line =
                heard.iter().find(|line| line.starts_with(&begin) && line.ends_with(&end))?;
            line.split(' ').nth(3)?.parse().ok()
        })
    }

    /// Waits until a process of that name listens. Its pid and its port.
    #[track_caller]
    pub fn listening(&mut self, process: &str) -> (i32, u16) {
        let begin = format!("http {process} ");
        self.until(&begin, |heard| {
            let line = heard.iter().find_map(|line| line.strip_prefix(&begin))?;
            let (pid, address) = line.split_once(' ')?;
            Some((pid.parse().ok()?, address.rsplit(':').next()?.parse().ok()?))
        })
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.child.id() as i32, signal);
    }

    /// Waits for its end, and that of its output: then none of its processes is left.
    #[track_caller]
    pub fn ended(&mut self) -> Ended {
        let begin = Instant::now();
        let limit = begin + LIMIT;
        loop {
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it does not end; heard:\n{}", self.heard.join("\n"))
                }
            }
        }
        let status = self.child.wait().unwrap();
        // What ends closes its output a moment before it is gone.
        while let Some(pid) = self.pids.iter().find(|pid| is_alive(**pid)) {
            assert!(Instant::now() < limit, "{pid} lives on");
            thread::sleep(Duration::from_millis(5));
        }
        let took = begin.elapsed();
        let find = |begin| {
            let line = self.heard.iter().find_map(|line| line.strip_prefix(begin));
            line.unwrap_or_default().to_owned()
        };
        Ended { status, took, report: find("report "), error: find("error ") }
    }
}

#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub took: Duration,
    pub report: String,
    pub error: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in self.pids.iter().filter(|_| thread::panicking()) {
            if is_alive(*pid) {
                kill(*pid, Signal::KILL);
            }
        }
    }
}

fn run(line: &str) -> Run {
    let words: Vec<_> = line.split(' ').collect();
    Run {
        process: words[2].into(),
        pid: words[3].parse().unwrap(),
        attempt: words[4].parse().unwrap(),
    }
}

pub fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub fn is_alive(pid: i32) -> bool {
    let here = test_kill_process(Pid::from_raw(pid).unwrap()).is_ok();
    // Where nobody takes note of the end of orphans, they stay in the table of processes.
    let ps = || Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    here && !matches!(ps().stdout.first(), None | Some(b'Z'))
}
