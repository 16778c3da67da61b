//! When a failed job is tried again: pure functions of the attempt number and a seedable random
//! number generator.

mod text;

use std::fmt;
use std::time::Duration;

pub use self::text::InvalidBackoff;

/// How long to wait before the next attempt.
///
/// The default is exponential from 5 s to 10 min with full jitter.
///
/// ```
/// use std::time::Duration;
/// use job_core::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(600));
/// assert_eq!(backoff.ceiling(1), Duration::from_secs(2));
/// assert_eq!(backoff.ceiling(4), Duration::from_secs(16));
/// assert_eq!(backoff.ceiling(99), Duration::from_secs(600));
///
/// let mut rng = fastrand::Rng::with_seed(7);
/// assert!(backoff.delay(4, &mut rng) <= Duration::from_secs(16));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    curve: Curve,
    jitter: Jitter,
}

#[derive(Clone, Copy)]
enum Curve {
    Exponential { base: Duration, max: Duration },
    Linear { step: Duration, max: Duration },
    Fixed(Duration),
    Custom(fn(u32) -> Duration),
}

/// How much of a computed delay is left to chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Exactly the computed delay.
    None,
    /// Anything from zero to the computed delay, evenly. Jobs that failed together do not come
    /// back together, which is what lets an overloaded dependency recover.
    Full,
}

impl Backoff {
    /// `base`, then twice as long each time, up to `max`; full jitter.
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self { curve: Curve::Exponential { base, max }, jitter: Jitter::Full }
    }

    /// `step`, `2 * step`, `3 * step`, ..., up to `max`; full jitter.
    pub const fn linear(step: Duration, max: Duration) -> Self {
        Self { curve: Curve::Linear { step, max }, jitter: Jitter::Full }
    }

    /// Always `delay`; no jitter.
    pub const fn fixed(delay: Duration) -> Self {
        Self { curve: Curve::Fixed(delay), jitter: Jitter::None }
    }

    /// What `delay_of` says for the number of the attempt that failed, counted from 1; no jitter.
    pub const fn custom(delay_of: fn(u32) -> Duration) -> Self {
        Self { curve: Curve::Custom(delay_of), jitter: Jitter::None }
    }

    /// Sets the jitter.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The longest delay after the `attempt`-th failure, counted from 1.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let attempt = attempt.max(1);
        match &self.curve {
            Curve::Exponential { base, max } => {
                let doublings = (attempt - 1).min(63);
                let factor = 1_u64 << doublings;
                let nanos = base.as_nanos().saturating_mul(u128::from(factor));
                saturating_from_nanos(nanos).min(*max)
            }
            Curve::Linear { step, max } => step.saturating_mul(attempt).min(*max),
            Curve::Fixed(delay) => *delay,
            Curve::Custom(delay_of) => delay_of(attempt),
        }
    }

    /// The delay after the `attempt`-th failure, counted from 1.
    pub fn delay(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        let ceiling = self.ceiling(attempt);
        match self.jitter {
            Jitter::None => ceiling,
            Jitter::Full => up_to(ceiling, rng),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(5), Duration::from_secs(600))
    }
}

impl Curve {
    /// What the constructors give it.
    fn usual_jitter(&self) -> Jitter {
        match self {
            Self::Exponential { .. } | Self::Linear { .. } => Jitter::Full,
            Self::Fixed(_) | Self::Custom(_) => Jitter::None,
        }
    }
}

impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exponential { base, max } => write!(f, "exponential({base:?}, {max:?})"),
            Self::Linear { step, max } => write!(f, "linear({step:?}, {max:?})"),
            Self::Fixed(delay) => write!(f, "fixed({delay:?})"),
            Self::Custom(_) => f.write_str("custom"),
        }
    }
}

/// Anything from zero to `ceiling`, evenly.
pub(crate) fn up_to(ceiling: Duration, rng: &mut fastrand::Rng) -> Duration {
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.u64(..=nanos))
}

fn saturating_from_nanos(nanos: u128) -> Duration {
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn curves() {
        let ceilings = |b: Backoff| [1, 2, 3, 10].map(|n| b.ceiling(n).as_secs());
        assert_eq!(ceilings(Backoff::exponential(2 * S, 60 * S)), [2, 4, 8, 60]);
        assert_eq!(ceilings(Backoff::linear(5 * S, 30 * S)), [5, 10, 15, 30]);
        assert_eq!(ceilings(Backoff::fixed(7 * S)), [7, 7, 7, 7]);
        assert_eq!(ceilings(Backoff::custom(|n| S * n * n)), [1, 4, 9, 100]);
    }

    #[test]
    fn a_seed_makes_it_repeatable() {
        let backoff = Backoff::default();
        let run = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (1..20).map(|n| backoff.delay(n, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn full_jitter_uses_the_whole_range() {
        let backoff = Backoff::fixed(10 * S).jitter(Jitter::Full);
        let mut rng = fastrand::Rng::with_seed(3);
        let delays: Vec<_> = (0..1000).map(|_| backoff.delay(1, &mut rng)).collect();
        assert!(delays.iter().any(|d| *d < S) && delays.iter().any(|d| *d > 9 * S));
    }

    proptest! {
        #[test]
        fn no_input_overflows_or_exceeds_the_ceiling(
            base in any::<u64>(), max in any::<u64>(), attempt in any::<u32>(), seed in any::<u64>()
        ) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            let mut rng = fastrand::Rng::with_seed(seed);
            for backoff in [Backoff::exponential(base, max), Backoff::linear(base, max)] {
                prop_assert!(backoff.ceiling(attempt) <= max);
                prop_assert!(backoff.delay(attempt, &mut rng) <= max);
                prop_assert!(backoff.ceiling(attempt) >= base.min(max));
            }
        }
    }
}
