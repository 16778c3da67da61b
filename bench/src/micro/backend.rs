//! What the queues in memory are asked to do, without a worker.

use std::time::{Duration, Instant};

use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{Backend, Outgoing, Receipt, ReceiveRequest};
use job_memory::MemoryBackend;

use super::each;
use crate::round::{Effort, Sample};

/// How many messages there are in one round.
const MESSAGES: u64 = 51_200;

/// How many go with each call, where it takes several.
const BATCH: usize = 32;

const LEASE: Duration = Duration::from_secs(60);

pub(super) async fn steps(effort: Effort) -> anyhow::Result<Vec<Sample>> {
    let messages = effort.of(MESSAGES);
    let backend = MemoryBackend::new();
    let queue = QueueName::new("bench")?;
    backend.create_queue(&queue, &Default::default()).await?;
    // As long as an envelope with args of 24 bytes.
    let body = Bytes::from(vec![b'x'; 200]);
    let batch: Vec<_> = (0..BATCH).map(|_| Outgoing::new(body.clone())).collect();
    let mut samples = Vec::new();

    let began = Instant::now();
    for _ in 0..messages {
        for sent in backend.send(&queue, &batch[..1]).await {
            sent?;
        }
    }
    samples.push(each("send, one at a time", messages, began.elapsed()));
    backend.purge(&queue).await?;

    let began = Instant::now();
    for _ in 0..messages / BATCH as u64 {
        for sent in backend.send(&queue, &batch).await {
            sent?;
        }
    }
    samples.push(each("send, 32 at a time", messages, began.elapsed()));

    let began = Instant::now();
    let mut receipts: Vec<Receipt> = Vec::with_capacity(messages as usize);
    while receipts.len() < messages as usize {
        let request = ReceiveRequest::new(queue.clone()).max(BATCH).lease(LEASE);
        let batch = backend.receive(request).await?;
        receipts.extend(batch.deliveries.into_iter().map(|delivery| delivery.receipt));
    }
    samples.push(each("receive, 32 at a time", messages, began.elapsed()));

    let began = Instant::now();
    let mut renewed = Vec::with_capacity(receipts.len());
    for receipts in receipts.chunks(BATCH) {
        for receipt in backend.renew(receipts, LEASE).await {
            renewed.push(receipt?);
        }
    }
    samples.push(each("renew, 32 at a time", messages, began.elapsed()));

    let began = Instant::now();
    let mut replaced = Vec::with_capacity(renewed.len());
    for receipt in &renewed {
        replaced.push(backend.replace(receipt, body.clone(), LEASE).await?);
    }
    samples.push(each("replace", messages, began.elapsed()));

    let began = Instant::now();
    for receipts in replaced.chunks(BATCH) {
        for deleted in backend.delete(receipts).await {
            deleted?;
        }
    }
    samples.push(each("delete, 32 at a time", messages, began.elapsed()));
    Ok(samples)
}
