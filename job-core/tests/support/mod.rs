//! A scripted backend: queues of its own that record every call and fail on demand.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, Delivery, ErrorKind, ItemResult, MessageId,
    Outgoing, Peeked, QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use job_core::{Client, Job, JobId, JobOptions, QueueName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What must never be seen outside a message.
pub(crate) const CANARY: &str = "canary-4711";

#[derive(Serialize, Deserialize)]
pub(crate) struct Greet {
    pub(crate) text: String,
}

impl Job for Greet {
    const NAME: &'static str = "greet";
}

pub(crate) fn greet(text: impl Into<String>) -> Greet {
    Greet { text: text.into() }
}

/// A job with options of its own.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) to: u64,
}

impl Job for Mail {
    const NAME: &'static str = "mail";
    const VERSION: u32 = 3;
    const OPTIONS: JobOptions = JobOptions::new().queue("outbox").max_attempts(7);
}

#[derive(Clone)]
pub(crate) struct Fake(Arc<Shared>);

struct Shared {
    capabilities: Capabilities,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<String, Vec<Message>>,
    calls: Vec<String>,
    failures: HashMap<&'static str, VecDeque<Failure>>,
    rejects: Option<(&'static str, ErrorKind)>,
    serial: u64,
    sending: usize,
    most_sending: usize,
}

#[derive(Clone, Copy)]
enum Failure {
    /// Nothing happens.
    Fails(ErrorKind),
    /// It happens, and the answer is lost.
    Lost,
    Passes,
}

pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) body: Bytes,
    pub(crate) visible_at: Instant,
    pub(crate) inserted_at: SystemTime,
    pub(crate) sent_at: Instant,
    pub(crate) delay: Duration,
    pub(crate) ttl: Option<Duration>,
    pub(crate) hint: Option<JobId>,
    count: u32,
    token: u64,
}

/// Local, a hundred at once in everything, and able to peek at ten.
pub(crate) fn capable() -> Capabilities {
    let mut capabilities = Capabilities::minimal();
    capabilities.max_send = 100;
    capabilities.max_receive = 100;
    capabilities.max_delete = 100;
    capabilities.max_peek = 10;
    capabilities.counts = true;
    capabilities.remote = false;
    capabilities
}

