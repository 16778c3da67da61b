//! Who was last, and when: how a measurement learns that all jobs have run.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Notify;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static LEFT: AtomicU64 = AtomicU64::new(0);
static AT: AtomicU64 = AtomicU64::new(0);
static BELL: Notify = Notify::const_new();

/// Says how many jobs are to come. There is one count for the whole process: measurements run one
/// after the other, and handlers have no other way to tell.
pub fn expect(jobs: u64) {
    LazyLock::force(&BEGIN);
    // Where nobody waited for the last one, its bell has still to be heard.
    let _ = BELL.notified().now_or_never();
    LEFT.store(jobs, Relaxed);
}

/// A job has run. All contenders pay for it alike: one atomic subtraction.
pub fn one() {
    if LEFT.fetch_sub(1, Relaxed) == 1 {
        let now = BEGIN.elapsed();
        AT.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        BELL.notify_one();
    }
}

/// Waits for the last of them, and gives the moment at which it ran.
pub async fn last() -> Instant {
    BELL.notified().await;
    *BEGIN + Duration::from_nanos(AT.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_waited_for_does_not_count_again() {
        expect(1);
        one();
        expect(1);
        assert!(last().now_or_never().is_none());
        one();
        assert!(last().now_or_never().is_some());
    }
}
