//! Repeating requests, within limits.
//!
//! The SDK would repeat anything for over a minute. That makes leases that nobody knows of, and
//! renewals that come after the lease's end.

use std::future::Future;
use std::time::Duration;

use job_core::backend::{BackendError, ErrorKind};
use tokio::time::{Instant, sleep, timeout};

use crate::log;

/// The first pause, before jitter. Each one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// One request, from its first byte to the last of its answer.
    pub(crate) request: Duration,
    /// An operation with all its repetitions.
    pub(crate) operation: Duration,
}

/// What an operation does if it is carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing that matters. A delete or an update that was carried out and is repeated finds its
    /// receipt stale: the error then says that its outcome is unknown. A repeated send makes a
    /// second message with the same job id, which is better than none.
    Harmless,
    /// Messages are leased to nobody. Repeat only what was certainly not carried out.
    Harmful,
}

/// Calls `request` until it succeeds, fails for good, or time is up.
///
/// The error is the last one. Its outcome is unknown if that of any try is.
pub(crate) async fn retry<T, F, Fut>(
    limits: Limits,
    repeat: Repeat,
    mut request: F,
) -> Result<T, BackendError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, BackendError>>,
{
    let deadline = Instant::now() + limits.operation;
    let mut unknown = false;
    for tries in 0.. {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match timeout(limits.request.min(left), request()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => ErrorKind::Timeout.into(),
        };
        unknown |= error.outcome_unknown();
        let left = deadline.saturating_duration_since(Instant::now());
        match pause(&error, repeat, tries, left, fastrand::f64()) {
            Some(pause) => {
                log::request_retried(&error, pause);
                sleep(pause).await;
            }
            None => return Err(error.with_outcome_unknown(unknown)),
        }
    }
    unreachable!("there are more numbers than tries")
}

/// How long to wait before the next try; `None` if there is to be none. `random` is from 0 to 1.
fn pause(
    error: &BackendError,
    repeat: Repeat,
    tries: u32,
    left: Duration,
    random: f64,
) -> Option<Duration> {
    let safe = repeat == Repeat::Harmless || !error.outcome_unknown();
    if !error.is_retryable() || !safe {
        return None;
    }
    let full = (FIRST_PAUSE * 2u32.saturating_pow(tries.min(16))).min(LONGEST_PAUSE);
    let pause = full.mul_f64(0.5 + random / 2.0).max(error.retry_after().unwrap_or_default());
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(10);

    fn of(kind: ErrorKind, repeat: Repeat) -> Option<Duration> {
        pause(&kind.into(), repeat, 0, LEFT, 1.0)
    }

    #[test]
    fn only_what_can_get_better_is_repeated() {
        use ErrorKind::*;
        for kind in [Throttled, Unavailable, Timeout] {
            assert_eq!(of(kind, Repeat::Harmless), Some(FIRST_PAUSE), "{kind:?}");
        }
        for kind in [LeaseLost, QueueNotFound, TooLarge, Unauthorized, Invalid, Other] {
            assert_eq!(of(kind, Repeat::Harmless), None, "{kind:?}");
        }
    }

    #[test]
    fn a_receive_that_may_have_leased_is_not_repeated() {
        assert_eq!(of(ErrorKind::Timeout, Repeat::Harmful), None);
        assert_eq!(of(ErrorKind::Unavailable, Repeat::Harmful), None);
        assert!(of(ErrorKind::Throttled, Repeat::Harmful).is_some());
        let refused = BackendError::new(ErrorKind::Unavailable).with_outcome_unknown(false);
        assert!(pause(&refused, Repeat::Harmful, 0, LEFT, 0.5).is_some());
    }

    #[test]
    fn pauses_double_with_jitter_up_to_two_seconds() {
        let error = ErrorKind::Throttled.into();
        let of = |tries, random| pause(&error, Repeat::Harmless, tries, LEFT, random).unwrap();
        assert_eq!(of(0, 0.0), Duration::from_millis(50));
        assert_eq!(of(2, 1.0), Duration::from_millis(400));
        assert_eq!(of(30, 1.0), LONGEST_PAUSE);
    }

    #[test]
    fn retry_after_is_kept_to_and_a_pause_past_the_deadline_is_not_begun() {
        let error = |secs| {
            BackendError::new(ErrorKind::Throttled).with_retry_after(Duration::from_secs(secs))
        };
        let of = |secs| pause(&error(secs), Repeat::Harmless, 0, LEFT, 0.5);
        assert_eq!(of(3), Some(Duration::from_secs(3)));
        assert_eq!(of(10), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_ends_at_its_deadline_and_says_what_is_unknown() {
        let limits = Limits { request: Duration::from_secs(3), operation: Duration::from_secs(10) };
        let start = Instant::now();
        let mut tries = 0;
        let result: Result<(), _> = retry(limits, Repeat::Harmless, || {
            tries += 1;
            let first = tries == 1;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Err(ErrorKind::Throttled.into())
            }
        })
        .await;
        let error = result.unwrap_err();
        assert!(start.elapsed() <= limits.operation, "{:?}", start.elapsed());
        assert!(tries > 3, "{tries}");
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert!(error.outcome_unknown(), "the first one may have been carried out");
    }
}
