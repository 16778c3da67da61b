//! What is counted, by handles that were made before.
//!
//! The recorder of the `metrics` facade is global, and a handle that was made without one counts
//! nothing for ever. So the handles of a worker are made when it starts to run, and those of a
//! client when it first enqueues with a recorder there. Where nobody counts there are none, and a
//! job costs the look at an option.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::facade::{Counter, Gauge, Histogram, counter, describe, gauge, histogram, is_recorded};
use super::health::{InLine, QueueHealth};
use super::names::{self, Metric};
use crate::backend::{BackendError, ErrorKind};
use crate::{PoisonReason, QueueName};

/// Why a message was put back without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// Its delay is longer than the backend's longest.
    NotDue,
    /// This worker does not know what to do with it.
    Unknown,
    /// Its args do not fit.
    Args,
    /// It may kill its process, and the one for such jobs is busy.
    Suspect,
    /// The worker was asked to stop.
    Stopping,
}

impl Deferred {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Unknown => "unknown",
            Self::Args => "args",
            Self::Suspect => "suspect",
            Self::Stopping => "stopping",
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOutcome {
    Done,
    Failed,
    Discarded,
    Snoozed,
    GivenBack,
}

/// What is counted of one kind of job on one queue, if anybody counts.
#[derive(Clone, Default)]
pub(crate) struct JobMeters(Option<Arc<JobHandles>>);

struct JobHandles {
    queue: QueueName,
    job: String,
    /// By the outcome, in its order.
    ended: [(Counter, Histogram); 5],
    retried: Counter,
    expired: Counter,
    start_latency: Histogram,
}

impl JobMeters {
    pub(crate) fn new(queue: &QueueName, job: &str) -> Self {
        if !is_recorded() {
            return Self(None);
        }
        let labels = [queue.as_str(), job];
        let of = |metric: &Metric| counter(metric, &labels);
        let ran = |metric: &Metric, outcome| {
            (of(metric), histogram(&names::RUN_DURATION, &[queue.as_str(), job, outcome]))
        };
        Self(Some(Arc::new(JobHandles {
            ended: [
                ran(&names::COMPLETED, "done"),
                ran(&names::FAILED, "failed"),
                ran(&names::DISCARDED, "discarded"),
                ran(&names::SNOOZED, "snoozed"),
                ran(&names::GIVEN_BACK, "given_back"),
            ],
            retried: of(&names::RETRIED),
            expired: of(&names::EXPIRED),
            start_latency: histogram(&names::START_LATENCY, &labels),
            queue: queue.clone(),
            job: job.to_owned(),
        })))
    }

    /// It starts; `latency` is how long it waited, if that is known.
    #[inline]
    pub(crate) fn starts(&self, latency: impl FnOnce() -> Option<Duration>) {
        if let Some(handles) = &self.0
            && let Some(latency) = latency()
        {
            handles.start_latency.record(latency.as_secs_f64());
        }
    }

    /// Its run ended just now; it began then, unless it never got so far.
    #[inline]
    pub(crate) fn ran(&self, began: Option<Instant>, outcome: RunOutcome) {
        if let Some(handles) = &self.0 {
            let (count, duration) = &handles.ended[outcome as usize];
            count.increment(1);
            if let Some(began) = began {
                duration.record(began.elapsed().as_secs_f64());
            }
        }
    }

    pub(crate) fn retried(&self) {
        if let Some(handles) = &self.0 {
            handles.retried.increment(1);
        }
    }

    pub(crate) fn expired(&self) {
        if let Some(handles) = &self.0 {
            handles.expired.increment(1);
        }
    }

    pub(crate) fn poisoned(&self, reason: PoisonReason) {
        self.rare(&names::POISONED, label_of(reason));
    }

    pub(crate) fn deferred(&self, why: Deferred) {
        self.rare(&names::DEFERRED, why.as_str());
    }

