//! One of the supervisor's processes, seen from within.
//!
//! Two threads of its own keep in touch with the supervisor, so that a handler that blocks every
//! thread of the runtime is no reason to be taken for dead: one writes, and says every second that
//! the process lives; one listens, and notices when the supervisor is gone.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::future::Future;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::wire::{self, Down, HEARTBEAT, Mark, SUSPECTS, Suspect, Up, line};
use super::{AFTER_GRACE, DEFAULT_GRACE};
use crate::backend::MessageId;
use crate::envelope::error_text;
use crate::telemetry::{events, spans};
use crate::worker::{Claim, Counters, Fate, Handed, Home, listen};
use crate::{BoxError, QueueName, Report, Worker, WorkerError};

/// One of a [`Supervisor`](super::Supervisor)'s processes, seen from within.
#[derive(Clone, Debug)]
pub struct WorkerProcess {
    link: Arc<Link>,
}

impl WorkerProcess {
    /// Its number, from 1 on, or `suspects` for the process that runs such jobs. The same as in
    /// the environment variable `SUPERVISED_WORKER`, and on log lines as `process`.
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// Runs a worker until the supervisor asks the process to end, or SIGTERM or ctrl-c does; a
    /// second time skips the grace time.
    ///
    /// A process may run several workers.
    ///
    /// # Errors
    /// As [`Worker::run_until_shutdown_signal`].
    pub async fn run(&self, worker: Worker) -> Result<Report, WorkerError> {
        self.link.listens.store(true, Relaxed);
        let worker = worker.at(Arc::new(Arc::clone(&self.link)));
        let handle = worker.handle();
        // Signals and orders are counted apart: who stops a group of processes, as systemd does,
        // sends each of them a signal, and the supervisor's order comes on top.
        let (first, second) = (handle.clone(), handle.clone());
        let hurry = self.link.hurry.clone();
        let _listening = listen(
            move || {
                hurry.cancel();
                first.shutdown();
            },
            move || second.shutdown_now(),
        )
        .map_err(WorkerError::Signals)?;
        let obey = async {
            self.link.stop.cancelled().await;
            handle.shutdown();
            self.link.now.cancelled().await;
            handle.shutdown_now();
        };
        let mut running = std::pin::pin!(worker.run());
        tokio::select! {
            biased;
            report = &mut running => report,
            () = obey => running.await,
        }
    }

    /// Ends when the supervisor asks the process to end, or is gone: for what is to end with the
    /// workers, such as a web server beside them.
    pub async fn shutdown(&self) {
        self.link.listens.store(true, Relaxed);
        self.link.stop.cancelled().await;
    }
}

/// The way to the supervisor.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    span: Span,
    up: Mutex<Sender<Message>>,
    stop: CancellationToken,
    /// From here on the grace time runs.
    hurry: CancellationToken,
    now: CancellationToken,
    /// It has all the time to end.
    retires: AtomicBool,
    /// Somebody in the process waits for the word to end.
    listens: AtomicBool,
    /// The others were sent a signal.
    signalled: AtomicBool,
    workers: Mutex<Vec<Arc<Counters>>>,
    grace_millis: AtomicU64,
    claims: Mutex<Asked<bool>>,
    questions: Mutex<Asked<Fate>>,
    suspects: Mutex<Inbox>,
    arrived: Notify,
}

/// What the supervisor was asked, by number, and who waits for the answer.
#[derive(Debug)]
struct Asked<T> {
    last: u64,
    open: HashMap<u64, oneshot::Sender<T>>,
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self { last: 0, open: HashMap::new() }
    }
}

impl<T> Asked<T> {
    fn ask(&mut self) -> (u64, oneshot::Receiver<T>) {
        let (answer, answered) = oneshot::channel();
        self.last += 1;
        self.open.insert(self.last, answer);
        (self.last, answered)
    }
}

/// Suspects that were handed over to this process.
#[derive(Default)]
struct Inbox {
    /// By the queues that are served here.
    waiting: HashMap<QueueName, VecDeque<(u64, Handed)>>,
    /// The claims of those that run.
    running: HashMap<QueueName, u64>,
}

/// Bodies hold job args, and receipts are secret.
impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("running", &self.running).finish_non_exhaustive()
    }
}

enum Message {
    Line(Vec<u8>),
    /// Tell when all before it is written.
    Flushed(Sender<()>),
}

