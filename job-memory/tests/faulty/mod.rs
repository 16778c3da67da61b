//! A backend with one fault, around one that has none.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, Delivery, ErrorKind, ItemResult, MessageId,
    Outgoing, Peeked, QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use job_memory::MemoryBackend;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    BodiesAsText,
    BodiesEndAtZero,
    BodiesTrimmed,
    CountStays,
    DelayCut,
    DelayIgnored,
    DelayRoundedDown,
    DeleteIgnoresStale,
    DeleteReversed,
    EmptyDropped,
    ErrorsShowBodies,
    ErrorsShowTokens,
    InterruptIgnored,
    InterruptLoses,
    LeaseEndLoses,
    LeaseHalved,
    LeaseHidesNothing,
    LeaseNeverEnds,
    MaxExceeded,
    NeverWakes,
    PeekCounts,
    PeekLeases,
    PurgeLeavesHidden,
    QueuesShared,
    ReleaseAtOnce,
    RenewCounts,
    RenewKeepsReceipt,
    RenewNeverShortens,
    RenewReversed,
    ReplaceCuts,
    ReplaceDatesAnew,
    ReplaceInTwoSteps,
    SendAllOrNothing,
    SendCut,
    SendMakesQueue,
    SendReversed,
    StatsForgetLeases,
    TtlByDefault,
    TtlIgnored,
    TwoClocks,
    WaitIgnored,
}

/// The faulty backend.
#[derive(Debug)]
pub(crate) struct Faulty {
    fault: Fault,
    inner: MemoryBackend,
    notes: Mutex<Notes>,
}

/// What some faults need to remember of a message.
#[derive(Debug, Default)]
struct Notes {
    /// The receipt that is valid, where another was handed out.
    current: HashMap<MessageId, Receipt>,
    /// A wrong time of sending.
    dated: HashMap<MessageId, SystemTime>,
    /// What is wrongly added to the count.
    extra: HashMap<MessageId, u32>,
}

