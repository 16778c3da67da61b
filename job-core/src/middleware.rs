//! Tower middleware around jobs.

pub use crate::pipeline::{Call, JobFuture, JobLayer, JobService};
