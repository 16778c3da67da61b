//! Puts jobs on queues.

use std::sync::Arc;

use crate::QueueName;
use crate::backend::Backend;

/// Puts jobs on the queues of a backend. Cloning it clones a pointer.
#[derive(Clone, Debug)]
pub struct Client {
    backend: Arc<dyn Backend>,
}

impl Client {
    /// A client of that backend.
    pub fn new(backend: impl Backend) -> Self {
        Self { backend: Arc::new(backend) }
    }
    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
    pub(crate) fn default_queue(&self) -> &QueueName {
        todo!()
    }
    pub(crate) fn wakers(&self) -> Wakers {
        Wakers
    }
}
pub(crate) struct Wakers;
impl Wakers {
    pub(crate) fn subscribe(&self, _: &QueueName) -> Arc<tokio::sync::Notify> {
        todo!()
    }
}
