//! What client, worker and test share: the queues behind, the book, the gate, the faults, and the
//! delivery under way.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use job_core::backend::{Backend, BackendError, ErrorKind, Receipt};
use job_core::{JobId, QueueName};
use tokio::sync::Notify;

use super::book::Book;
use super::fault::{Faults, How, Operation};
use super::gate::Gate;
use super::inline::Inline;
use super::report::Ran;
use super::step::Step;
use crate::MemoryBackend;

pub(super) struct Stage {
    pub(super) inner: Arc<dyn Backend>,
    /// The same, if it is the kit's own.
    pub(super) memory: Option<MemoryBackend>,
    /// Goes before the name of every queue on a service that others use, too.
    prefix: String,
    pub(super) gate: Gate,
    book: Mutex<Book>,
    faults: Mutex<Faults>,
    step: Mutex<Option<Step>>,
    /// How the last run of a worker that was killed had failed, if it had.
    last_failure: Mutex<Option<String>>,
    /// The queues that the worker serves.
    served: OnceLock<BTreeSet<QueueName>>,
    created: Mutex<BTreeSet<QueueName>>,
    /// Told when a fault wants the worker dead.
    pub(super) killed: Notify,
    /// Handlers whose futures are there.
    running: AtomicUsize,
    /// The attempt and the most attempts of runs that are performed by hand.
    tries: Mutex<HashMap<JobId, (u32, u32)>>,
    /// What runs jobs at their enqueue, if that is wanted.
    inline: OnceLock<Inline>,
}

impl Stage {
    pub(super) fn own(memory: MemoryBackend) -> Self {
        Self::new(Arc::new(memory.clone()), Some(memory), String::new())
    }

    /// On a service that may be shared: with names of queues that nobody else has.
    pub(super) fn on(inner: Arc<dyn Backend>) -> Self {
        let id = job_core::JobId::new().to_string().replace('-', "");
        // The end of it is the part that is random.
        let prefix = format!("t{}-", &id[id.len() - 8..]);
        Self::new(inner, None, prefix)
    }

    fn new(inner: Arc<dyn Backend>, memory: Option<MemoryBackend>, prefix: String) -> Self {
        let book = Mutex::new(Book::new(inner.capabilities().granularity));
        Self {
            inner,
            memory,
            prefix,
            gate: Gate::default(),
            book,
            faults: Mutex::default(),
            step: Mutex::default(),
            last_failure: Mutex::default(),
            served: OnceLock::new(),
            created: Mutex::default(),
            killed: Notify::new(),
            running: AtomicUsize::new(0),
            tries: Mutex::default(),
            inline: OnceLock::new(),
        }
    }

    pub(super) fn serve(&self, queues: BTreeSet<QueueName>) {
        let _ = self.served.set(queues);
    }

    pub(super) fn served(&self) -> &BTreeSet<QueueName> {
        static NONE: BTreeSet<QueueName> = BTreeSet::new();
        self.served.get().unwrap_or(&NONE)
    }

    pub(super) fn run_inline(&self, inline: Inline) {
        let _ = self.inline.set(inline);
    }

    pub(super) fn inline(&self) -> Option<&Inline> {
        self.inline.get()
    }

    pub(super) fn now(&self) -> SystemTime {
        self.inner.now()
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn step(&self) -> MutexGuard<'_, Option<Step>> {
        lock(&self.step)
    }

    /// The attempt and the most attempts of runs that are performed by hand.
    pub(super) fn tries(&self) -> MutexGuard<'_, HashMap<JobId, (u32, u32)>> {
        lock(&self.tries)
    }

    /// The delivery under way, if it is of that receipt.
    pub(super) fn with_step<T>(
        &self,
        receipt: &Receipt,
        act: impl FnOnce(&mut Step) -> T,
    ) -> Option<T> {
        self.step().as_mut().filter(|step| step.is_of(receipt)).map(act)
    }

    /// Ends the delivery under way; whether the worker must not go on.
    pub(super) fn finish_step(&self, killed: bool) -> Option<(Ran, bool)> {
        let step = self.step().take()?;
        if killed {
            *lock(&self.last_failure) = step.failure();
        }
        let spoilt = step.spoilt;
        Some((step.finish(killed), spoilt))
    }

    /// How the last run of a worker that was killed had failed, if it had.
    pub(super) fn last_failure(&self) -> Option<String> {
        lock(&self.last_failure).clone()
    }

    /// Whether the queue was made before; from now on it was.
    pub(super) fn is_created(&self, queue: &QueueName) -> bool {
        lock(&self.created).contains(queue)
    }

    pub(super) fn created(&self, queue: &QueueName) {
        lock(&self.created).insert(queue.clone());
    }

    /// A handler's future is there until the guard is dropped.
    pub(super) fn run(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, SeqCst);
        Running(Arc::clone(self))
    }

    /// Waits until no handler's future is left of a worker that was killed.
    pub(super) async fn handlers_gone(&self) {
        while self.running.load(SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets a request be slow, and says what becomes of it.
    pub(super) async fn ask(&self, operation: Operation) -> Option<How> {
        let (slow, how) = {
            let mut faults = self.faults();
            (faults.slow, faults.request(operation))
        };
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        how
    }

    /// A queue's name as the service behind knows it.
    pub(super) fn inward(&self, queue: &QueueName) -> QueueName {
        if self.prefix.is_empty() {
            return queue.clone();
        }
        QueueName::new(format!("{}{queue}", self.prefix)).unwrap_or_else(|error| {
            panic!(
                "on a shared service the kit puts `{}` before the name of each queue, and that is \
                 too much: {error}",
                self.prefix
            )
        })
    }

    pub(super) fn receipt_inward(&self, receipt: &Receipt) -> Receipt {
        let (id, token) = (receipt.message_id().clone(), receipt.token().clone());
        Receipt::new(self.inward(receipt.queue()), id, token)
    }

    pub(super) fn receipt_outward(&self, queue: &QueueName, receipt: &Receipt) -> Receipt {
        Receipt::new(queue.clone(), receipt.message_id().clone(), receipt.token().clone())
    }
}

impl How {
    /// The error that it makes of a request.
    pub(super) fn error(self, operation: &'static str, queue: &QueueName) -> BackendError {
        let kind = match self {
            Self::Fail(kind) => kind,
            Self::LoseAnswer => ErrorKind::Timeout,
        };
        let error = BackendError::new(kind).operation(operation).queue(queue);
        error.message("the test has ordered this fault")
    }
}

/// See [`Stage::run`].
pub(super) struct Running(Arc<Stage>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// A test that fails while it holds a lock has its say at another place.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
