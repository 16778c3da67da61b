//! One queue while it is served: everything its slots share.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::aside::Way;
use super::feed::Feed;
use super::home::Home;
use super::lease::Leases;
use super::plan::QueuePlan;
use super::rate::Rate;
use super::recent::Recent;
use super::report::Counters;
use super::shutdown::Shutdown;
use crate::backend::{Backend, Capabilities, MessageId};
use crate::context::Shared;
use crate::decide::Rules;
use crate::pipeline::JobService;
use crate::telemetry::meters::QueueMeters;

/// One queue while it is served.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) plan: QueuePlan,
    pub(crate) rules: Rules,
    pub(crate) home: Option<Arc<dyn Home>>,
    pub(crate) grace: Duration,
    pub(crate) backend: Arc<dyn Backend>,
    /// The same, for what settles messages. Where there is a thread for that, it lives there.
    pub(crate) settling: Arc<dyn Backend>,
    pub(super) aside: Option<Way>,
    pub(crate) capabilities: Capabilities,
    pub(crate) shared: Arc<Shared>,
    /// The stack, to clone; clones are used again.
    pub(crate) stack: JobService,
    /// Whether it has no layers of the user's: then one that is ready holds nothing.
    pub(crate) stack_is_bare: bool,
    /// Whether nothing has to be reserved for a job: no rate, no permit, no service.
    pub(crate) reserves_nothing: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: QueueMeters,
    pub(crate) leases: Arc<Leases>,
    pub(crate) feed: Feed,
    /// The worker-wide limit, where there is one.
    pub(crate) permits: Option<Arc<Semaphore>>,
    /// Told of every enqueue by a client of this worker; `None` where the backend tells of them as
    /// soon.
    pub(crate) enqueued: Option<Arc<Notify>>,
    pub(super) services: Mutex<Vec<JobService>>,
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) pace: Mutex<Pace>,
    /// Whether there ever was anything in `vain` or `survived`: nearly always not, and every
    /// message asks.
    pub(super) remembers: AtomicBool,
    pub(super) vain: Mutex<Recent<MessageId>>,
    pub(super) survived: Mutex<Recent<(MessageId, u32)>>,
}

/// How soon to receive again.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The next wait after an empty receive.
    pub(super) idle_wait: Duration,
    /// Failed requests in a row.
    pub(super) failures: u32,
    /// How long the last receive took, if there was a backlog; else zero.
    pub(super) round_trip: Duration,
    /// Nothing is received before then.
    pub(super) paused_until: Option<Instant>,
    pub(super) rng: fastrand::Rng,
}

impl Pace {
    pub(super) fn new(idle_wait: Duration) -> Self {
        Self {
            idle_wait,
            failures: 0,
            round_trip: Duration::ZERO,
            paused_until: None,
            rng: fastrand::Rng::new(),
        }
    }
}

impl Served {
    /// Stops receiving for a while: access was denied, which trying harder does not cure.
    pub(super) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut pace = self.pace();
        pace.paused_until = Some(pace.paused_until.map_or(until, |at| at.max(until)));
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        lock(&self.pace)
    }

    /// Messages that should be gone: their redelivery is deleted.
    pub(super) fn remember_vain(&self, messages: impl IntoIterator<Item = MessageId>) {
        self.remembers.store(true, Release);
        let mut vain = lock(&self.vain);
        messages.into_iter().for_each(|message| vain.remember(message));
    }

    pub(super) fn is_vain(&self, message: &MessageId) -> bool {
        self.remembers.load(Acquire) && lock(&self.vain).contains(message)
    }

    /// A start that was marked in a message, with that count, did not end in a crash.
    pub(super) fn remember_survived(&self, message: &MessageId, mark: u32) {
        self.remembers.store(true, Release);
        lock(&self.survived).remember((message.clone(), mark));
    }

    pub(super) fn has_survived(&self, message: &MessageId, mark: u32) -> bool {
        self.remembers.load(Acquire) && lock(&self.survived).contains(&(message.clone(), mark))
    }

    /// Clones of the stack that were called, for other jobs; of a bare one each slot keeps its own.
    pub(super) fn services(&self) -> MutexGuard<'_, Vec<JobService>> {
        lock(&self.services)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
