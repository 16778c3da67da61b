//! A kit for testing apps that use jobs: queues in memory, a clock that stands still until it is
//! told otherwise, assertions that show what was there instead, and faults on request.
//!
//! ```rust,standalone_crate
//! use job_core::prelude::*;
//! use job_memory::testing::{TestJobs, assert_enqueued, assert_poisoned};
//!
//! #[job(queue = "mail", max_attempts = 3)]
//! async fn send_welcome(user_id: u64) -> Result<(), JobError> {
//!     if user_id == 13 { Err("nobody has that number")? } else { Ok(()) }
//! }
//!
//! // #[tokio::test(start_paused = true)]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() {
//!     let jobs = TestJobs::new();
//!     let client = jobs.client(); // for the code under test
//!     client.enqueue(SendWelcome { user_id: 7 }).await.unwrap();
//!     client.enqueue(SendWelcome { user_id: 13 }).delay(5 * MINUTE).await.unwrap();
//!     assert_enqueued!(jobs, SendWelcome { user_id: 13 }, queue = "mail", delay = 5 * MINUTE);
//!
//!     let report = jobs.drain().await; // runs what is due
//!     assert_eq!(report.of::<SendWelcome>().completed(), 1, "{report}");
//!
//!     jobs.advance(5 * MINUTE).await; // takes no time
//!     assert_eq!(jobs.drain().await.retried(), 1);
//!     jobs.drain_all().await; // all retries, however far away they are
//!     assert_poisoned!(jobs, SendWelcome { user_id: 13 }, error = "nobody", attempts = 3);
//! }
//! ```
//!
//! - [`TestJobs`]: a client and a worker for one test. Any number of tests run side by side.
//! - [`assert_enqueued!`], [`refute_enqueued!`], [`assert_poisoned!`], and typed
//!   [`TestJobs::all_enqueued`].
//! - [`TestJobs::perform`]: one run of one handler, with the attempt, the deadline and the
//!   cancellation that the test wants.
//! - [Faults](TestJobs#faults): workers that die, leases that are lost, requests that fail.
//!   [`assert_idempotent!`] runs a job twice.
//! - [`assert_args_compatible!`] and [`assert_golden_args!`]: whether this release reads what older
//!   ones have enqueued.
//! - [`TestJobsBuilder`]: shared data, jobs that run inline, the real clock, and the same test on
//!   another backend.
//!
//! The worker is the one that production has. What differs is who lets it receive: the kit, one
//! message at a time, so that runs come in the same order every time. So what jobs do to each other
//! when they run side by side is not to be seen here, nor are their limits of concurrency.
//!
//! The clock is paused by `#[tokio::test(start_paused = true)]`, for which a crate's
//! `dev-dependencies` need tokio's feature `test-util`.
//!
//! Unlike production, this module shows args in its messages: they are a test's own.

mod backend;
mod book;
mod builder;
mod expect;
mod explain;
mod fault;
mod gate;
mod golden;
mod idempotent;
mod inline;
mod jobs;
mod macros;
mod perform;
mod report;
mod stage;
mod step;
mod text;
mod typed;
mod wire;
mod witness;

pub use self::builder::TestJobsBuilder;
pub use self::expect::{Expect, InPoison, OnQueue, Span};
pub use self::fault::Operation;
#[doc(hidden)]
pub use self::golden::{assert_args_compatible_at, assert_golden_args_at};
#[doc(hidden)]
pub use self::idempotent::assert_idempotent_at;
pub use self::jobs::TestJobs;
pub use self::perform::{Performed, Performing, Retry};
pub use self::report::{DrainReport, Ended, Ran};
pub use self::typed::Enqueued;
pub use crate::{
    assert_args_compatible, assert_enqueued, assert_golden_args, assert_idempotent,
    assert_poisoned, refute_enqueued,
};

/// What the macros make of a field.
#[doc(hidden)]
pub fn value_of<T: serde::Serialize + ?Sized>(value: &T) -> (serde_json::Value, &'static str) {
    (text::json(value), std::any::type_name::<T>())
}
