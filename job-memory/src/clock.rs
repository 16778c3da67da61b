//! Time as the backend knows it: moments since its making, and the one clock they come from.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment, in nanoseconds since the backend was made. Half the size of a `Duration`, which
/// counts with a million messages; it lasts for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// When the backend was made.
    pub(crate) const START: Self = Self(0);
    /// Later than any other moment.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// `span` later than this.
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The time from the backend's making to this moment.
    pub(crate) fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Tokio's clock, and the wall clock at the time of its making.
///
/// The wall clock is read only once, so that a jump of it moves neither leases nor
/// `inserted_at`, and a paused clock moves both.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    wall: SystemTime,
    /// How far it was put forward, in nanoseconds.
    ahead: AtomicU64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), wall: SystemTime::now(), ahead: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(nanos(self.started.elapsed()).saturating_add(self.ahead.load(Relaxed)))
    }

    /// Puts it forward, for tests that cannot pause tokio's clock. Who waits for a moment already
    /// does not hear of it.
    pub(crate) fn skip(&self, span: Duration) {
        self.ahead.fetch_add(nanos(span), Relaxed);
    }

    pub(crate) fn wall(&self, moment: Moment) -> SystemTime {
        self.wall + moment.since_start()
    }

    /// When to wake for `moment`; far off if it is past what timers can hold.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        let span =
            moment.since_start().saturating_sub(Duration::from_nanos(self.ahead.load(Relaxed)));
        self.started.checked_add(span).unwrap_or_else(far_off)
    }
}

/// A moment that no waiting outlives.
pub(crate) fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(30 * 365 * 24 * 3600)
}