impl Link {
    /// The way to the supervisor, if this process was started by one.
    pub(super) fn find() -> Option<io::Result<Arc<Self>>> {
        let name = std::env::var(wire::PROCESS).ok()?;
        // A process that a process of the supervisor's starts inherits the variable, but not this.
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        if !socket.local_addr().is_ok_and(|address| address.is_unnamed()) {
            return None;
        }
        Some(Self::start(name, socket))
    }

    fn start(name: String, socket: UnixStream) -> io::Result<Arc<Self>> {
        // Nobody else is to read from it, least of all a process that a handler starts.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let (up, messages) = channel();
        let link = Arc::new(Self {
            span: spans::process(&name),
            name,
            up: Mutex::new(up),
            stop: CancellationToken::new(),
            hurry: CancellationToken::new(),
            retires: AtomicBool::new(false),
            now: CancellationToken::new(),
            listens: AtomicBool::new(false),
            signalled: AtomicBool::new(false),
            workers: Mutex::default(),
            grace_millis: AtomicU64::new(0),
            claims: Mutex::default(),
            questions: Mutex::default(),
            suspects: Mutex::default(),
            arrived: Notify::new(),
        });
        let reader = BufReader::new(socket.try_clone()?);
        let (heart, ears) = (Arc::clone(&link), Arc::clone(&link));
        thread::Builder::new()
            .name("supervisor-tell".into())
            .spawn(move || heart.tell(socket, &messages))?;
        thread::Builder::new().name("supervisor-hear".into()).spawn(move || ears.hear(reader))?;
        Ok(link)
    }

    /// Runs the user's part, and ends the process: neither a handler that never ends nor what
    /// follows in `main` is waited for.
    pub(super) async fn run<F, Fut, T, E>(self: Arc<Self>, worker: F) -> !
    where
        F: FnOnce(WorkerProcess) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        let ended = worker(WorkerProcess { link: Arc::clone(&self) }).await;
        let error = ended.err().map(|error| error_text(&*error.into()));
        if let Some(error) = &error {
            events::process_failed(error);
        }
        let failed = error.is_some();
        self.send(&Up::Ended { error, report: self.report() });
        let (flushed, told) = channel();
        let _ = lock(&self.up).send(Message::Flushed(flushed));
        let _ = told.recv_timeout(Duration::from_secs(1));
        exit(i32::from(failed))
    }

    /// What its log lines are in.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Writes, and tells that the process lives for as long as it does.
    fn tell(&self, mut socket: UnixStream, messages: &Receiver<Message>) {
        let mut alive = Duration::ZERO;
        let mut last = std::time::Instant::now();
        loop {
            let sent = match messages.recv_timeout(alive) {
                Ok(Message::Line(line)) => socket.write_all(&line),
                Ok(Message::Flushed(told)) => {
                    let _ = told.send(());
                    Ok(())
                }
                Err(RecvTimeoutError::Timeout) => {
                    last = std::time::Instant::now();
                    socket.write_all(&line(&Up::Alive(self.report())))
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // The other thread notices, too.
            if sent.is_err() {
                return;
            }
            alive = HEARTBEAT.saturating_sub(last.elapsed());
        }
    }

    /// Listens until the supervisor is gone. Then the process ends in good order, and since nobody
    /// is left to see to that, it does so itself.
    fn hear(&self, mut reader: BufReader<UnixStream>) {
        let _in_span = self.span.enter();
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
            if let Ok(down) = serde_json::from_str(&line) {
                self.obey(down);
            }
            line.clear();
        }
        events::supervisor_gone();
        self.obey(Down::Drain);
        let grace = match lock(&self.workers).is_empty() {
            true => DEFAULT_GRACE,
            false => Duration::from_millis(self.grace_millis.load(Relaxed)),
        };
        thread::sleep(grace + AFTER_GRACE);
        let _ = kill_process(getpid(), Signal::KILL);
    }

    fn obey(&self, down: Down) {
        match down {
            Down::Retire => {
                events::process_retiring();
                self.retires.store(true, Relaxed);
                self.stop.cancel();
                self.without_listeners(false);
            }
            Down::Drain => {
                events::process_stopping();
                self.hurry.cancel();
                self.stop.cancel();
                self.without_listeners(false);
            }
            Down::Now => {
                self.hurry.cancel();
                self.stop.cancel();
                self.now.cancel();
                self.without_listeners(true);
            }
            Down::Claimed { claim, granted } => {
                if let Some(answer) = lock(&self.claims).open.remove(&claim) {
                    let _ = answer.send(granted);
                } else if granted {
                    self.send(&Up::Withdraw { claim });
                }
            }
            Down::Answer { question, fate } => {
                if let Some(answer) = lock(&self.questions).open.remove(&question) {
                    let _ = answer.send(fate);
                }
            }
            Down::Suspect { claim, suspect } => match suspect.read() {
                Ok(handed) => {
                    let queue = handed.held.receipt.queue();
                    match lock(&self.suspects).waiting.get_mut(queue) {
                        Some(waiting) => {
                            waiting.push_back((claim, handed));
                            self.arrived.notify_waiters();
                        }
                        None => {
                            events::suspect_not_served(queue);
                            self.send(&Up::Done { claim });
                        }
                    }
                }
                Err(_) => self.send(&Up::Done { claim }),
            },
        }
    }

    /// Where nobody waits for the word to end, the signal says it: to whom the program has chosen,
    /// such as `Worker::run_until_shutdown_signal`, or else to the system. A second one says that
    /// there is no time, so it is sent for that alone.
    fn without_listeners(&self, now: bool) {
        let again = self.signalled.swap(true, Relaxed);
        if !self.listens.load(Relaxed) && (now || !again) {
            let _ = kill_process(getpid(), Signal::TERM);
        }
    }

    fn send(&self, up: &Up) {
        // In vain only when the supervisor is gone.
        let _ = lock(&self.up).send(Message::Line(line(up)));
    }

    fn report(&self) -> Report {
        let workers = lock(&self.workers);
        workers.iter().fold(Report::default(), |sum, counters| sum + counters.report())
    }
}

