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
    /// So many deaths in a row without a good life are a crash loop.
    pub(super) limit: u32,
}

/// What is known of the lives of one place's processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Deaths in a row of processes that had not lived well.
    pub(super) deaths: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    StartAt(Instant),
    GiveUp,
}

impl Past {
    /// A process ended that nobody had asked to. `useful`: it had finished a job, so whatever ended
    /// it, there is progress.
    pub(super) fn died(
        &mut self,
        lived: Duration,
        useful: bool,
        restarts: &Restarts,
        now: Instant,
    ) -> Next {
        if useful || lived >= restarts.well {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths >= restarts.limit {
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

    /// After how many seconds each is started again.
    fn waits(lives: &[(u64, bool)]) -> Vec<Option<u64>> {
        let (mut past, now) = (Past::default(), Instant::now());
        let wait = |(lived, useful): &(u64, bool)| match past.died(
            S * *lived as u32,
            *useful,
            &RESTARTS,
            now,
        ) {
            Next::StartAt(at) => Some((at - now).as_secs()),
            Next::GiveUp => None,
        };
        lives.iter().map(wait).collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_until_it_is_given_up() {
        let expected = [1, 2, 4, 8, 16, 32, 60, 60].map(Some);
        let got = waits(&[(1, false); 9]);
        assert_eq!((&got[..8], got[8]), (&expected[..], None));
    }

    #[test]
    fn a_good_life_or_a_finished_job_makes_up_for_deaths() {
        assert_eq!(
            waits(&[(1, false), (1, false), (30, false), (1, false)]),
            [1, 2, 1, 2].map(Some)
        );
        assert_eq!(waits(&[(1, false), (1, false), (1, true), (1, true)]), [1, 2, 1, 1].map(Some));
    }
}
