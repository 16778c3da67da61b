//! A backend that refuses requests, loses their responses and stalls, from a seed; and that tells
//! the ledger what was really done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, ErrorKind, ItemResult, MessageId, Outgoing, Peeked,
    QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use job_core::{JobId, QueueName};
use job_memory::MemoryBackend;
use tokio::time::sleep;

use super::ledger::{Event, Ledger};

/// What goes wrong, and whether it still does.
#[derive(Clone, Debug)]
pub struct Faults {
    over: Arc<AtomicBool>,
    rng: Arc<Mutex<fastrand::Rng>>,
}

enum Fault {
    None,
    /// The request never arrives.
    Refused(ErrorKind),
    /// It is carried out, and nobody hears of it.
    ResponseLost,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed ^ 0xFA17);
        Self { over: Arc::default(), rng: Arc::new(Mutex::new(rng)) }
    }

    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    async fn strike(&self, ledger: &Ledger) -> Fault {
        if self.over.load(Ordering::SeqCst) {
            return Fault::None;
        }
        let (dice, stall) = {
            let mut rng = self.rng.lock().unwrap();
            (rng.u32(0..1000), rng.u64(100..15_000))
        };
        if dice < 150 {
            ledger.fault();
        }
        match dice {
            0..30 => Fault::Refused(ErrorKind::Throttled),
            30..70 => Fault::Refused(ErrorKind::Unavailable),
            70..120 => Fault::ResponseLost,
            120..140 => {
                sleep(Duration::from_millis(stall)).await;
                Fault::None
            }
            140..150 => {
                sleep(Duration::from_millis(stall)).await;
                Fault::ResponseLost
            }
            _ => Fault::None,
        }
    }
}

/// Memory behind a bad wire.
#[derive(Debug)]
pub struct FaultyBackend {
    inner: MemoryBackend,
    faults: Faults,
    ledger: Ledger,
    /// By message: which job it is, and whether it was put back since its last delivery.
    messages: Mutex<HashMap<(QueueName, MessageId), Tracked>>,
}

#[derive(Debug)]
struct Tracked {
    job: JobId,
    delivered: bool,
}

/// The parts of an envelope that the ledger wants to know.
#[derive(serde::Deserialize)]
struct Glimpse {
    id: String,
    poison: Option<GlimpsePoison>,
    #[serde(default)]
    history: GlimpseHistory,
}

#[derive(serde::Deserialize)]
struct GlimpsePoison {
    state: String,
}

#[derive(Default, serde::Deserialize)]
struct GlimpseHistory {
    #[serde(default)]
    given_back: u32,
}

fn glimpse(body: &[u8]) -> (JobId, Glimpse) {
    let glimpse: Glimpse = serde_json::from_slice(body).expect("an envelope");
    (glimpse.id.parse().expect("a job id"), glimpse)
}

fn lost() -> BackendError {
    BackendError::new(ErrorKind::Timeout)
}

impl FaultyBackend {
    pub fn new(inner: MemoryBackend, faults: Faults, ledger: Ledger) -> Self {
        Self { inner, faults, ledger, messages: Mutex::default() }
    }

    fn job_of(&self, receipt: &Receipt) -> Option<JobId> {
        let key = (receipt.queue().clone(), receipt.message_id().clone());
        self.messages.lock().unwrap().get(&key).map(|tracked| tracked.job)
    }

    /// It was put back in good order: its next delivery is no expiry.
    fn put_back(&self, receipt: &Receipt) {
        let key = (receipt.queue().clone(), receipt.message_id().clone());
        if let Some(tracked) = self.messages.lock().unwrap().get_mut(&key) {
            tracked.delivered = false;
        }
    }

    fn answer<T>(fault: &Fault, results: Vec<ItemResult<T>>) -> Vec<ItemResult<T>> {
        match fault {
            Fault::ResponseLost => results.iter().map(|_| Err(lost())).collect(),
            _ => results,
        }
    }
}

