//! Every span of this crate. Where nobody wants one, it costs the look at a level.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use tokio::time::{Instant, error::Elapsed};
use tracing::{Instrument, Level, Span};

use super::runs::{JobName, Whose};
use crate::backend::{Backend, BackendError, Batch, ErrorKind, MessageId};
use crate::decide::{Gone, Later, Settlement};
use crate::pipeline::Call;
use crate::pipeline::catch_panic::Panicked;
use crate::pipeline::timeout::TimedOut;
use crate::worker::Unsettled;
use crate::{BoxError, EnqueueError, EnqueueErrorKind, JobId, Outcome, QueueName};

/// A span that this crate can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanInfo {
    /// Its name.
    pub name: &'static str,
    /// From which level on it is made.
    pub level: Level,
    /// Where it comes from, to filter by.
    pub target: &'static str,
    /// What it says; some of it only at its end, or only where it applies.
    pub fields: &'static [&'static str],
}

const TARGET: &str = "job_core";

/// The spans of this crate.
pub(super) const SPANS: &[SpanInfo] = &[
    SpanInfo {
        name: "job.enqueue",
        level: Level::INFO,
        target: TARGET,
        fields: &[
            "job.name",
            "job.id",
            "messaging.batch.message_count",
            "messaging.destination.name",
            "messaging.system",
            "messaging.operation.type",
            "messaging.operation.name",
            "job.outcome",
            "job.duration_ms",
            "error.type",
            "otel.kind",
            "otel.name",
            "otel.status_code",
        ],
    },
    SpanInfo {
        name: "job.receive",
        level: Level::DEBUG,
        target: TARGET,
        fields: &[
            "messaging.destination.name",
            "messaging.batch.message_count",
            "messaging.system",
            "messaging.operation.type",
            "messaging.operation.name",
            "job.outcome",
            "job.duration_ms",
            "error.type",
            "otel.kind",
            "otel.name",
            "otel.status_code",
        ],
    },
    SpanInfo {
        name: "job.run",
        level: Level::INFO,
        target: TARGET,
        fields: &[
            "job.name",
            "job.id",
            "job.attempt",
            "messaging.destination.name",
            "messaging.system",
            "messaging.operation.type",
            "messaging.operation.name",
            "job.outcome",
            "job.duration_ms",
            "error.type",
            "error.message",
            "otel.kind",
            "otel.name",
            "otel.status_code",
        ],
    },
    SpanInfo {
        name: "job.settle",
        level: Level::DEBUG,
        target: TARGET,
        fields: &[
            "job.name",
            "job.id",
            "job.attempt",
            "messaging.message.id",
            "messaging.batch.message_count",
            "messaging.destination.name",
            "messaging.system",
            "messaging.operation.type",
            "messaging.operation.name",
            "job.outcome",
            "job.duration_ms",
            "error.type",
            "otel.kind",
            "otel.name",
            "otel.status_code",
        ],
    },
    SpanInfo { name: "worker", level: Level::INFO, target: TARGET, fields: &["process"] },
];

/// A span and when it began; neither where nobody wants it.
#[derive(Debug)]
pub(crate) struct Timed {
    span: Span,
    began: Option<Instant>,
}

