//! A limit on how many jobs start in a span of time, exact over every window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Lets at most `limit` starts happen in any window of length `per`.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limit: usize,
    per: Duration,
    /// The starts of the current window, oldest first.
    starts: VecDeque<Instant>,
}

impl RateLimit {
    pub(crate) fn new(limit: u32, per: Duration) -> Self {
        Self { limit: limit as usize, per, starts: VecDeque::new() }
    }

    /// Grants up to `want` starts, or says when to ask again.
    pub(crate) fn take(&mut self, want: usize, now: Instant) -> Result<usize, Instant> {
        while self.starts.front().is_some_and(|start| now.duration_since(*start) >= self.per) {
            self.starts.pop_front();
        }
        let granted = want.min(self.limit - self.starts.len());
        if granted == 0 {
            return Err(self.starts.front().map_or(now, |start| *start + self.per));
        }
        self.starts.extend(std::iter::repeat_n(now, granted));
        Ok(granted)
    }

    /// Takes back the latest `unused` grants.
    pub(crate) fn refund(&mut self, unused: usize) {
        self.starts.truncate(self.starts.len().saturating_sub(unused));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_holds_so_many_and_no_more() {
        let start = Instant::now();
        let mut rate = RateLimit::new(3, SECOND);
        assert_eq!(rate.take(2, start), Ok(2));
        assert_eq!(rate.take(2, start + SECOND / 2), Ok(1));
        assert_eq!(rate.take(1, start + SECOND / 2), Err(start + SECOND));
        assert_eq!(rate.take(5, start + SECOND), Ok(2));
    }

    #[test]
    fn what_is_not_used_is_given_back() {
        let start = Instant::now();
        let mut rate = RateLimit::new(3, SECOND);
        assert_eq!(rate.take(3, start), Ok(3));
        rate.refund(2);
        assert_eq!(rate.take(3, start), Ok(2));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more(
            limit in 1_u32..20,
            steps in prop::collection::vec((0_u64..400, 1_usize..30, 0_usize..30), 1..200),
        ) {
            let mut rate = RateLimit::new(limit, SECOND);
            let mut now = Instant::now();
            let mut used = Vec::new();
            for (wait, want, unused) in steps {
                now += Duration::from_millis(wait);
                if let Ok(granted) = rate.take(want, now) {
                    prop_assert!(granted >= 1 && granted <= want);
                    let unused = unused.min(granted);
                    rate.refund(unused);
                    used.extend(std::iter::repeat_n(now, granted - unused));
                }
            }
            for start in &used {
                let within = used.iter().filter(|t| *t >= start && **t < *start + SECOND).count();
                prop_assert!(within <= limit as usize);
            }
        }
    }
}