impl Fake {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { capabilities, started: Instant::now(), state }))
    }

    /// With that queue and its poison queue.
    pub(crate) fn with_queue(capabilities: Capabilities, queue: &str) -> Self {
        let fake = Self::new(capabilities);
        for queue in [queue.to_owned(), format!("{queue}-poison")] {
            fake.state().queues.insert(queue, Vec::new());
        }
        fake
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// The next such calls (or their items) fail, one kind each.
    pub(crate) fn fail(&self, operation: &'static str, kinds: &[ErrorKind]) {
        let mut state = self.state();
        let failures = state.failures.entry(operation).or_default();
        failures.extend(kinds.iter().map(|kind| Failure::Fails(*kind)));
    }

    /// A call (or item) between failures that succeeds.
    pub(crate) fn pass(&self, operation: &'static str, times: usize) {
        let mut state = self.state();
        let failures = state.failures.entry(operation).or_default();
        failures.extend(std::iter::repeat_n(Failure::Passes, times));
    }

    /// The next such call succeeds, and its answer is lost.
    pub(crate) fn lose_answer(&self, operation: &'static str) {
        self.state().failures.entry(operation).or_default().push_back(Failure::Lost);
    }

    /// Messages whose body contains `text` are not taken.
    pub(crate) fn reject(&self, text: &'static str, kind: ErrorKind) {
        self.state().rejects = Some((text, kind));
    }

    pub(crate) fn remove_queue(&self, queue: &str) {
        self.state().queues.remove(queue);
    }

    pub(crate) fn exists(&self, queue: &str) -> bool {
        self.state().queues.contains_key(queue)
    }

    /// Puts a message there as anybody might.
    pub(crate) fn post(&self, queue: &str, body: impl Into<Bytes>) {
        let (now, time) = (Instant::now(), self.now());
        let mut state = self.state();
        state.serial += 1;
        let id = state.serial;
        let message = Message {
            id,
            body: body.into(),
            visible_at: now,
            inserted_at: time,
            sent_at: now,
            delay: Duration::ZERO,
            ttl: None,
            hint: None,
            count: 0,
            token: 0,
        };
        state.queues.entry(queue.to_owned()).or_default().push(message);
    }

    /// Every call so far, such as `send mail`; forgets them.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    pub(crate) fn most_sending(&self) -> usize {
        self.state().most_sending
    }

    pub(crate) fn look<T>(&self, queue: &str, look: impl FnOnce(&[Message]) -> T) -> T {
        look(self.state().queues.get(queue).map_or(&[], Vec::as_slice))
    }

    pub(crate) fn len(&self, queue: &str) -> usize {
        self.look(queue, <[_]>::len)
    }

    /// How many could be received now.
    pub(crate) fn visible(&self, queue: &str) -> usize {
        let now = Instant::now();
        self.look(queue, |messages| messages.iter().filter(|m| m.visible_at <= now).count())
    }

    pub(crate) fn bodies(&self, queue: &str) -> Vec<Value> {
        self.look(queue, |messages| {
            messages.iter().map(|m| serde_json::from_slice(&m.body).unwrap()).collect()
        })
    }

    /// Records a call and says how it is to fail.
    fn begin(&self, operation: &'static str, about: impl fmt::Display) -> Option<Failure> {
        let mut state = self.state();
        state.calls.push(format!("{operation} {about}"));
        state.failures.get_mut(operation).and_then(VecDeque::pop_front)
    }

    /// Does what a message's receipt is for.
    fn settle<T>(
        &self,
        operation: &'static str,
        receipt: &Receipt,
        act: impl FnOnce(&mut Vec<Message>, usize) -> T,
    ) -> Result<T, BackendError> {
        let failure = self.begin(operation, format_args!("{}", receipt.queue()));
        fails(failure)?;
        let mut state = self.state();
        let messages = state.queues.get_mut(receipt.queue().as_str()).ok_or_else(lease_lost)?;
        let index = messages
            .iter()
            .position(|m| {
                receipt.message_id().as_number() == Some(m.id)
                    && receipt.token().as_number() == Some(m.token)
            })
            .ok_or_else(lease_lost)?;
        let done = act(messages, index);
        answer(failure, done)
    }
}

fn lease_lost() -> BackendError {
    ErrorKind::LeaseLost.into()
}

fn fails(failure: Option<Failure>) -> Result<(), BackendError> {
    match failure {
        Some(Failure::Fails(kind)) => Err(BackendError::new(kind).operation("scripted")),
        _ => Ok(()),
    }
}

fn answer<T>(failure: Option<Failure>, value: T) -> Result<T, BackendError> {
    match failure {
        Some(Failure::Lost) => Err(ErrorKind::Timeout.into()),
        _ => Ok(value),
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake(canary-4711)")
    }
}

#[async_trait::async_trait]
impl Backend for Fake {
    fn system(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.0.started.elapsed()
    }

    async fn create_queue(&self, queue: &QueueName, _: &QueueSpec) -> Result<(), BackendError> {
        fails(self.begin("create", queue))?;
        self.state().queues.entry(queue.to_string()).or_default();
        Ok(())
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        self.state().calls.push(format!("send {queue} {}", messages.len()));
        {
            let mut state = self.state();
            state.sending += 1;
            state.most_sending = state.most_sending.max(state.sending);
        }
        tokio::task::yield_now().await;
        let (now, time) = (Instant::now(), self.now());
        let mut state = self.state();
        state.sending -= 1;
        let State { queues, failures, serial, rejects, .. } = &mut *state;
        let mut send = |message: &Outgoing| {
            let failure = failures.get_mut("send").and_then(VecDeque::pop_front);
            fails(failure)?;
            if message.body.len() > self.0.capabilities.max_body {
                return Err(ErrorKind::TooLarge.into());
            }
            if message.delay > self.0.capabilities.max_delay {
                return Err(ErrorKind::Invalid.into());
            }
            let text = String::from_utf8_lossy(&message.body);
            if let Some((_, kind)) = rejects.filter(|(rejected, _)| text.contains(rejected)) {
                return Err(kind.into());
            }
            let queue = queues.get_mut(queue.as_str()).ok_or(ErrorKind::QueueNotFound)?;
            *serial += 1;
            queue.push(Message {
                id: *serial,
                body: message.body.clone(),
                visible_at: now + message.delay,
                inserted_at: time,
                sent_at: now,
                delay: message.delay,
                ttl: message.ttl,
                hint: message.id,
                count: 0,
                token: 0,
            });
            answer(failure, MessageId::from(*serial))
        };
        messages.iter().map(&mut send).collect()
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let failure = self.begin("receive", &request.queue);
        fails(failure)?;
        let (now, time) = (Instant::now(), self.now());
        let mut state = self.state();
        let State { queues, serial, .. } = &mut *state;
        let messages = queues.get_mut(request.queue.as_str()).ok_or(ErrorKind::QueueNotFound)?;
        let max = request.max.min(self.0.capabilities.max_receive);
        let deliveries = messages
            .iter_mut()
            .filter(|message| message.visible_at <= now)
            .take(max)
            .map(|message| {
                *serial += 1;
                message.token = *serial;
                message.count += 1;
                message.visible_at = now + request.lease;
                let receipt = Receipt::new(request.queue.clone(), message.id, message.token);
                Delivery::new(receipt, message.inserted_at, message.body.clone())
                    .count(message.count)
            })
            .collect();
        answer(failure, Batch::new(deliveries, time))
    }