impl Faulty {
    pub(crate) fn new(fault: Fault, inner: MemoryBackend) -> Self {
        Self { fault, inner, notes: Mutex::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn queue(&self, queue: &QueueName) -> QueueName {
        if self.is(Fault::QueuesShared) { QueueName::new("one").unwrap() } else { queue.clone() }
    }

    /// The receipt as the inner backend knows it.
    fn inward(&self, receipt: &Receipt) -> Receipt {
        let current = self.notes.lock().unwrap().current.get(receipt.message_id()).cloned();
        let receipt = current.unwrap_or_else(|| receipt.clone());
        let Some(text) = receipt.token().as_text() else {
            let queue = self.queue(receipt.queue());
            return Receipt::new(queue, receipt.message_id().clone(), receipt.token().clone());
        };
        let number: u64 = text.trim_start_matches("secret-").parse().unwrap();
        Receipt::new(receipt.queue().clone(), receipt.message_id().clone(), number)
    }

    /// The receipt as it is handed out.
    fn outward(&self, queue: &QueueName, receipt: Receipt) -> Receipt {
        match receipt.token().as_number() {
            Some(number) if self.is(Fault::ErrorsShowTokens) => Receipt::new(
                queue.clone(),
                receipt.message_id().clone(),
                format!("secret-{number}"),
            ),
            _ => {
                let (id, token) = (receipt.message_id().clone(), receipt.token().clone());
                Receipt::new(queue.clone(), id, token)
            }
        }
    }

    fn body(&self, body: Bytes) -> Bytes {
        match self.fault {
            Fault::BodiesAsText => String::from_utf8_lossy(&body).into_owned().into(),
            Fault::BodiesTrimmed => body.trim_ascii().to_vec().into(),
            Fault::BodiesEndAtZero => {
                let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
                body.slice(..end)
            }
            _ => body,
        }
    }

    fn delay(&self, delay: Duration) -> Duration {
        match self.fault {
            Fault::DelayIgnored => Duration::ZERO,
            Fault::DelayCut => delay.min(self.capabilities().max_delay),
            Fault::DelayRoundedDown => Duration::from_secs(delay.as_secs()),
            _ => delay,
        }
    }

    fn error(&self, error: BackendError, body: &[u8], receipt: Option<&Receipt>) -> BackendError {
        match (self.fault, receipt) {
            (Fault::ErrorsShowBodies, _) => error.message(String::from_utf8_lossy(body)),
            (Fault::ErrorsShowTokens, Some(receipt)) => {
                error.with_source(receipt.token().as_text().unwrap_or_default())
            }
            _ => error,
        }
    }

    async fn delivered(&self, queue: &QueueName, mut delivery: Delivery) -> Option<Delivery> {
        let again = delivery.count.is_some_and(|count| count > 1);
        if self.is(Fault::LeaseEndLoses) && again {
            self.inner.delete(&[delivery.receipt]).await;
            return None;
        }
        if self.is(Fault::LeaseHidesNothing) {
            self.inner.release(&delivery.receipt, Duration::ZERO).await.unwrap();
        }
        let mut notes = self.notes.lock().unwrap();
        // A delivery ends the life of every receipt before it, also in a faulty backend.
        notes.current.remove(&delivery.message_id);
        if let Some(dated) = notes.dated.get(&delivery.message_id) {
            delivery.inserted_at = *dated;
        }
        let extra = notes.extra.get(&delivery.message_id).copied().unwrap_or(0);
        delivery.count = match self.fault {
            Fault::CountStays => Some(1),
            _ => delivery.count.map(|count| count + extra),
        };
        delivery.body = self.body(delivery.body);
        delivery.receipt = self.outward(queue, delivery.receipt);
        Some(delivery)
    }
}

#[async_trait]
impl Backend for Faulty {
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
        self.inner.create_queue(&self.queue(queue), spec).await
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        let queue = self.queue(queue);
        if self.is(Fault::SendMakesQueue) {
            self.inner.create_queue(&queue, &QueueSpec::default()).await.unwrap();
        }
        let mut changed = messages.to_vec();
        for message in &mut changed {
            message.delay = self.delay(message.delay);
            match self.fault {
                Fault::TtlIgnored => message.ttl = None,
                Fault::TtlByDefault => {
                    message.ttl = message.ttl.or(Some(Duration::from_millis(300)));
                }
                _ => {}
            }
        }
        match self.fault {
            Fault::SendCut => changed.truncate(self.capabilities().max_send),
            Fault::EmptyDropped if changed.iter().all(|message| message.body.is_empty()) => {
                return changed.iter().map(|_| Ok(0.into())).collect();
            }
            _ => {}
        }
        let mut results = self.inner.send(&queue, &changed).await;
        if self.is(Fault::SendReversed) {
            results.reverse();
        }
        if self.is(Fault::SendAllOrNothing) && results.iter().any(Result::is_err) {
            return messages.iter().map(|_| Err(ErrorKind::TooLarge.into())).collect();
        }
        results
            .into_iter()
            .zip(messages)
            .map(|(sent, message)| sent.map_err(|error| self.error(error, &message.body, None)))
            .collect()
    }

    async fn receive(&self, mut request: ReceiveRequest) -> Result<Batch, BackendError> {
        let queue = request.queue.clone();
        request.queue = self.queue(&queue);
        match self.fault {
            Fault::LeaseHalved => request.lease /= 2,
            Fault::LeaseNeverEnds => request.lease = self.capabilities().max_lease,
            Fault::MaxExceeded => request.max += 1,
            Fault::WaitIgnored => request.wait = Duration::ZERO,
            Fault::InterruptIgnored => request.interrupt = None,
            _ => {}
        }
        let interrupt = request.interrupt.clone();
        let batch = self.inner.receive(request).await?;
        let mut deliveries = Vec::new();
        for delivery in batch.deliveries {
            deliveries.extend(self.delivered(&queue, delivery).await);
        }
        if self.is(Fault::InterruptLoses) && interrupt.is_some_and(|token| token.is_cancelled()) {
            deliveries.clear();
        }
        let two_clocks = self.is(Fault::TwoClocks);
        let server_now = if two_clocks { SystemTime::now() } else { batch.server_now };
        Ok(Batch::new(deliveries, server_now))
    }

    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        if self.is(Fault::NeverWakes) {
            return tokio::time::sleep(at_most).await;
        }
        self.inner.wait_visible(&self.queue(queue), at_most).await;
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let inward: Vec<_> = receipts.iter().map(|receipt| self.inward(receipt)).collect();
        let longest = self.capabilities().max_lease;
        let never = self.is(Fault::RenewNeverShortens) && lease <= longest;
        let lease = if never { longest } else { lease };
        let mut results = self.inner.renew(&inward, lease).await;
        if self.is(Fault::RenewReversed) {
            results.reverse();
        }
        let renewed = |(result, receipt): (ItemResult<Receipt>, &Receipt)| {
            let renewed = result.map_err(|error| self.error(error, &[], Some(receipt)))?;
            let mut notes = self.notes.lock().unwrap();
            let id = receipt.message_id().clone();
            match self.fault {
                Fault::RenewKeepsReceipt => {
                    notes.current.insert(id, renewed);
                    return Ok(receipt.clone());
                }
                Fault::RenewCounts => *notes.extra.entry(id).or_default() += 1,
                _ => {}
            }
            Ok(self.outward(receipt.queue(), renewed))
        };
        results.into_iter().zip(receipts).map(renewed).collect()
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let at_once = self.is(Fault::ReleaseAtOnce) && delay <= self.capabilities().max_delay;
        let delay = if at_once { Duration::ZERO } else { delay };
        let released = self.inner.release(&self.inward(receipt), delay).await;
        released.map_err(|error| self.error(error, &[], Some(receipt)))
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let inward = self.inward(receipt);
        let failed = |error| self.error(error, &body, Some(receipt));
        match self.fault {
            Fault::ReplaceInTwoSteps => {
                self.inner.delete(&[inward]).await.remove(0)?;
                let message = Outgoing::new(body.clone()).delay(delay);
                let id = self.inner.send(receipt.queue(), &[message]).await.remove(0)?;
                return Ok(Receipt::new(receipt.queue().clone(), id, 0));
            }
            Fault::ReplaceDatesAnew => {
                let (id, now) = (receipt.message_id().clone(), self.now());
                self.notes.lock().unwrap().dated.insert(id, now);
            }
            _ => {}
        }
        let most = self.capabilities().max_body;
        let cut = self.is(Fault::ReplaceCuts) && body.len() > most;
        let kept = if cut { body.slice(..most) } else { body.clone() };
        let replaced = self.inner.replace(&inward, kept, delay).await.map_err(failed)?;
        Ok(self.outward(receipt.queue(), replaced))
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let inward: Vec<_> = receipts.iter().map(|receipt| self.inward(receipt)).collect();
        let mut results = self.inner.delete(&inward).await;
        if self.is(Fault::DeleteReversed) {
            results.reverse();
        }
        let deleted = |(result, receipt): (ItemResult<()>, &Receipt)| match result {
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                let ignored = self.is(Fault::DeleteIgnoresStale);
                if ignored { Ok(()) } else { Err(self.error(error, &[], Some(receipt))) }
            }
            result => result.map_err(|error| self.error(error, &[], Some(receipt))),
        };
        results.into_iter().zip(receipts).map(deleted).collect()
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        let mut peeked = self.inner.peek(&self.queue(queue), max).await?;
        for message in &mut peeked {
            message.body = self.body(message.body.clone());
            if self.is(Fault::PeekCounts) {
                let mut notes = self.notes.lock().unwrap();
                *notes.extra.entry(message.message_id.clone()).or_default() += 1;
            }
        }
        if self.is(Fault::PeekLeases) {
            self.inner.receive(ReceiveRequest::new(queue.clone()).max(max)).await?;
        }
        Ok(peeked)
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        let mut stats = self.inner.stats(&self.queue(queue)).await?;
        if self.is(Fault::StatsForgetLeases) {
            stats.total = stats.visible.unwrap_or_default();
        }
        Ok(stats)
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        if !self.is(Fault::PurgeLeavesHidden) {
            return self.inner.purge(&self.queue(queue)).await;
        }
        let taken = self.inner.receive(ReceiveRequest::new(queue.clone()).max(32)).await?;
        for delivery in taken.deliveries {
            self.inner.delete(&[delivery.receipt]).await.remove(0)?;
        }
        Ok(None)
    }
}
