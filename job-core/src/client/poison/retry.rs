//! Retrying requests that are harmless to repeat.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::backend::BackendError;

/// Attempts on top of the backend's own, the first one included.
const ATTEMPTS: usize = 3;

/// The longest that a service can make us wait between two of them.
const LONGEST: Duration = Duration::from_secs(10);

/// Tries a few times while the error is one that passes.
pub(super) async fn retry<T, F, Fut>(operation: F) -> Result<T, BackendError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, BackendError>>,
{
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_times(ATTEMPTS - 1)
        .with_jitter();
    operation
        .retry(backoff)
        .when(BackendError::is_retryable)
        .adjust(|error, delay| {
            let asked = error.retry_after().unwrap_or_default().min(LONGEST);
            delay.map(|delay| delay.max(asked))
        })
        .await
}
