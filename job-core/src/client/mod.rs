//! Puts jobs on queues.

use std::sync::Arc;

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
}