#[async_trait]
impl Home for Arc<Link> {
    fn serving(&self, queues: &[QueueName], grace: Duration, counters: &Arc<Counters>) {
        for queue in queues {
            lock(&self.suspects).waiting.entry(queue.clone()).or_default();
        }
        lock(&self.workers).push(Arc::clone(counters));
        let grace_millis = wire::millis(grace);
        self.grace_millis.fetch_max(grace_millis, Relaxed);
        self.send(&Up::Serving { grace_millis });
    }

    async fn unhurried(&self) {
        if self.retires.load(Relaxed) {
            self.hurry.cancelled().await;
        }
    }

    #[cfg(feature = "http")]
    fn place(&self) -> u16 {
        self.name.parse().unwrap_or(0)
    }

    fn is_for_suspects(&self) -> bool {
        self.name == SUSPECTS
    }

    fn marked(&self, queue: &QueueName, message: &MessageId, mark: u32, within: Duration) {
        let within_millis = wire::millis(within);
        self.send(&Up::Marked { mark: Mark::new(queue, message, mark), within_millis });
    }

    fn over(&self, queue: &QueueName, message: &MessageId, mark: u32, survived: bool) {
        self.send(&Up::Over { mark: Mark::new(queue, message, mark), survived });
    }

    async fn fate(&self, queue: &QueueName, message: &MessageId, mark: u32) -> Fate {
        let (question, answered) = lock(&self.questions).ask();
        self.send(&Up::Ask { question, mark: Mark::new(queue, message, mark) });
        answered.await.unwrap_or(Fate::Open)
    }

    async fn claim(&self) -> Option<Box<dyn Claim>> {
        let (claim, answered) = lock(&self.claims).ask();
        // From here on, whoever gives up withdraws.
        let right = Right { link: Arc::clone(self), claim, used: false };
        self.send(&Up::Claim { claim });
        answered.await.is_ok_and(|granted| granted).then(|| Box::new(right) as _)
    }

    fn done(&self, queue: &QueueName) {
        if let Some(claim) = lock(&self.suspects).running.remove(queue) {
            self.send(&Up::Done { claim });
        }
    }

    async fn suspect(&self, queue: &QueueName) -> Handed {
        self.done(queue);
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            {
                let mut suspects = lock(&self.suspects);
                let next = suspects.waiting.get_mut(queue).and_then(VecDeque::pop_front);
                if let Some((claim, handed)) = next {
                    suspects.running.insert(queue.clone(), claim);
                    return handed;
                }
            }
            arrived.await;
        }
    }
}

/// The right to hand a suspect over, for as long as the supervisor keeps its place free.
struct Right {
    link: Arc<Link>,
    claim: u64,
    used: bool,
}

impl Claim for Right {
    fn hand_over(mut self: Box<Self>, suspect: Handed) {
        self.used = true;
        self.link.send(&Up::HandOver { claim: self.claim, suspect: Suspect::new(suspect) });
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        if !self.used {
            lock(&self.link.claims).open.remove(&self.claim);
            self.link.send(&Up::Withdraw { claim: self.claim });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
