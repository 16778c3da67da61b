//! Requests against capabilities: what is refused, and how durations are rounded.

use std::time::Duration;

use job_core::backend::{BackendError, Capabilities, ErrorKind, ItemResult};

/// Checks that hold for every request, by what the backend says of itself.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) capabilities: Capabilities,
}

impl Limits {
    pub(crate) fn new(mut capabilities: Capabilities) -> Self {
        // What the queues cannot pretend to do.
        capabilities.deduplicates = false;
        Self { capabilities }
    }

    pub(crate) fn body(&self, len: usize) -> Result<(), BackendError> {
        let most = self.capabilities.max_body;
        if len <= most {
            return Ok(());
        }
        let message = format!("{len} bytes, at most {most}; keep the data elsewhere, send its key");
        Err(BackendError::new(ErrorKind::TooLarge).message(message))
    }

    /// The delay as it is kept.
    pub(crate) fn delay(&self, delay: Duration) -> Result<Duration, BackendError> {
        let longest = self.capabilities.max_delay;
        if delay > longest {
            let message =
                format!("a delay of {delay:?}, at most {longest:?}; make longer ones of hops");
            return Err(invalid(message));
        }
        Ok(self.round_up(delay))
    }

    /// The lease as it is kept.
    pub(crate) fn lease(&self, lease: Duration) -> Result<Duration, BackendError> {
        let Capabilities { min_lease, max_lease, .. } = self.capabilities;
        let within = min_lease <= lease && lease <= max_lease;
        if within { Ok(self.round_up(lease)) } else { Err(self.bad_lease(lease)) }
    }

    pub(crate) fn bad_lease(&self, lease: Duration) -> BackendError {
        let Capabilities { min_lease, max_lease, .. } = self.capabilities;
        invalid(format!("a lease of {lease:?}, not within {min_lease:?} to {max_lease:?}"))
    }

    /// The TTL as it is kept; none where messages stay for ever.
    pub(crate) fn ttl(&self, ttl: Option<Duration>) -> Option<Duration> {
        ttl.filter(|_| self.capabilities.ttl).map(|ttl| self.round_up(ttl))
    }

    /// How long a receive may wait that asks for `wait`.
    pub(crate) fn wait(&self, wait: Duration) -> Duration {
        self.capabilities.long_poll.map_or(Duration::ZERO, |longest| wait.min(longest))
    }

    fn round_up(&self, span: Duration) -> Duration {
        if span.is_zero() {
            return span;
        }
        let grain = self.capabilities.granularity.as_nanos().max(1);
        let rounded = span.as_nanos().div_ceil(grain).saturating_mul(grain);
        u64::try_from(rounded).map_or(Duration::MAX, Duration::from_nanos)
    }
}

/// The answer to a request of more items than the backend takes at once.
pub(crate) fn over_limit<T>(
    len: usize,
    most: usize,
    operation: &'static str,
) -> Option<Vec<ItemResult<T>>> {
    let error = || invalid(format!("{len} items, at most {most} at once")).operation(operation);
    (len > most).then(|| refuse_all(len, error))
}

/// The answer to a request that fails as a whole: the same error for each item.
pub(crate) fn refuse_all<T>(len: usize, error: impl Fn() -> BackendError) -> Vec<ItemResult<T>> {
    (0..len).map(|_| Err(error())).collect()
}

pub(crate) fn invalid(message: impl Into<String>) -> BackendError {
    BackendError::new(ErrorKind::Invalid).message(message)
}

pub(crate) fn unsupported(message: &str) -> BackendError {
    BackendError::new(ErrorKind::Unsupported).message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coarse() -> Limits {
        let mut capabilities = Capabilities::minimal();
        capabilities.granularity = Duration::from_secs(1);
        Limits::new(capabilities)
    }

    #[test]
    fn durations_are_rounded_up_and_zero_stays() {
        let limits = coarse();
        let rounded = |millis| limits.delay(Duration::from_millis(millis)).unwrap().as_secs();
        assert_eq!([rounded(0), rounded(1), rounded(1000), rounded(1001)], [0, 1, 1, 2]);
        assert_eq!(limits.round_up(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_granularity_of_zero_rounds_nothing() {
        let mut limits = coarse();
        limits.capabilities.granularity = Duration::ZERO;
        assert_eq!(limits.round_up(Duration::from_nanos(7)), Duration::from_nanos(7));
    }

    #[test]
    fn an_error_says_the_limit() {
        let limits = coarse();
        let error = limits.lease(Duration::from_millis(500)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the request is invalid (a lease of 500ms, not within 1s to 43200s)"
        );
        assert_eq!(limits.body(50_000).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn what_cannot_be_pretended_is_not_claimed() {
        let mut capabilities = Capabilities::minimal();
        capabilities.deduplicates = true;
        assert!(!Limits::new(capabilities).capabilities.deduplicates);
    }
}
