//! What the memory backend promises beyond the contract.

use std::time::Duration;

use job_core::QueueName;
use job_core::backend::{Backend, Capabilities, ErrorKind, Outgoing, Receipt, ReceiveRequest};
use job_memory::MemoryBackend;

async fn backend(capabilities: Capabilities) -> (MemoryBackend, QueueName) {
    let backend = MemoryBackend::with_capabilities(capabilities);
    let queue = QueueName::new("mail").unwrap();
    backend.create_queue(&queue, &Default::default()).await.unwrap();
    (backend, queue)
}

fn rich() -> Capabilities {
    MemoryBackend::new().capabilities().clone()
}

#[test]
fn it_needs_no_runtime_to_be_made_and_no_timers_to_be_used() {
    let backend = MemoryBackend::new();
    let queue = QueueName::new("mail").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        backend.create_queue(&queue, &Default::default()).await.unwrap();
        backend.send(&queue, &[Outgoing::new("x")]).await.remove(0).unwrap();
        let batch = backend.receive(ReceiveRequest::new(queue.clone())).await.unwrap();
        backend.delete(&[batch.deliveries[0].receipt.clone()]).await.remove(0).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_backend_made_outside_of_a_paused_clock_follows_it() {
    let made = std::thread::spawn(MemoryBackend::new).join().unwrap();
    let before = made.now();
    tokio::time::advance(Duration::from_secs(3600)).await;
    let passed = made.now().duration_since(before).unwrap();
    assert!(passed >= Duration::from_secs(3599), "{passed:?}");
}

#[tokio::test]
async fn clones_share_their_queues() {
    let (backend, queue) = backend(rich()).await;
    let clone = backend.clone();
    backend.send(&queue, &[Outgoing::new("x")]).await;
    assert_eq!(clone.stats(&queue).await.unwrap().total, 1);
    assert!(backend.independent().is_none(), "there are no connections to separate");
}

#[tokio::test]
async fn two_backends_share_nothing() {
    let (_one, queue) = backend(rich()).await;
    let error = MemoryBackend::new().stats(&queue).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueNotFound);
}

#[tokio::test]
async fn messages_come_in_the_order_of_their_sending() {
    let (backend, queue) = backend(rich()).await;
    let messages: Vec<_> = (0..100).map(|n| Outgoing::new(n.to_string())).collect();
    backend.send(&queue, &messages).await;
    let mut came = Vec::new();
    while came.len() < 100 {
        let batch = backend.receive(ReceiveRequest::new(queue.clone()).max(7)).await.unwrap();
        came.extend(batch.deliveries.into_iter().map(|delivery| delivery.body));
    }
    assert!(came.iter().zip(0..).all(|(body, n)| body == n.to_string().as_bytes()));
}

#[tokio::test]
async fn a_receipt_of_another_backend_is_stale() {
    let (backend, queue) = backend(rich()).await;
    for foreign in [
        Receipt::new(queue.clone(), "text", "text"),
        Receipt::new(queue.clone(), 1, "text"),
        Receipt::new(queue.clone(), 1, u64::MAX),
    ] {
        let deleted = backend.delete(std::slice::from_ref(&foreign)).await.remove(0);
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::LeaseLost);
        let released = backend.release(&foreign, Duration::ZERO).await;
        assert_eq!(released.unwrap_err().kind(), ErrorKind::LeaseLost);
    }
    let unknown = Receipt::new(QueueName::new("unknown").unwrap(), 1, 1);
    let renewed = backend.renew(&[unknown], Duration::from_secs(1)).await.remove(0);
    assert_eq!(renewed.unwrap_err().kind(), ErrorKind::QueueNotFound);
}

#[tokio::test]
async fn a_poor_service_tells_less() {
    let mut capabilities = rich();
    capabilities.counts = false;
    capabilities.exact_stats = false;
    capabilities.max_peek = 0;
    capabilities.replace = false;
    let (backend, queue) = backend(capabilities).await;
    backend.send(&queue, &[Outgoing::new("x")]).await;
    let stats = backend.stats(&queue).await.unwrap();
    assert_eq!((stats.visible, stats.oldest), (None, None));
    let peeked = backend.peek(&queue, 1).await;
    assert_eq!(peeked.unwrap_err().kind(), ErrorKind::Unsupported);
    let batch = backend.receive(ReceiveRequest::new(queue)).await.unwrap();
    assert_eq!(batch.deliveries[0].count, None);
    let replaced = backend.replace(&batch.deliveries[0].receipt, "y".into(), Duration::ZERO).await;
    assert_eq!(replaced.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_coarse_service_rounds_up() {
    let mut capabilities = rich();
    capabilities.granularity = Duration::from_secs(1);
    let (backend, queue) = backend(capabilities).await;
    let delayed = Outgoing::new("x").delay(Duration::from_millis(1200));
    backend.send(&queue, &[delayed]).await;
    let request = ReceiveRequest::new(queue).wait(Duration::from_secs(20));
    let start = tokio::time::Instant::now();
    assert_eq!(backend.receive(request).await.unwrap().deliveries.len(), 1);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn an_error_names_the_operation_the_queue_and_the_limit() {
    let (backend, queue) = backend(rich()).await;
    let error = backend.receive(ReceiveRequest::new(queue.clone()).max(0)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "receive on queue `mail`: the request is invalid (a receive of no messages)"
    );
    let large = Outgoing::new(vec![0; 50_000]);
    let error = backend.send(&queue, &[large]).await.remove(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "send on queue `mail`: the message is too large for this service \
         (50000 bytes, at most 49152; keep the data elsewhere, send its key)"
    );
}

#[tokio::test]
async fn debug_shows_how_many_queues_and_nothing_of_what_is_on_them() {
    let (backend, queue) = backend(rich()).await;
    backend.send(&queue, &[Outgoing::new("canary")]).await;
    assert_eq!(format!("{backend:?}"), "MemoryBackend { queues: 1, .. }");
}