    /// What is too rare to have its handle kept.
    fn rare(&self, metric: &Metric, reason: &str) {
        if let Some(handles) = &self.0 {
            counter(metric, &[handles.queue.as_str(), &handles.job, reason]).increment(1);
        }
    }
}

impl fmt::Debug for JobMeters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobMeters").field("counts", &self.0.is_some()).finish()
    }
}

/// The label of a reason: as it is in envelopes.
fn label_of(reason: PoisonReason) -> &'static str {
    match reason {
        PoisonReason::AttemptsExhausted => "attempts_exhausted",
        PoisonReason::Crashed => "crashed",
        PoisonReason::Permanent => "permanent",
        PoisonReason::Undecodable => "undecodable",
        PoisonReason::UnknownJob => "unknown_job",
        PoisonReason::NewerFormat => "newer_format",
        PoisonReason::NewerArgs => "newer_args",
        PoisonReason::BadArgs => "bad_args",
        PoisonReason::Other => "other",
    }
}

/// What is counted of one queue of a worker, if anybody counts or asks.
#[derive(Clone, Default)]
pub(crate) struct QueueMeters(Option<Arc<QueueHandles>>);

struct QueueHandles {
    received: Counter,
    empty_polls: Counter,
    crashed: Counter,
    leases_lost: Counter,
    settle_failures: Counter,
    slots_used: Gauge,
    in_flight: Gauge,
    /// Of messages whose job is not known here.
    unknown: JobMeters,
    busy: AtomicU64,
    /// Messages that a slot is done with.
    passed: AtomicU64,
    /// The worker has ended, whatever handlers it had to leave behind.
    ended: AtomicBool,
    health: QueueHealth,
}

/// A slot that has a message, until it is dropped.
pub(crate) struct Busy<'a>(Option<&'a QueueHandles>);

impl QueueMeters {
    /// `slots` is how many jobs of it may run at once. Unless anybody counts, only `asked` makes it
    /// know how many do.
    pub(crate) fn new(queue: &QueueName, slots: usize, asked: bool) -> Self {
        if !is_recorded() && !asked {
            return Self(None);
        }
        describe();
        let labels = [queue.as_str()];
        gauge(&names::SLOTS, &labels).set(slots as f64);
        Self(Some(Arc::new(QueueHandles {
            received: counter(&names::RECEIVED, &labels),
            empty_polls: counter(&names::EMPTY_POLLS, &labels),
            crashed: counter(&names::CRASHED, &labels),
            leases_lost: counter(&names::LEASES_LOST, &labels),
            settle_failures: counter(&names::SETTLE_FAILURES, &labels),
            slots_used: gauge(&names::SLOTS_USED, &labels),
            in_flight: gauge(&names::IN_FLIGHT, &labels),
            unknown: JobMeters::new(queue, "unknown"),
            busy: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            health: QueueHealth::default(),
        })))
    }

    /// So many messages were received of the backend.
    pub(crate) fn received(&self, messages: usize) {
        if let Some(handles) = &self.0 {
            handles.health.received();
            match messages {
                0 => handles.empty_polls.increment(1),
                _ => handles.received.increment(messages as u64),
            }
        }
    }

