//! Time as the service knows it: moments since its start, and the one clock they come from.

use std::time::{Duration, SystemTime};

use azure_core::time::{OffsetDateTime, to_rfc7231};
use tokio::time::Instant;

/// The last second that the service's dates can write; what never expires expires then.
const END_OF_DATES: i64 = 253_402_300_799;

/// A moment, by the time since the service was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// When the service was made.
    pub(crate) const START: Self = Self(Duration::ZERO);
    /// Later than any other moment.
    pub(crate) const NEVER: Self = Self(Duration::MAX);

    /// `span` later than this.
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long this is after `earlier`; zero if it is not.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tokio's clock, and the wall clock at the time of its making, so that a jump of the wall clock
/// moves nothing and a paused clock moves everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), wall: SystemTime::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }

    /// From now on it is `wall`, and time goes on from there.
    pub(crate) fn set_wall(&mut self, wall: SystemTime) {
        let elapsed = self.started.elapsed();
        self.wall = wall.checked_sub(elapsed).expect("a wall clock later than the year 1970");
    }

    /// The moment as the service writes it: RFC 1123, whole seconds, rounded down.
    pub(crate) fn date(&self, moment: Moment) -> String {
        let wall = self.wall.checked_add(moment.0).map(OffsetDateTime::from);
        let end = OffsetDateTime::from_unix_timestamp(END_OF_DATES).expect("a date");
        to_rfc7231(&wall.unwrap_or(end).min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_whole_seconds_and_end_with_the_year_9999() {
        let mut clock = Clock::start();
        clock.wall = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(clock.date(Moment::START), "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = Moment::START.after(Duration::from_millis(1999));
        assert_eq!(clock.date(later), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(clock.date(Moment::NEVER), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
