//! A backend that does nothing: what is sent is gone, what is received was never sent, and every
//! settlement is fine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, Delivery, ItemResult, MessageId, Outgoing, Peeked,
    QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use tokio::sync::watch;

/// Remembers the last body that was sent, and hands out one that it was given.
#[derive(Debug)]
pub(super) struct Nowhere {
    capabilities: Capabilities,
    state: Mutex<State>,
    settled: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last_sent: Bytes,
    body: Bytes,
    left: u64,
    message: u64,
}

impl Default for Nowhere {
    fn default() -> Self {
        let mut capabilities = Capabilities::minimal();
        capabilities.wakes = true;
        capabilities.max_delay = Duration::from_secs(7 * 24 * 60 * 60);
        capabilities.granularity = Duration::from_millis(1);
        capabilities.max_send = 1024;
        capabilities.max_receive = 32;
        capabilities.max_delete = 32;
        capabilities.replace = true;
        capabilities.counts = true;
        capabilities.remote = false;
        let (settled, _) = watch::channel(0);
        Self { capabilities, state: Mutex::default(), settled }
    }
}

impl Nowhere {
    pub(super) fn last_sent(&self) -> Bytes {
        self.state().last_sent.clone()
    }

    /// Lets so many messages with that body be received.
    pub(super) fn hold(&self, body: Bytes, messages: u64) {
        let mut state = self.state();
        (state.body, state.left) = (body, messages);
    }

    /// Waits until so many messages are deleted or put back.
    pub(super) async fn settled(&self, messages: u64) {
        let all = |settled: &u64| *settled >= messages;
        self.settled.subscribe().wait_for(all).await.expect("the sender is in self");
    }

    fn settle(&self, messages: usize) {
        self.settled.send_modify(|settled| *settled += messages as u64);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for Nowhere {
    fn system(&self) -> &'static str {
        "nowhere"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn create_queue(&self, _: &QueueName, _: &QueueSpec) -> Result<(), BackendError> {
        Ok(())
    }

    async fn send(&self, _: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        let mut state = self.state();
        if let Some(last) = messages.last() {
            state.last_sent = last.body.clone();
        }
        messages.iter().map(|_| Ok(MessageId::from(0))).collect()
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let now = SystemTime::now();
        let mut state = self.state();
        let deliveries = (0..state.left.min(request.max.min(32) as u64)).map(|_| {
            state.left -= 1;
            state.message += 1;
            let receipt = Receipt::new(request.queue.clone(), state.message, state.message);
            Delivery::new(receipt, now, state.body.clone()).count(1)
        });
        Ok(Batch::new(deliveries.collect(), now))
    }

    async fn renew(&self, receipts: &[Receipt], _: Duration) -> Vec<ItemResult<Receipt>> {
        receipts.iter().map(|receipt| Ok(receipt.clone())).collect()
    }

    async fn release(&self, _: &Receipt, _: Duration) -> Result<(), BackendError> {
        self.settle(1);
        Ok(())
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        _: Bytes,
        _: Duration,
    ) -> Result<Receipt, BackendError> {
        self.settle(1);
        Ok(receipt.clone())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        self.settle(receipts.len());
        receipts.iter().map(|_| Ok(())).collect()
    }

    async fn peek(&self, _: &QueueName, _: usize) -> Result<Vec<Peeked>, BackendError> {
        Ok(Vec::new())
    }

    async fn stats(&self, _: &QueueName) -> Result<QueueStats, BackendError> {
        Ok(QueueStats::new(self.state().left))
    }

    async fn purge(&self, _: &QueueName) -> Result<Option<u64>, BackendError> {
        Ok(None)
    }
}
