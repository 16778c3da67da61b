//! What a worker shows of itself: spans, log lines and metrics. Their names are part of the API.
//!
//! - **Log lines and spans** are [`tracing`]'s. At the level `info` there is one line for each
//!   failure and none for a success; at `debug`, one for each job. A retry and a put-back are
//!   warnings, and so are lost leases and requests that failed; what a person has to see to, such as
//!   a job that went to the poison queue, is an error, and says what to do next. Args are never
//!   among the fields; errors of handlers are.
//! - **Spans** `job.enqueue` and `job.run` are there from `info` on, so what a handler logs says
//!   which job it is of, and `job.receive` and `job.settle` from `debug` on. Their fields are those of
//!   the [messaging conventions] of OpenTelemetry where it has any. Finished jobs are deleted in
//!   groups, so there a `job.settle` is of several. A span or a line that nobody wants costs the look
//!   at a level.
//! - **Trace context** (feature `otel`): see [below](#trace-context).
//! - **Metrics** (feature `metrics`) go to the recorder of the [`metrics`] facade, whatever it is.
//!   It has to be installed before a worker runs: see [below](#recorders).
//! - **Health, Prometheus and scaling figures** over HTTP (feature `http`): see [`http`].
//!
//! [messaging conventions]: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
//! [`metrics`]: https://docs.rs/metrics
#![cfg_attr(feature = "http", doc = "[`http`]: crate::http")]
#![cfg_attr(not(feature = "http"), doc = "[`http`]: https://docs.rs/job-core")]
//!
//! # Trace context
//!
//! With the feature `otel` and a layer of `tracing-opentelemetry` a job carries the W3C trace context
//! of the span in which it was enqueued: its `job.enqueue`, or the current one where that is filtered
//! out. Its runs are children of that and linked with it, or only
//! [linked](TraceRelation::Link). So the request to a web server, the jobs that it enqueues, and the
//! jobs that these enqueue are one trace. What is no trace context on the wire is ignored, and a
//! context that would make a job too large for its queue is left out.
//!
//! A program with another version of `tracing-opentelemetry` than this crate's (0.34), or with
//! another tracer, has [`Enqueue::trace_context`](crate::Enqueue::trace_context) and
//! [`JobContext::trace_context`](crate::JobContext::trace_context), which need no feature.
//!
//! # Recorders
//!
//! What a worker counts is bound to the recorder that is there when it starts to run, and what a
//! client counts to the one that is there when it first enqueues a job of a kind with any. A
//! recorder of no size, such as a unit struct, is taken for none. Two workers of one program that
//! serve the same queue have the same metrics: counters add up, and of a gauge the last word holds,
//! so let them be one worker.
//!
//! Backlog, age of the oldest and poison are asked of the backend
//! [every 30 s](crate::WorkerBuilder::sample_every), which costs requests; where one cannot be had,
//! it stays as it was, and a line at `warn` says so. What a worker holds itself is shown each second.
//! Backlog, depth, age and poison are the same whichever worker shows them: take their maximum. What
//! a worker holds is its own: take the sum. `job_completed_total` and the like are counted when it is
//! decided what becomes of a job; where the backend does not hear of it, `job_settle_failures_total`
//! counts as well, and the job comes again.
//!
//! A start that took its worker with it cannot be told from a message that was lost on its way. So
//! from the second delivery of a job on each start is announced in its message, and those are what
//! `job_crashed_total` counts, each when a later delivery finds it: the first such start of a job is
//! never among them.
//!
//! A job that is handed over to the process for suspects was received, and is counted so, once.
//!
//! A supervisor counts its processes (`job_processes_..`) in its own process, by the recorder that is
//! there. It serves nothing over HTTP: a program that wants these figures installs an exporter before
//! [`Supervisor::run`], where the variable `SUPERVISED_WORKER` is not set, since `main` runs in all
//! processes.
//!
#![cfg_attr(all(unix, feature = "supervisor"), doc = "[`Supervisor::run`]: crate::Supervisor::run")]
#![cfg_attr(
    not(all(unix, feature = "supervisor")),
    doc = "[`Supervisor::run`]: https://docs.rs/job-core"
)]
//!
//! Where the name of a job is not known to the worker, its label is `unknown`. No label ever holds
//! an id.
#![doc = include_str!("tables.md")]

pub(crate) mod events;
mod facade;
pub(crate) mod figures;
pub(crate) mod health;
pub(crate) mod meters;
pub mod names;
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) mod processes;
#[cfg(feature = "metrics")]
pub(crate) mod requests;
pub(crate) mod runs;
pub(crate) mod spans;
#[cfg(test)]
mod tables;
#[cfg(feature = "otel")]
pub(crate) mod trace_context;

use serde::{Deserialize, Serialize};

pub use self::events::EventInfo;
pub use self::spans::SpanInfo;

/// How the span of a run is connected with the span in which its job was enqueued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceRelation {
    /// It is its child, and linked with it: enqueueing, all runs of the job and what these enqueue
    /// are one trace. The conventions allow that where a run is of one message.
    #[default]
    Parent,
    /// It is linked with it, and the first of a trace of its own: for jobs that run much later, or
    /// beget so many others that no tool could show the trace.
    Link,
}

/// Every span that this crate makes.
pub fn spans() -> impl Iterator<Item = &'static SpanInfo> {
    spans::SPANS.iter()
}

/// Every log line that this crate writes.
pub fn events() -> impl Iterator<Item = &'static EventInfo> {
    events::all()
}
