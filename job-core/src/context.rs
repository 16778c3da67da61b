//! What a handler can ask about the run it is in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::data::DataMap;
use crate::envelope::Trace;
#[cfg(feature = "otel")]
use crate::telemetry::TraceRelation;
use crate::{Client, Data, JobError, JobId, QueueName};

/// The run that a handler is in. Cloning it clones a pointer.
#[derive(Clone)]
pub struct JobContext {
    inner: Arc<Inner>,
    // What layers changed: most runs have none that do.
    changes: Option<Arc<Changes>>,
}

struct Inner {
    about: About,
    place: Arc<Place>,
    // Made when first asked for: most handlers never do, and a token costs more than a job.
    cancellation: OnceLock<CancellationToken>,
}

/// What differs from run to run.
pub(crate) struct About {
    pub(crate) id: JobId,
    pub(crate) name: &'static str,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) enqueued_at: SystemTime,
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) trace: Option<Trace>,
}

/// What layers changed for the layers further in and for the handler.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) extensions: DataMap,
}

/// Where runs take place. Each slot has its own: what all jobs of a worker count in and out of, all
/// its threads would wait for.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) queue: QueueName,
    pub(crate) shared: Arc<Shared>,
}

/// What all runs of a worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) data: DataMap,
    #[cfg(feature = "otel")]
    pub(crate) traces: TraceRelation,
}

impl JobContext {
    pub(crate) fn new(about: About, place: Arc<Place>) -> Self {
        let inner = Inner { about, place, cancellation: OnceLock::new() };
        Self { inner: Arc::new(inner), changes: None }
    }

    /// What is to be different from here on inwards. Clones that are elsewhere, such as the one
    /// that the timeout cancels by, still are of the same run.
    pub(crate) fn changes(&mut self) -> &mut Changes {
        let changes = self.changes.get_or_insert_with(|| {
            let meta = self.inner.about.meta.clone();
            Arc::new(Changes { name: None, meta, extensions: DataMap::default() })
        });
        Arc::make_mut(changes)
    }

    /// The id of the job, the same in every attempt.
    pub fn id(&self) -> JobId {
        self.inner.about.id
    }

    /// The name of the job, or what a layer put in its place.
    pub fn name(&self) -> &str {
        let changed = self.changes.as_ref().and_then(|changes| changes.name.as_deref());
        changed.unwrap_or(self.inner.about.name)
    }

    /// The queue it came from.
    pub fn queue(&self) -> &QueueName {
        &self.inner.place.queue
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.about.attempt
    }

    /// How many attempts there are at most.
    pub fn max_attempts(&self) -> u32 {
        self.inner.about.max_attempts
    }

    /// Whether a failure of this attempt sends the job to the poison queue.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt() >= self.max_attempts()
    }

    /// When it was enqueued, by the clock of whoever did.
    pub fn enqueued_at(&self) -> SystemTime {
        self.inner.about.enqueued_at
    }

    /// When this attempt times out.
    pub fn deadline(&self) -> Instant {
        self.inner.about.deadline
    }

    /// What the enqueuer, or a layer, attached under that key; of an
    /// [event](crate#messages-from-elsewhere), an attribute, such as `ce-source`.
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.meta_map().get(key).map(String::as_str)
    }

    /// Everything that the enqueuer and layers attached.
    pub fn all_meta(&self) -> impl Iterator<Item = (&str, &str)> {
        self.meta_map().iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn meta_map(&self) -> &BTreeMap<String, String> {
        self.changes.as_ref().map_or(&self.inner.about.meta, |changes| &changes.meta)
    }

    /// The W3C trace context of whoever enqueued the job, `traceparent` and `tracestate`, as it
    /// came off the queue: nobody has looked at it. With the feature `otel` the span of the run is
    /// connected with it already; this is for tracers that know of no `tracing`.
    pub fn trace_context(&self) -> Option<(&str, Option<&str>)> {
        let trace = self.inner.about.trace.as_ref()?;
        Some((&trace.traceparent, trace.tracestate.as_deref()))
    }

    #[cfg(feature = "otel")]
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.inner.about.trace.as_ref()
    }

    #[cfg(feature = "otel")]
    pub(crate) fn trace_relation(&self) -> TraceRelation {
        self.inner.place.shared.traces
    }

    /// What a layer passed on with
    /// [`Call::insert_extension`](crate::middleware::Call::insert_extension).
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.changes.as_ref()?.extensions.get_ref()
    }

    /// Ends when the run is to stop: the lease is lost, or a shutdown's grace time is over. The
    /// handler's future is dropped soon after; work that it started elsewhere should watch this.
    pub fn cancellation(&self) -> &CancellationToken {
        self.inner.cancellation.get_or_init(CancellationToken::new)
    }

    /// Whether the run is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancellation.get().is_some_and(CancellationToken::is_cancelled)
    }

    /// A client of the worker's backend, to enqueue further jobs.
    pub fn client(&self) -> &Client {
        &self.inner.place.shared.client
    }

    /// The worker's shared value of that type.
    ///
    /// # Errors
    /// If the worker was given none. A parameter of type `Data<T>` is checked when the worker is
    /// built instead, and is the better way.
    pub fn data<T: ?Sized + Send + Sync + 'static>(&self) -> Result<Data<T>, JobError> {
        self.inner.place.shared.data.get().ok_or_else(|| {
            let name = std::any::type_name::<T>();
            JobError::retry(format!("the worker has no Data<{name}>; give it one with `.data(..)`"))
        })
    }

    /// What the time up to the deadline was at the start.
    pub(crate) fn timeout(&self) -> Duration {
        self.inner.about.timeout
    }

    pub(crate) fn cancel(&self) {
        self.cancellation().cancel();
    }
}

/// Meta may be private to the app: only its keys are shown.
impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { id, attempt, .. } = &self.inner.about;
        f.debug_struct("JobContext")
            .field("id", id)
            .field("name", &self.name())
            .field("queue", self.queue())
            .field("attempt", attempt)
            .field("meta", &self.meta_map().keys())
            .finish_non_exhaustive()
    }
}