impl Timed {
    fn new(span: Span) -> Self {
        let began = (!span.is_disabled()).then(Instant::now);
        Self { span, began }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn into_parts(self) -> (Span, Option<Instant>) {
        (self.span, self.began)
    }

    /// How the conventions want it to be called.
    fn named(&self, operation: &str, queue: &QueueName) {
        if self.began.is_some() {
            self.span
                .record("otel.name", tracing::field::display(format_args!("{operation} {queue}")));
        }
    }

    /// Whatever the worker runs in, such as the span of a process, lives as long as that: it is no
    /// trace to be part of.
    fn stands_alone(&self) {
        #[cfg(feature = "otel")]
        if self.began.is_some() {
            super::trace_context::begin(&self.span);
        }
    }

    fn end(mut self, outcome: &str, error: Option<&str>) {
        end(&self.span, &mut self.began, outcome, error);
    }
}

/// Says how it ended, the first time.
fn end(span: &Span, began: &mut Option<Instant>, outcome: &str, error: Option<&str>) {
    let Some(began) = began.take() else { return };
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.record("job.outcome", outcome);
    span.record("job.duration_ms", millis);
    if let Some(error) = error {
        span.record("error.type", error);
        span.record("otel.status_code", "error");
    }
}

macro_rules! empty {
    () => {
        tracing::field::Empty
    };
}

/// One process of a supervisor.
#[cfg_attr(not(all(unix, feature = "supervisor")), allow(dead_code, reason = "see there"))]
pub(crate) fn process(name: &str) -> Span {
    tracing::info_span!(target: TARGET, "worker", process = name)
}

/// A call that enqueues `count` jobs of a kind; their id if it is one.
/// The queue is looked up only where somebody wants the span.
pub(crate) fn enqueue(
    job: &str,
    id: Option<JobId>,
    count: usize,
    backend: &dyn Backend,
    queue: impl FnOnce() -> Option<QueueName>,
) -> Timed {
    let timed = Timed::new(tracing::info_span!(
        target: TARGET,
        "job.enqueue",
        job.name = job,
        job.id = id.map(tracing::field::display),
        messaging.batch.message_count = id.is_none().then_some(count),
        messaging.destination.name = empty!(),
        messaging.system = backend.system(),
        messaging.operation.type = "send",
        messaging.operation.name = "enqueue",
        job.outcome = empty!(),
        job.duration_ms = empty!(),
        error.type = empty!(),
        otel.kind = "producer",
        otel.name = empty!(),
        otel.status_code = empty!(),
    ));
    if timed.began.is_some()
        && let Some(queue) = queue()
    {
        timed.span.record("messaging.destination.name", tracing::field::display(&queue));
        // Before anybody asks for its context: from then on it keeps the name that it has.
        timed.named("enqueue", &queue);
    }
    timed
}

impl Timed {
    /// An enqueue ended.
    pub(crate) fn enqueued<'e>(self, mut errors: impl Iterator<Item = &'e EnqueueError>) {
        if self.began.is_none() {
            return;
        }
        match errors.next().map(EnqueueError::kind) {
            None => self.end("enqueued", None),
            Some(EnqueueErrorKind::Invalid) => self.end("rejected", Some("invalid")),
            Some(EnqueueErrorKind::TooLarge) => self.end("rejected", Some("too_large")),
            Some(EnqueueErrorKind::Rejected) => self.end("rejected", Some("rejected")),
            Some(EnqueueErrorKind::Unknown) => self.end("unknown", Some("unknown")),
        }
    }
}

/// One receive.
pub(crate) async fn receive(
    queue: &QueueName,
    backend: &dyn Backend,
    request: impl Future<Output = Result<Result<Batch, BackendError>, Elapsed>>,
) -> Result<Result<Batch, BackendError>, Elapsed> {
    let span = tracing::debug_span!(
        target: TARGET,
        "job.receive",
        messaging.destination.name = %queue,
        messaging.batch.message_count = empty!(),
        messaging.system = backend.system(),
        messaging.operation.type = "receive",
        messaging.operation.name = "receive",
        job.outcome = empty!(),
        job.duration_ms = empty!(),
        error.type = empty!(),
        otel.kind = "client",
        otel.name = empty!(),
        otel.status_code = empty!(),
    );
    if span.is_disabled() {
        return request.await;
    }
    let timed = Timed::new(span.clone());
    timed.named("receive", queue);
    timed.stands_alone();
    let received = request.instrument(span).await;
    match &received {
        Ok(Ok(batch)) => {
            let count = batch.deliveries.len();
            timed.span.record("messaging.batch.message_count", count);
            timed.end(if count == 0 { "empty" } else { "received" }, None);
        }
        Ok(Err(error)) => timed.end("failed", Some(kind_of(error.kind()))),
        Err(_) => timed.end("failed", Some(kind_of(ErrorKind::Timeout))),
    }
    received
}

/// One run of a handler.
pub(crate) fn run(call: &Call) -> Timed {
    let cx = call.context();
    let timed = Timed::new(tracing::info_span!(
        target: TARGET,
        "job.run",
        job.name = cx.name(),
        job.id = %cx.id(),
        job.attempt = cx.attempt(),
        messaging.destination.name = %cx.queue(),
        messaging.system = cx.client().backend().system(),
        messaging.operation.type = "process",
        messaging.operation.name = "run",
        job.outcome = empty!(),
        job.duration_ms = empty!(),
        error.type = empty!(),
        error.message = empty!(),
        otel.kind = "consumer",
        otel.name = empty!(),
        otel.status_code = empty!(),
    ));
    timed.named("run", cx.queue());
    #[cfg(feature = "otel")]
    if timed.began.is_some() {
        super::trace_context::continue_in(&timed.span, cx);
    }
    timed
}

