//! The backend that a test's client and worker see: every request passes here on its way to the
//! queues behind, is entered in the book, and fares as the faults say.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, ErrorKind, ItemResult, MessageId, Outgoing, Peeked,
    QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use tokio::time::{Instant, sleep};

use super::fault::{How, Kind, Operation};
use super::inline::{self, Fate};
use super::stage::Stage;
use super::step::Step;
use super::wire::Wire;

/// How often a remote service is asked again for what is due by its own account: clocks differ, and
/// some round to seconds.
const ASK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(super) struct TestBackend(pub(super) Arc<Stage>);

impl TestBackend {
    async fn send_one(&self, queue: &QueueName, message: &Outgoing) -> ItemResult<MessageId> {
        let Self(stage) = self;
        let delay = match inline::run(stage, queue, message).await {
            Fate::Ran(result) => return result,
            Fate::Queue(delay) => delay,
        };
        let message = &message.clone().delay(delay);
        let sent = self.store(queue, message).await;
        let name = Wire::read(&message.body).name.filter(|_| sent.is_ok() && !queue.is_poison());
        if name.is_some_and(|name| stage.faults().job(&name, &[Kind::Duplicate]).is_some()) {
            let _ = self.store(queue, message).await;
        }
        if sent.is_ok()
            && let Some(step) = &mut *stage.step()
        {
            step.sent(queue, &message.body, message.delay);
        }
        sent
    }

    async fn store(&self, queue: &QueueName, message: &Outgoing) -> ItemResult<MessageId> {
        let Self(stage) = self;
        let messages = std::slice::from_ref(message);
        let id = stage.inner.send(&stage.inward(queue), messages).await.remove(0)?;
        stage.book().sent(queue, id.clone(), &message.body, message.delay, stage.now());
        Ok(id)
    }

    /// One receive that the gate lets through.
    async fn take(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let Self(stage) = self;
        let (queue, lease) = (request.queue.clone(), request.lease);
        let fault = stage.ask(Operation::Receive).await;
        if let Some(how @ How::Fail(_)) = fault {
            return Err(how.error("receive", &queue));
        }
        if let Some(memory) = stage.memory.as_ref().filter(|_| stage.faults().turned) {
            memory.last_first(&queue);
        }
        let mut inward = request;
        inward.queue = stage.inward(&queue);
        inward.max = 1;
        let mut batch = stage.inner.receive(inward.clone()).await?;
        // Within the time that a worker gives a receive, which is a quarter of the lease.
        let until = Instant::now() + lease / 8;
        while batch.deliveries.is_empty()
            && stage.inner.capabilities().remote
            && stage.book().is_due(&queue, stage.now())
            && Instant::now() < until
        {
            sleep(ASK_AGAIN).await;
            batch = stage.inner.receive(inward.clone()).await?;
        }
        for delivery in &mut batch.deliveries {
            delivery.receipt = stage.receipt_outward(&queue, &delivery.receipt);
            stage.book().held(&queue, &delivery.message_id, lease, stage.now());
        }
        if let Some(how) = fault {
            return Err(how.error("receive", &queue));
        }
        stage.gate.close();
        if let Some(delivery) = batch.deliveries.first() {
            *stage.step() = Some(Step::new(delivery.receipt.clone(), &delivery.body));
        }
        Ok(batch)
    }

    /// Whether the settlement of that message is to fail. `holds` says that the request only
    /// prepares one.
    fn refuses(&self, receipt: &Receipt) -> bool {
        let mut faults = self.0.faults();
        let refuses = |step: &mut Step| {
            if let Some(job) = step.started_job()
                && faults.job(job, &[Kind::FailSettle]).is_some()
            {
                (step.refused, step.spoilt) = (true, true);
            }
            step.refused
        };
        self.0.with_step(receipt, refuses).unwrap_or(false)
    }

    /// What becomes of a request about one message.
    async fn about(
        &self,
        operation: Operation,
        name: &'static str,
        receipt: &Receipt,
    ) -> Result<Option<How>, BackendError> {
        let fault = self.0.ask(operation).await;
        if let Some(how @ How::Fail(_)) = fault {
            return Err(how.error(name, receipt.queue()));
        }
        if operation != Operation::Renew && self.refuses(receipt) {
            return Err(How::Fail(ErrorKind::Other).error(name, receipt.queue()));
        }
        Ok(fault)
    }

    async fn delete_one(&self, receipt: &Receipt) -> ItemResult<()> {
        let Self(stage) = self;
        let fault = self.about(Operation::Delete, "delete", receipt).await?;
        let inward = stage.receipt_inward(receipt);
        stage.inner.delete(&[inward]).await.remove(0)?;
        let (queue, message) = (receipt.queue(), receipt.message_id());
        let how = stage.with_step(receipt, Step::deleted);
        // What was only moved is in the book where it is now.
        let how = how.filter(|how| matches!(*how, "completed" | "discarded" | "expired"));
        stage.book().gone(queue, message, how);
        fault.map_or(Ok(()), |how| Err(how.error("delete", queue)))
    }

