//! A backend whose requests are counted, and which is otherwise as it is: a client that counts in
//! its place would not have the connections that a worker has by default.
//!
//! It counts what is asked of the backend. What that has to repeat does not show, nor what is
//! asked before the first message.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, ItemResult, MessageId, Outgoing, Peeked, QueueSpec,
    QueueStats, Receipt, ReceiveRequest,
};

use super::traffic::Traffic;

/// For a service that takes one message in each request but a receive.
pub(super) struct Counted {
    inner: Arc<dyn Backend>,
    traffic: Arc<Traffic>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn Backend>, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Counted {
    fn system(&self) -> &'static str {
        self.inner.system()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn now(&self) -> SystemTime {
        self.inner.now()
    }

    fn independent(&self) -> Option<Arc<dyn Backend>> {
        let inner = self.inner.independent()?;
        Some(Arc::new(Self::new(inner, Arc::clone(&self.traffic))))
    }

    async fn create_queue(&self, queue: &QueueName, spec: &QueueSpec) -> Result<(), BackendError> {
        self.inner.create_queue(queue, spec).await
    }

    async fn check_access(&self, queue: &QueueName) -> Result<(), BackendError> {
        self.inner.check_access(queue).await
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        self.traffic.requested(messages.len());
        self.inner.send(queue, messages).await
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        self.traffic.requested(1);
        self.inner.receive(request).await
    }

    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        self.inner.wait_visible(queue, at_most).await;
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        self.traffic.requested(receipts.len());
        self.inner.renew(receipts, lease).await
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        self.traffic.requested(1);
        self.inner.release(receipt, delay).await
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        self.traffic.requested(1);
        self.inner.replace(receipt, body, delay).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        self.traffic.requested(receipts.len());
        let results = self.inner.delete(receipts).await;
        self.traffic.deleted(results.iter().filter(|result| result.is_ok()).count());
        results
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        self.traffic.requested(1);
        self.inner.peek(queue, max).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        self.traffic.requested(1);
        self.inner.stats(queue).await
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        self.traffic.requested(1);
        self.inner.purge(queue).await
    }
}
