//! What most programs need: `use job_core::prelude::*;`.
//!
//! ```
//! use job_core::prelude::*;
//!
//! assert_eq!((5 * MINUTE).as_secs(), 300);
//! ```

use std::time::Duration;

pub use crate::{
    Backoff, Client, Data, Handler, Job, JobContext, JobError, JobId, PoisonReason, Queue,
    QueueName, ResultExt, Worker, WorkerHandle,
};
#[cfg(feature = "macros")]
pub use crate::{handler, job};

/// One second.
pub const SECOND: Duration = Duration::from_secs(1);

/// One minute.
pub const MINUTE: Duration = Duration::from_secs(60);

/// One hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// One day of 24 hours.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