    async fn renew_one(&self, receipt: &Receipt, lease: Duration) -> ItemResult<Receipt> {
        let Self(stage) = self;
        let fault = self.about(Operation::Renew, "renew", receipt).await?;
        let (queue, inward) = (receipt.queue(), stage.receipt_inward(receipt));
        let renewed = stage.inner.renew(&[inward], lease).await.remove(0)?;
        let renewed = stage.receipt_outward(queue, &renewed);
        stage.book().held(queue, receipt.message_id(), lease, stage.now());
        stage.with_step(receipt, |step| step.receipt = renewed.clone());
        fault.map_or(Ok(renewed), |how| Err(how.error("renew", queue)))
    }
}

#[async_trait]
impl Backend for TestBackend {
    fn system(&self) -> &'static str {
        self.0.inner.system()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.inner.capabilities()
    }

    fn now(&self) -> SystemTime {
        self.0.now()
    }

    async fn create_queue(&self, queue: &QueueName, spec: &QueueSpec) -> Result<(), BackendError> {
        let Self(stage) = self;
        if stage.is_created(queue) {
            return Ok(());
        }
        let fault = stage.ask(Operation::CreateQueue).await;
        if let Some(how @ How::Fail(_)) = fault {
            return Err(how.error("create", queue));
        }
        stage.inner.create_queue(&stage.inward(queue), spec).await?;
        stage.created(queue);
        fault.map_or(Ok(()), |how| Err(how.error("create", queue)))
    }

    async fn check_access(&self, queue: &QueueName) -> Result<(), BackendError> {
        self.0.inner.check_access(&self.0.inward(queue)).await
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        let fault = self.0.ask(Operation::Send).await;
        if let Some(how @ How::Fail(_)) = fault {
            return messages.iter().map(|_| Err(how.error("send", queue))).collect();
        }
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            let sent = self.send_one(queue, message).await;
            results.push(fault.map_or(sent, |how| Err(how.error("send", queue))));
        }
        results
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let Self(stage) = self;
        if stage.served().contains(&request.queue) {
            if stage.gate.is_open(&request.queue) {
                return self.take(request).await;
            }
            return Ok(Batch::new(Vec::new(), stage.now()));
        }
        // Not by the worker: somebody looks after a poison queue, say.
        let (queue, lease) = (request.queue.clone(), request.lease);
        let mut inward = request;
        inward.queue = stage.inward(&queue);
        let mut batch = stage.inner.receive(inward).await?;
        for delivery in &mut batch.deliveries {
            delivery.receipt = stage.receipt_outward(&queue, &delivery.receipt);
            stage.book().held(&queue, &delivery.message_id, lease, stage.now());
        }
        Ok(batch)
    }

    async fn wait_visible(&self, queue: &QueueName, at_most: Duration) {
        let Self(stage) = self;
        if stage.served().contains(queue) {
            return stage.gate.wait(queue).await;
        }
        stage.inner.wait_visible(&stage.inward(queue), at_most).await;
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let mut results = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            results.push(self.renew_one(receipt, lease).await);
        }
        results
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let Self(stage) = self;
        let fault = self.about(Operation::Release, "release", receipt).await?;
        stage.inner.release(&stage.receipt_inward(receipt), delay).await?;
        let (queue, message) = (receipt.queue(), receipt.message_id());
        stage.book().put_off(queue, message, delay, stage.now());
        stage.with_step(receipt, |step| step.released(delay));
        fault.map_or(Ok(()), |how| Err(how.error("release", queue)))
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let Self(stage) = self;
        let fault = self.about(Operation::Replace, "replace", receipt).await?;
        let inward = stage.receipt_inward(receipt);
        let replaced = stage.inner.replace(&inward, body.clone(), delay).await?;
        let (queue, message) = (receipt.queue(), receipt.message_id());
        let replaced = stage.receipt_outward(queue, &replaced);
        let holds = stage.with_step(receipt, |step| step.replaced(replaced.clone(), &body, delay));
        let (mut book, now) = (stage.book(), stage.now());
        book.rewritten(queue, message, &body);
        match holds {
            Some(true) => book.held(queue, message, delay, now),
            _ => book.put_off(queue, message, delay, now),
        }
        drop(book);
        fault.map_or(Ok(replaced), |how| Err(how.error("replace", queue)))
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        let mut results = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            results.push(self.delete_one(receipt).await);
        }
        results
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        if let Some(how) = self.0.ask(Operation::Peek).await {
            return Err(how.error("peek", queue));
        }
        self.0.inner.peek(&self.0.inward(queue), max).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        if let Some(how) = self.0.ask(Operation::Stats).await {
            return Err(how.error("stats", queue));
        }
        self.0.inner.stats(&self.0.inward(queue)).await
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        let purged = self.0.inner.purge(&self.0.inward(queue)).await?;
        self.0.book().purged(queue);
        Ok(purged)
    }
}
