//! Background jobs: typed jobs, a client, a worker, and the contract that queue backends implement.

#[doc(hidden)]
pub mod __private;
pub mod backend;
mod client;
mod context;
mod data;
mod decide;
mod envelope;
mod handler;
mod job;
mod name;
mod outcome;
mod pipeline;
mod poison_reason;
pub mod prelude;
mod schedule;
mod worker;

pub use self::client::{
    Client, Enqueue, EnqueueAll, EnqueueAllError, EnqueueError, EnqueueErrorKind, PoisonError,
    PoisonErrorKind, PoisonJob, PoisonQueue, Replay, ReplayReport,
};
pub use self::context::JobContext;
pub use self::data::{Data, DataKey};
pub use self::handler::{Handler, Inject, Registration, Requirements};
pub use self::job::{Job, JobOptions};
pub use self::name::{InvalidQueueName, JobId, QueueName};
pub use self::outcome::{JobError, Outcome, ResultExt};
pub use self::pipeline::Call;
pub use self::poison_reason::PoisonReason;
pub use self::schedule::{Backoff, Jitter};
pub use self::worker::{
    BuildError, Queue, Report, Worker, WorkerBuilder, WorkerError, WorkerHandle,
};
#[cfg(feature = "macros")]
pub use job_macros::job;

/// Any error, as handlers and middleware pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
