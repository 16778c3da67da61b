//! Background jobs: typed jobs, a client, a worker, and the contract that queue backends implement.

pub mod backend;
mod name;

pub use self::name::{InvalidQueueName, JobId, QueueName};

/// Any error, as handlers and middleware pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
