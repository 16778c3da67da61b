//! Puts jobs on queues.

use std::sync::Arc;

use crate::QueueName;
use crate::backend::Backend;

/// Puts jobs on the queues of a backend. Cloning it clones a pointer.
#[derive(Clone, Debug)]
pub struct Client {
    backend: Arc<dyn Backend>,
    q: QueueName,
}

impl Client {
    /// A client of that backend.
    pub fn new(backend: impl Backend) -> Self {
        Self { backend: Arc::new(backend), q: QueueName::new("default").unwrap() }
    }
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
    pub(crate) fn default_queue(&self) -> &QueueName { &self.q }
    pub(crate) fn wakers(&self) -> Wakers {
        Wakers
    }
}
pub(crate) struct Wakers;
impl Wakers {
    pub(crate) fn subscribe(&self, _: &QueueName) -> Arc<tokio::sync::Notify> { Arc::default() }
}