#[async_trait]
impl Backend for FaultyBackend {
    fn system(&self) -> &'static str {
        "faulty"
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn now(&self) -> SystemTime {
        self.inner.now()
    }

    async fn create_queue(&self, queue: &QueueName, spec: &QueueSpec) -> Result<(), BackendError> {
        self.inner.create_queue(queue, spec).await
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        let fault = self.faults.strike(&self.ledger).await;
        if let Fault::Refused(kind) = fault {
            return messages.iter().map(|_| Err(kind.into())).collect();
        }
        // Into the map first: on a clock that stands still a worker may be faster than this.
        let results = self.inner.send(queue, messages).await;
        for (message, result) in messages.iter().zip(&results) {
            let Ok(message_id) = result else { continue };
            let (job, _) = glimpse(&message.body);
            let key = (queue.clone(), message_id.clone());
            self.messages.lock().unwrap().insert(key, Tracked { job, delivered: false });
            if queue.is_poison() {
                self.ledger.event(job, Event::Copied);
            }
            if matches!(fault, Fault::ResponseLost) {
                self.ledger.lost_response(job);
            }
        }
        Self::answer(&fault, results)
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let fault = self.faults.strike(&self.ledger).await;
        if let Fault::Refused(kind) = fault {
            return Err(kind.into());
        }
        let queue = request.queue.clone();
        let batch = self.inner.receive(request).await?;
        for delivery in &batch.deliveries {
            let (job, _) = glimpse(&delivery.body);
            let key = (queue.clone(), delivery.message_id.clone());
            let mut messages = self.messages.lock().unwrap();
            let tracked = messages.entry(key).or_insert(Tracked { job, delivered: false });
            if std::mem::replace(&mut tracked.delivered, true) {
                self.ledger.expired(job);
            }
        }
        if matches!(fault, Fault::ResponseLost) { Err(lost()) } else { Ok(batch) }
    }

    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        self.inner.wait_visible(queue, at_most).await;
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let fault = self.faults.strike(&self.ledger).await;
        if let Fault::Refused(kind) = fault {
            return receipts.iter().map(|_| Err(kind.into())).collect();
        }
        Self::answer(&fault, self.inner.renew(receipts, lease).await)
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let fault = self.faults.strike(&self.ledger).await;
        if let Fault::Refused(kind) = fault {
            return Err(kind.into());
        }
        self.inner.release(receipt, delay).await?;
        self.put_back(receipt);
        if matches!(fault, Fault::ResponseLost) { Err(lost()) } else { Ok(()) }
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let fault = self.faults.strike(&self.ledger).await;
        if let Fault::Refused(kind) = fault {
            return Err(kind.into());
        }
        let (job, glimpse) = glimpse(&body);
        let marked = body.windows(11).any(|window| window == b"\"started\":{");
        let replaced = self.inner.replace(receipt, body, delay).await?;
        self.ledger.given_back(job, glimpse.history.given_back);
        if glimpse.poison.is_some_and(|poison| poison.state == "pending") {
            self.ledger.event(job, Event::Fenced);
        } else if !marked {
            // A fence and a start mark keep the lease; everything else puts the message back.
            self.put_back(receipt);
        }
        if matches!(fault, Fault::ResponseLost) { Err(lost()) } else { Ok(replaced) }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let fault = self.faults.strike(&self.ledger).await;
        if let Fault::Refused(kind) = fault {
            return receipts.iter().map(|_| Err(kind.into())).collect();
        }
        let results = self.inner.delete(receipts).await;
        for (receipt, result) in receipts.iter().zip(&results) {
            if let (Ok(()), Some(job)) = (result, self.job_of(receipt))
                && !receipt.queue().is_poison()
            {
                self.ledger.event(job, Event::Deleted);
            }
        }
        Self::answer(&fault, results)
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        self.inner.peek(queue, max).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        self.inner.stats(queue).await
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        self.inner.purge(queue).await
    }
}
