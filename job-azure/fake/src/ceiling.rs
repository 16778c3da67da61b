//! How many operations a second a queue takes.

use crate::clock::Moment;

/// What an operation costs. Credit grows by the rate with each nanosecond, so that it is exact.
const COST: u128 = 1_000_000_000;

/// A token bucket that holds one second's worth and begins full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    credit: u128,
    filled_at: Moment,
}

impl Bucket {
    pub(crate) fn full(now: Moment, per_second: u32) -> Self {
        Self { credit: u128::from(per_second) * COST, filled_at: now }
    }

    /// Pays for an operation, if the credit suffices.
    pub(crate) fn take(&mut self, now: Moment, per_second: u32) -> bool {
        let rate = u128::from(per_second);
        let gained = now.since(self.filled_at).as_nanos().saturating_mul(rate);
        self.credit = self.credit.saturating_add(gained).min(rate * COST);
        self.filled_at = self.filled_at.max(now);
        let paid = self.credit.checked_sub(COST);
        self.credit = paid.unwrap_or(self.credit);
        paid.is_some()
    }
}