    /// A permit or its turn by the rate limit is waited for until what is returned is dropped.
    pub(crate) fn in_line(&self) -> Option<InLine<'_>> {
        self.0.as_ref().map(|handles| handles.health.in_line())
    }

    pub(crate) fn receive_failed(&self, error: &BackendError) {
        if let Some(handles) = &self.0 {
            handles.health.failed(error.to_string(), error.kind() == ErrorKind::Throttled);
        }
    }

    /// A layer failed to become ready.
    pub(crate) fn not_ready(&self) {
        if let Some(handles) = &self.0 {
            handles
                .health
                .not_ready("a layer fails to become ready; its log line says why".to_owned());
        }
    }

    /// A settlement was not allowed.
    pub(crate) fn denied(&self) {
        if let Some(handles) = &self.0 {
            handles.health.denied();
        }
    }

    /// How it is, if anybody wants to know.
    pub(crate) fn health(&self) -> Option<&QueueHealth> {
        self.0.as_ref().map(|handles| &handles.health)
    }

    /// Whether anybody wants to know anything.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How many messages slots are done with.
    pub(crate) fn passed(&self) -> u64 {
        self.0.as_ref().map_or(0, |handles| handles.passed.load(Relaxed))
    }

    /// A slot has a message.
    #[inline]
    pub(crate) fn busy(&self) -> Busy<'_> {
        let handles = self.0.as_deref();
        if let Some(handles) = handles {
            handles.busy.fetch_add(1, Relaxed);
        }
        Busy(handles)
    }

    /// Shows how many slots have a message, and how many messages are held. Whoever shows it later
    /// has looked later, which those who change it could not promise one another.
    pub(crate) fn show_held(&self, in_flight: usize) {
        if let Some(handles) = &self.0 {
            let ended = handles.ended.load(Relaxed);
            let busy = if ended { 0 } else { handles.busy.load(Relaxed) };
            handles.slots_used.set(busy as f64);
            handles.in_flight.set(if ended { 0.0 } else { in_flight as f64 });
        }
    }

    /// From here on the worker holds nothing that it could settle.
    pub(crate) fn ended(&self) {
        if let Some(handles) = &self.0 {
            handles.ended.store(true, Relaxed);
        }
    }

    /// A start was found to have ended with its worker, and that is on record.
    pub(crate) fn crashed(&self) {
        if let Some(handles) = &self.0 {
            handles.crashed.increment(1);
        }
    }

    pub(crate) fn lease_lost(&self) {
        if let Some(handles) = &self.0 {
            handles.leases_lost.increment(1);
        }
    }

    pub(crate) fn settle_failed(&self) {
        if let Some(handles) = &self.0 {
            handles.settle_failures.increment(1);
        }
    }

    /// What counts messages whose job is not known here.
    pub(crate) fn unknown_job(&self) -> &JobMeters {
        static NOBODY: JobMeters = JobMeters(None);
        self.0.as_ref().map_or(&NOBODY, |handles| &handles.unknown)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(handles) = self.0 {
            handles.passed.fetch_add(1, Relaxed);
            handles.busy.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Debug for QueueMeters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMeters").field("counts", &self.0.is_some()).finish()
    }
}

/// Handlers block all threads of a worker's runtime.
pub(crate) fn runtime_stalled() {
    if is_recorded() {
        counter(&names::RUNTIME_STALLS, &[]).increment(1);
    }
}

/// Of one kind of job on one queue: those that were enqueued, and those that were not.
type Enqueues = (Counter, Counter);

/// What is counted of the jobs that a client enqueues.
#[derive(Default)]
pub(crate) struct ClientMeters {
    handles: RwLock<HashMap<(QueueName, &'static str), Enqueues>>,
}

impl ClientMeters {
    /// So many jobs were put on a queue, and so many were not; it is none where its name is wrong.
    #[inline]
    pub(crate) fn enqueued(
        &self,
        queue: Option<&QueueName>,
        job: &'static str,
        jobs: usize,
        failed: usize,
    ) {
        if is_recorded() {
            self.count(queue, job, jobs, failed);
        }
    }

    fn count(&self, queue: Option<&QueueName>, job: &'static str, jobs: usize, failed: usize) {
        let Some(queue) = queue else {
            describe();
            return counter(&names::ENQUEUE_FAILED, &["unknown", job]).increment(failed as u64);
        };
        let key = (queue.clone(), job);
        let add = |(enqueued, not): &Enqueues| {
            enqueued.increment(jobs as u64);
            not.increment(failed as u64);
        };
        if let Some(handles) = self.handles.read().unwrap_or_else(PoisonError::into_inner).get(&key)
        {
            return add(handles);
        }
        describe();
        let labels = [queue.as_str(), job];
        let handles =
            (counter(&names::ENQUEUED, &labels), counter(&names::ENQUEUE_FAILED, &labels));
        add(&handles);
        self.handles.write().unwrap_or_else(PoisonError::into_inner).insert(key, handles);
    }
}