    async fn renew(&self, receipts: &[Receipt], _: Duration) -> Vec<ItemResult<Receipt>> {
        receipts.iter().map(|_| Err(ErrorKind::Unsupported.into())).collect()
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        self.settle("release", receipt, |messages, index| {
            messages[index].token = 0;
            messages[index].visible_at = Instant::now() + delay;
        })
    }

    async fn replace(&self, _: &Receipt, _: Bytes, _: Duration) -> Result<Receipt, BackendError> {
        Err(ErrorKind::Unsupported.into())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let delete = |receipt| {
            self.settle("delete", receipt, |messages, index| {
                messages.remove(index);
            })
        };
        receipts.iter().map(delete).collect()
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        fails(self.begin("peek", queue))?;
        let now = Instant::now();
        let state = self.state();
        let messages = state.queues.get(queue.as_str()).ok_or(ErrorKind::QueueNotFound)?;
        Ok(messages
            .iter()
            .filter(|message| message.visible_at <= now)
            .take(max.min(self.0.capabilities.max_peek))
            .map(|m| Peeked::new(m.id.into(), m.inserted_at, m.body.clone()))
            .collect())
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        fails(self.begin("stats", queue))?;
        let state = self.state();
        let messages = state.queues.get(queue.as_str()).ok_or(ErrorKind::QueueNotFound)?;
        Ok(QueueStats::new(messages.len() as u64))
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        fails(self.begin("purge", queue))?;
        let mut state = self.state();
        let messages = state.queues.get_mut(queue.as_str()).ok_or(ErrorKind::QueueNotFound)?;
        Ok(Some(std::mem::take(messages).len() as u64))
    }
}

/// A job as a worker puts it into the poison queue of `queue`.
pub(crate) struct Poisoned {
    pub(crate) id: JobId,
    json: Value,
}

impl Poisoned {
    pub(crate) fn new(name: &str, queue: &str) -> Self {
        let id = JobId::new();
        let json = json!({
            "format": 1,
            "id": id.to_string(),
            "name": name,
            "args": { "text": CANARY },
            "enqueued_at": 1_600_000_000_000_u64,
            "options": { "max_attempts": 4 },
            "meta": { "tenant": "acme" },
            "history": { "failed": 4, "crashed": 1, "settled": { "message_id": "9", "count": 5 } },
            "errors": [{ "attempt": 4, "at": 1_600_000_100_000_u64, "error": "connection refused" }],
            "poison": {
                "state": "final",
                "reason": "attempts_exhausted",
                "at": 1_600_000_200_000_u64,
                "queue": queue,
            },
        });
        Self { id, json }
    }

    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.json.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    /// As somebody might put it there by hand.
    pub(crate) fn unmarked(mut self) -> Self {
        self.json.as_object_mut().unwrap().remove("poison");
        self
    }

    pub(crate) fn body(&self) -> String {
        self.json.to_string()
    }
}

/// An error with all its causes, as texts and as `Debug`.
pub(crate) fn everything(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&format!(" | {error}"));
        next = error.source();
    }
    text
}
