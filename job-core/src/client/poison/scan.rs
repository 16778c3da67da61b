//! Going through a whole queue under leases, and giving everything back at the end.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::retry::retry;
use crate::QueueName;
use crate::backend::{
    Backend, BackendError, Capabilities, Delivery, ErrorKind, MessageId, Receipt, ReceiveRequest,
};
use crate::client::concurrent::{IN_FLIGHT, ordered};

/// How long a message is hidden from others while the scan is under way. Long enough to get
/// through a large queue; a process that dies delays what it held by this much.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// One pass over a queue. Messages that are neither deleted nor held at the end come back when
/// their lease ends.
pub(super) struct Scan<'a> {
    backend: &'a dyn Backend,
    queue: &'a QueueName,
    seen: HashSet<MessageId>,
    held: HashMap<MessageId, Receipt>,
    started_at: Option<SystemTime>,
    state: State,
    /// Something may be hidden that the scan will not see: a receive whose answer was lost may
    /// have leased messages that nobody heard of.
    lost: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Going,
    /// Everything that was there was seen.
    Complete,
    /// What was seen first came back before the end was reached.
    Cut,
}

impl<'a> Scan<'a> {
    pub(super) fn new(backend: &'a dyn Backend, queue: &'a QueueName) -> Self {
        Self {
            backend,
            queue,
            seen: HashSet::new(),
            held: HashMap::new(),
            started_at: None,
            state: State::Going,
            lost: AtomicBool::new(false),
        }
    }

    pub(super) fn lease(capabilities: &Capabilities) -> Duration {
        LEASE.max(capabilities.min_lease).min(capabilities.max_lease)
    }

    /// Up to `max` messages that were not seen before; none means that the scan is over.
    ///
    /// What was held for so long that its lease ended comes again; it is held once more. The end
    /// is an empty receive, or one that brings only what this very call has held once more: then
    /// leases end faster than messages come, and going on would go round in circles.
    pub(super) async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BackendError> {
        let mut again: HashSet<MessageId> = HashSet::new();
        let mut fresh = Vec::new();
        while fresh.is_empty() && self.state == State::Going {
            let deliveries = self.receive(max).await?;
            if deliveries.is_empty() {
                self.state = State::Complete;
                break;
            }
            let mut progress = false;
            for delivery in deliveries {
                if self.seen.insert(delivery.message_id.clone()) {
                    fresh.push(delivery);
                } else {
                    progress |= again.insert(delivery.message_id);
                    self.hold(delivery.receipt);
                }
            }
            if fresh.is_empty() && !progress {
                self.state = State::Cut;
            }
        }
        Ok(fresh)
    }

    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BackendError> {
        let capabilities = self.backend.capabilities();
        let request = ReceiveRequest::new(self.queue.clone())
            .max(max.clamp(1, capabilities.max_receive.max(1)))
            .lease(Self::lease(capabilities));
        let receive = || async {
            let received = self.backend.receive(request.clone()).await;
            if received.as_ref().is_err_and(BackendError::outcome_unknown) {
                self.lost.store(true, Ordering::Relaxed);
            }
            received
        };
        match retry(receive).await {
            Ok(batch) => {
                self.started_at.get_or_insert(batch.server_now);
                Ok(batch.deliveries)
            }
            Err(error) if error.kind() == ErrorKind::QueueNotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Keeps a message hidden until the scan is over, so that it does not come again.
    pub(super) fn hold(&mut self, receipt: Receipt) {
        self.held.insert(receipt.message_id().clone(), receipt);
    }

    /// Gives a message back now, to come again later in the scan.
    pub(super) async fn give_back(&mut self, receipt: &Receipt) {
        self.seen.remove(receipt.message_id());
        if retry(|| self.backend.release(receipt, Duration::ZERO)).await.is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a message came in after the scan had begun.
    pub(super) fn is_newer(&self, inserted_at: SystemTime) -> bool {
        self.started_at.is_some_and(|started_at| inserted_at > started_at)
    }

    /// Whether every message that was visible was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete && !self.lost.load(Ordering::Relaxed)
    }

    /// Gives everything back that is held. What cannot be given back comes back by itself.
    pub(super) async fn finish(self) {
        let Self { backend, queue, held, .. } = self;
        let limit = if backend.capabilities().remote { IN_FLIGHT } else { 1 };
        let down = AtomicBool::new(false);
        let releases = held.into_values().map(|receipt| {
            let down = &down;
            async move {
                if down.load(Ordering::Relaxed) {
                    return;
                }
                let released = retry(|| backend.release(&receipt, Duration::ZERO)).await;
                if released.is_err_and(|error| error.kind() != ErrorKind::LeaseLost) {
                    // One by one the others would only take long to fail.
                    down.store(true, Ordering::Relaxed);
                }
            }
        });
        ordered(releases, limit).await;
        if down.into_inner() {
            let lease = Self::lease(backend.capabilities());
            crate::telemetry::events::scan_not_finished(queue, lease);
        }
    }
}
