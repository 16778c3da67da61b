//! The cases, by topic. [`list`](crate::list) names them all; one that it forgets is dead code, which
//! is an error in CI.

pub(crate) mod batches;
pub(crate) mod bodies;
pub(crate) mod capabilities;
pub(crate) mod concurrency;
pub(crate) mod errors;
pub(crate) mod leases;
pub(crate) mod peeking;
pub(crate) mod queues;
pub(crate) mod receipts;
pub(crate) mod receiving;
pub(crate) mod releasing;
pub(crate) mod replacing;
pub(crate) mod sending;
pub(crate) mod statistics;
pub(crate) mod time;
pub(crate) mod waiting;
