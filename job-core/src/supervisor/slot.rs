//! The place of one process: whether and when to start it again. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// When a process that ended is started again, and when it is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restarts {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    /// Who lived for so long has lived well.
    pub(super) well: Duration,
    /// So many deaths in a row of processes that did not get to serve are a crash loop.
    pub(super) limit: u32,
}

/// What is known of the lives of one place's processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Deaths in a row since the last good life, the one that ended it included.
    pub(super) deaths: u32,
    /// Those in a row before it served.
    pub(super) unserved: u32,
}

/// What a process was that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) lived: Duration,
    /// It had found its queues: the program and what it needs are all right, so whatever ends it
    /// after that, such as a job, is no reason to stop the others.
    pub(super) served: bool,
    /// There was progress.
    pub(super) useful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    StartAt(Instant),
    GiveUp,
}

impl Past {
    /// A process ended that nobody had asked to.
    pub(super) fn died(&mut self, life: Life, restarts: &Restarts, now: Instant) -> Next {
        self.unserved = if life.served { 0 } else { self.unserved.saturating_add(1) };
        if life.useful || life.lived >= restarts.well {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.unserved >= restarts.limit {
            return Next::GiveUp;
        }
        let doubled = restarts.first.saturating_mul(1 << (self.deaths - 1).min(16));
        Next::StartAt(now + doubled.min(restarts.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const RESTARTS: Restarts = Restarts {
        first: S,
        longest: Duration::from_secs(60),
        well: Duration::from_secs(30),
        limit: 9,
    };

    const LIFE: Life = Life { lived: S, served: true, useful: false };
    const UNSERVED: Life = Life { served: false, ..LIFE };
    const LONG: Life = Life { lived: RESTARTS.well, ..LIFE };
    const USEFUL: Life = Life { useful: true, ..LIFE };

    /// After how many seconds each is started again.
    fn waits(lives: &[Life], limit: u32) -> Vec<Option<u64>> {
        let restarts = Restarts { limit, ..RESTARTS };
        let (mut past, now) = (Past::default(), Instant::now());
        let wait = |life: &Life| match past.died(*life, &restarts, now) {
            Next::StartAt(at) => Some((at - now).as_secs()),
            Next::GiveUp => None,
        };
        lives.iter().map(wait).collect()
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60].map(Some);
        assert_eq!(waits(&[LIFE; 10], 9), expected);
        let unserved = waits(&[UNSERVED; 9], 9);
        assert_eq!((&unserved[..8], unserved[8]), (&expected[..8], None));
    }

    #[test]
    fn a_good_life_or_a_finished_job_makes_up_for_deaths() {
        assert_eq!(waits(&[LIFE, LIFE, LONG, LIFE], 9), [1, 2, 1, 2].map(Some));
        assert_eq!(waits(&[LIFE, LIFE, USEFUL, USEFUL], 9), [1, 2, 1, 1].map(Some));
    }

    #[test]
    fn it_is_given_up_when_it_did_not_serve_so_often_in_a_row() {
        assert_eq!(waits(&[LIFE, USEFUL, LONG, UNSERVED], 1), [Some(1), Some(1), Some(1), None]);
        assert_eq!(
            waits(&[UNSERVED, UNSERVED, LIFE, UNSERVED, UNSERVED, UNSERVED], 3),
            [Some(1), Some(2), Some(4), Some(8), Some(16), None]
        );
        // A long time in which it did not get there is no better.
        assert_eq!(waits(&[Life { served: false, ..LONG }; 2], 2), [Some(1), None]);
    }
}