/// A run ended.
pub(crate) fn ran(span: &Span, began: &mut Option<Instant>, result: &Result<Outcome, BoxError>) {
    if began.is_none() {
        return;
    }
    let (outcome, error) = match result {
        Ok(Outcome::Done) => ("done", None),
        Ok(Outcome::Retry { error, .. }) | Err(error) => ("retry", Some(error)),
        Ok(Outcome::Permanent { error }) => ("permanent", Some(error)),
        Ok(Outcome::Discard { .. }) => ("discard", None),
        Ok(Outcome::Snooze { .. }) => ("snooze", None),
        Ok(Outcome::GivenBack) => ("given_back", None),
    };
    let kind = error.map(|error| {
        // The user's code, which may panic.
        if let Ok(text) = catch_unwind(AssertUnwindSafe(|| error.to_string())) {
            span.record("error.message", text);
        }
        match error {
            error if error.is::<Panicked>() => "panic",
            error if error.is::<TimedOut>() => "timeout",
            _ => "error",
        }
    });
    end(span, began, outcome, kind);
}

/// A run was given up before its end.
pub(crate) fn cancelled(span: &Span, began: &mut Option<Instant>) {
    end(span, began, "cancelled", None);
}

/// What is known of a message that is settled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settling<'a> {
    id: Option<JobId>,
    job: Option<&'static str>,
    attempt: Option<u32>,
    message_id: Option<&'a MessageId>,
    /// How many messages it is, where it is a group.
    count: Option<usize>,
    outcome: &'static str,
}

impl<'a> Settling<'a> {
    /// A job that was started, or was to be.
    pub(crate) fn job(id: JobId, job: &'static str, attempt: u32) -> Self {
        let (id, job, attempt) = (Some(id), Some(job), Some(attempt));
        Self { id, job, attempt, ..Self::default() }
    }

    /// A message that was not run; its job, if it is known whose it is.
    pub(crate) fn refused(id: Option<JobId>) -> Self {
        Self { id, ..Self::default() }
    }

    /// Which job it is, if that is known.
    pub(crate) fn job_name(&self) -> Option<JobName> {
        self.id.zip(self.job)
    }

    /// The same of a message for the log.
    pub(crate) fn whose<'m>(&self, message_id: &'m MessageId) -> Whose<'m> {
        Whose { message_id, id: self.id, job: self.job }
    }

    /// Finished jobs that are deleted together.
    pub(crate) fn group(count: usize) -> Self {
        Self { count: Some(count), outcome: "completed", ..Self::default() }
    }

    pub(crate) fn message(self, id: &'a MessageId) -> Self {
        Self { message_id: Some(id), ..self }
    }

    pub(crate) fn settlement(self, settlement: &Settlement) -> Self {
        Self { outcome: outcome_of(settlement), ..self }
    }
}

/// One settlement, or a group of them. The request stays where it is pinned: moved here, it would
/// be in this future three times.
pub(crate) async fn settle<T>(
    settling: Settling<'_>,
    queue: &QueueName,
    backend: &dyn Backend,
    request: Pin<&mut impl Future<Output = Result<T, Unsettled>>>,
) -> Result<T, Unsettled> {
    let Settling { id, job, attempt, message_id, count, outcome } = settling;
    let span = tracing::debug_span!(
        target: TARGET,
        "job.settle",
        job.name = job,
        job.id = id.map(tracing::field::display),
        job.attempt = attempt,
        messaging.message.id = message_id.map(tracing::field::display),
        messaging.batch.message_count = count,
        messaging.destination.name = %queue,
        messaging.system = backend.system(),
        messaging.operation.type = "settle",
        messaging.operation.name = "settle",
        job.outcome = empty!(),
        job.duration_ms = empty!(),
        error.type = empty!(),
        otel.kind = "client",
        otel.name = empty!(),
        otel.status_code = empty!(),
    );
    if span.is_disabled() {
        return request.await;
    }
    let timed = Timed::new(span.clone());
    timed.named("settle", queue);
    timed.stands_alone();
    let result = request.instrument(span).await;
    match &result {
        Ok(_) => timed.end(outcome, None),
        Err(Unsettled::LeaseLost) => timed.end("lease_lost", Some("lease_lost")),
        Err(Unsettled::Failed) => timed.end("failed", Some("failed")),
    }
    result
}

/// What a settlement does, in a word.
fn outcome_of(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Delete(Gone::Done) => "completed",
        Settlement::Delete(Gone::Discarded) => "discarded",
        Settlement::Delete(Gone::Expired) => "expired",
        Settlement::Poison { .. } => "poisoned",
        Settlement::Rewrite { why, .. } | Settlement::Release { why, .. } => match why {
            Later::Retry => "retried",
            Later::Snooze => "snoozed",
            Later::GiveBack => "given_back",
            Later::PutBack => "put_back",
            Later::Hop => "not_due",
        },
    }
}

/// A kind of error as a label.
pub(crate) fn kind_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Throttled => "throttled",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Timeout => "timeout",
        ErrorKind::LeaseLost => "lease_lost",
        ErrorKind::QueueNotFound => "queue_not_found",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Other => "other",
    }
}
