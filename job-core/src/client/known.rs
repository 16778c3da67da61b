//! Which queues a client has seen to exist.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use super::error::Invalid;
use crate::QueueName;

/// Queues that took a message or were made here. Nothing is ever taken out: a queue that was
/// there once and is not any more is an alarm, whoever asks.
#[derive(Debug, Default)]
pub(super) struct Known {
    queues: RwLock<BTreeSet<QueueName>>,
}

impl Known {
    pub(super) fn contains(&self, queue: &QueueName) -> bool {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).contains(queue)
    }

    pub(super) fn insert(&self, queue: &QueueName) {
        if !self.contains(queue) {
            self.queues.write().unwrap_or_else(PoisonError::into_inner).insert(queue.clone());
        }
    }

    /// The name of a queue that jobs run from. Checked once for each queue, since this is on the
    /// way of every enqueue.
    pub(super) fn resolve(&self, name: &str) -> Result<QueueName, Invalid> {
        if let Some(queue) =
            self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
        {
            return Ok(queue);
        }
        let queue = QueueName::new(name).map_err(Invalid::QueueName)?;
        if queue.is_poison() {
            return Err(Invalid::PoisonQueue(queue));
        }
        queue.poison().map_err(Invalid::QueueName)?;
        Ok(queue)
    }
}
