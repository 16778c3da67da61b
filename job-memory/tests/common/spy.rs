//! A backend that keeps a record of what it is asked, and fails as a test wishes.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, ErrorKind, ItemResult, MessageId, Outgoing, Peeked,
    QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use job_memory::MemoryBackend;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Send,
    Receive,
    Renew,
    Release,
    Replace,
    Delete,
    Stats,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub op: Op,
    pub queue: QueueName,
    /// How many items; the most wanted of a receive.
    pub items: usize,
    /// Which request of its kind it is, from 0.
    pub nth: usize,
    pub at: Instant,
    /// The new body of a replace.
    pub body: Bytes,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Pass,
    /// It never arrives.
    Refuse(ErrorKind),
    /// It is carried out, and nobody hears of it.
    Lose,
    /// It arrives late.
    Late(Duration),
    /// It is carried out, and the answer comes late.
    Slow(Duration),
    /// It is carried out, and the answer comes when the gate is opened.
    Gated,
    Hang,
    Panic,
    /// The answer has no items at all, against the contract.
    Short,
}

type Rule = Box<dyn FnMut(&Request) -> Fate + Send>;

#[derive(Clone)]
pub struct Spy {
    pub inner: MemoryBackend,
    capabilities: Capabilities,
    /// Whether there is a second way to it, for requests that must not wait for handlers.
    apart: bool,
    gate: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

struct State {
    rule: Rule,
    requests: Vec<Request>,
}

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spy").finish_non_exhaustive()
    }
}

impl Spy {
    pub fn new(inner: MemoryBackend) -> Self {
        let capabilities = inner.capabilities().clone();
        let state = State { rule: Box::new(|_| Fate::Pass), requests: Vec::new() };
        Self {
            inner,
            capabilities,
            apart: false,
            gate: Arc::default(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Says that it can do something else than what is behind it can.
    pub fn claim(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }

    /// Lets leases be kept on a thread of their own, as where there are connections to separate.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// From here on requests fare as `rule` says.
    pub fn rule(&self, rule: impl FnMut(&Request) -> Fate + Send + 'static) {
        self.state.lock().unwrap().rule = Box::new(rule);
    }

    /// Lets one gated answer through, now or when there is one.
    pub fn open_gate(&self) {
        self.gate.notify_one();
    }

    pub fn heal(&self) {
        self.rule(|_| Fate::Pass);
    }

    pub fn requests(&self, op: Op) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|request| request.op == op).cloned().collect()
    }

    pub fn count(&self, op: Op) -> usize {
        self.requests(op).len()
    }

    fn ask(&self, op: Op, queue: &QueueName, items: usize, body: Bytes) -> Fate {
        let mut state = self.state.lock().unwrap();
        let nth = state.requests.iter().filter(|request| request.op == op).count();
        let request = Request { op, queue: queue.clone(), items, nth, at: Instant::now(), body };
        let fate = (state.rule)(&request);
        state.requests.push(request);
        fate
    }

    async fn one<T>(
        &self,
        fate: Fate,
        request: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        match fate {
            Fate::Pass | Fate::Short => request.await,
            Fate::Refuse(kind) => Err(BackendError::new(kind).with_outcome_unknown(false)),
            Fate::Lose => {
                request.await?;
                Err(BackendError::new(ErrorKind::Timeout))
            }
            Fate::Late(by) => {
                sleep(by).await;
                request.await
            }
            Fate::Slow(by) => {
                let result = request.await;
                sleep(by).await;
                result
            }
            Fate::Gated => {
                let result = request.await;
                self.gate.notified().await;
                result
            }
            Fate::Hang => std::future::pending().await,
            Fate::Panic => panic!("the backend panics"),
        }
    }

    async fn several<T>(
        &self,
        fate: Fate,
        items: usize,
        request: impl Future<Output = Vec<ItemResult<T>>>,
    ) -> Vec<ItemResult<T>> {
        let refuse = |kind: ErrorKind, unknown: bool| {
            let error = || BackendError::new(kind).with_outcome_unknown(unknown);
            (0..items).map(|_| Err(error())).collect()
        };
        match fate {
            Fate::Pass => request.await,
            Fate::Refuse(kind) => refuse(kind, false),
            Fate::Lose => {
                request.await;
                refuse(ErrorKind::Timeout, true)
            }
            Fate::Late(by) => {
                sleep(by).await;
                request.await
            }
            Fate::Slow(by) => {
                let results = request.await;
                sleep(by).await;
                results
            }
            Fate::Gated => {
                let results = request.await;
                self.gate.notified().await;
                results
            }
            Fate::Hang => std::future::pending().await,
            Fate::Panic => panic!("the backend panics"),
            Fate::Short => Vec::new(),
        }
    }
}

#[async_trait]
impl Backend for Spy {
    fn system(&self) -> &'static str {
        "spy"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn independent(&self) -> Option<Arc<dyn Backend>> {
        self.apart.then(|| Arc::new(self.clone()) as _)
    }

    fn now(&self) -> SystemTime {
        self.inner.now()
    }

    async fn create_queue(&self, queue: &QueueName, spec: &QueueSpec) -> Result<(), BackendError> {
        let fate = self.ask(Op::Create, queue, 1, Bytes::new());
        self.one(fate, self.inner.create_queue(queue, spec)).await
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        let fate = self.ask(Op::Send, queue, messages.len(), Bytes::new());
        self.several(fate, messages.len(), self.inner.send(queue, messages)).await
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let fate = self.ask(Op::Receive, &request.queue, request.max, Bytes::new());
        self.one(fate, self.inner.receive(request)).await
    }

    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        if self.capabilities.wakes {
            self.inner.wait_visible(queue, at_most).await;
        } else {
            sleep(at_most).await;
        }
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let fate = self.ask(Op::Renew, receipts[0].queue(), receipts.len(), Bytes::new());
        self.several(fate, receipts.len(), self.inner.renew(receipts, lease)).await
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let fate = self.ask(Op::Release, receipt.queue(), 1, Bytes::new());
        self.one(fate, self.inner.release(receipt, delay)).await
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let fate = self.ask(Op::Replace, receipt.queue(), 1, body.clone());
        self.one(fate, self.inner.replace(receipt, body, delay)).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let queue = receipts.first().expect("nobody deletes nothing").queue();
        let fate = self.ask(Op::Delete, queue, receipts.len(), Bytes::new());
        self.several(fate, receipts.len(), self.inner.delete(receipts)).await
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        self.inner.peek(queue, max).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        let fate = self.ask(Op::Stats, queue, 1, Bytes::new());
        self.one(fate, self.inner.stats(queue)).await
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        self.inner.purge(queue).await
    }
}
