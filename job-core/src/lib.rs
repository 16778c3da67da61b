//! Background jobs: typed jobs, a client, a worker, and the contract that queue backends implement.
//!
//! ```no_run
//! use job_core::prelude::*;
//!
//! /// Sends the welcome mail.
//! #[job(queue = "mail", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "30s")]
//! async fn send_welcome(user_id: u64, cx: JobContext) -> Result<(), JobError> {
//!     println!("welcome, user {user_id}; attempt {}", cx.attempt());
//!     Ok(())
//! }
//!
//! # async fn example(backend: impl job_core::backend::Backend) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(backend); // job-memory's, or another
//! client.enqueue(SendWelcome { user_id: 42 }).await?;
//! client.enqueue(SendWelcome { user_id: 43 }).delay(5 * MINUTE).await?;
//!
//! Worker::builder(&client)
//!     .queue(Queue::new("mail").concurrency(16))
//!     .build()?
//!     .run_until_shutdown_signal()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! - To define jobs: [`job`] (or [`Job`](trait@Job) and [`Handler`] by hand), [`JobContext`],
//!   [`Data`], [`JobError`](struct@JobError), [`Backoff`]. For a message without its handler, or the
//!   other way round: `#[job]` on a struct, [`handler`].
//! - To enqueue them: [`Client`] and [`Enqueue`].
//! - To run them: [`Worker`], [`Queue`], [`WorkerHandle`], [`Report`]; settings from files and the
//!   environment: [`WorkerConfig`].
//! - To wrap them, in any tower layer: [`middleware`].
//! - To look after what failed: [`PoisonQueue`], from [`Client::poison`].
//! - To test them: [`Worker::perform`] for single handlers, and the crate `job-memory`, whose module
//!   `testing` has all the rest.
//! - To write a backend: [`backend::Backend`], and the crate `job-conformance` to test it.
//!
//! Delivery is at-least-once: a job whose enqueue was acknowledged is run until it is done, or is
//! in the poison queue with its reason. It can run more than once, so make handlers idempotent.

//! # Messages from elsewhere
//!
//! A queue of job envelopes also takes events: [CloudEvents] 1.0 in structured JSON, and events in
//! Event Grid's own schema. The event's type names the job, exactly as in `name` or `alias`; its
//! data are the args; its attributes are [meta](JobContext::meta).
//!
//! ```
//! # use job_core::prelude::*;
//! #[job(queue = "uploads", name = "Microsoft.Storage.BlobCreated")]
//! async fn blob_created(url: String, cx: JobContext) -> Result<(), JobError> {
//!     println!("{url}, says {}", cx.meta("ce-source").unwrap_or("nobody"));
//!     Ok(())
//! }
//! ```
//!
//! | CloudEvents | Event Grid | in the job |
//! |---|---|---|
//! | `type` | `eventType` | name; meta `ce-type` |
//! | `data`, or `data_base64` of JSON | `data` | args; `{}` if there are none |
//! | `source`, `id` | `topic`, `id` | id: the same for all copies of the event; meta `ce-source`, `ce-id` |
//! | `time`, `subject` | `eventTime`, `subject` | meta `ce-time`, `ce-subject` |
//! | any other, such as `traceparent` | `dataVersion` and any other | meta, `ce-` before its name |
//!
//! - The args are taken for those of the job's current version.
//! - An attribute that is no string is in meta as its JSON; one that is `null` is not.
//! - An array is read if it holds exactly one event. A message is one job.
//! - An event whose type nobody knows, or whose data do not fit, is put back unchanged, like a job
//!   that only the next release knows, and goes to the poison queue in the end, as it was posted.
//!   One that claims to be an event and is none goes there at once.
//! - Once a job has failed, its message is an envelope, with the same id, args and meta. An event
//!   that is nearly as long as the queue allows has no room for that: like on a raw queue, each of
//!   its deliveries counts as an attempt.
//!
//! For plain JSON there are [raw queues](Queue::raw), and [`Enqueue::raw`] to post to them and to
//! other readers of plain JSON.
//!
//! [CloudEvents]: https://github.com/cloudevents/spec

#[doc(hidden)]
pub mod __private;
mod args;
pub mod backend;
mod classify;
mod client;
mod context;
mod data;
mod decide;
pub mod duration;
mod envelope;
mod handler;
#[cfg(feature = "http")]
pub mod http;
mod job;
pub mod middleware;
mod name;
mod outcome;
mod pipeline;
mod poison_reason;
pub mod prelude;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
#[cfg(feature = "sabotage")]
#[doc(hidden)]
pub mod sabotage;
mod schedule;
#[cfg(all(unix, feature = "supervisor"))]
pub mod supervisor;
pub mod telemetry;
mod worker;

pub use self::args::{Arg, Args, ArgsError, Upgraded};
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
pub use self::schedule::{Backoff, InvalidBackoff, Jitter};
#[cfg(all(unix, feature = "supervisor"))]
pub use self::supervisor::Supervisor;
#[cfg(feature = "http")]
pub use self::worker::HttpDescription;
pub use self::worker::{
    BuildError, ConfigError, Description, JobDescription, Perform, PerformError, Queue,
    QueueConfig, QueueDescription, RateLimit, Report, Worker, WorkerBuilder, WorkerConfig,
    WorkerDescription, WorkerError, WorkerHandle,
};
#[cfg(feature = "macros")]
pub use job_macros::{Job, JobError, handler, job};

/// Any error, as handlers and middleware pass it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
