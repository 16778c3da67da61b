//! Who was last, and when: how a measurement learns that all jobs have run.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::round::Watch;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static LEFT: AtomicU64 = AtomicU64::new(0);
static AT: AtomicU64 = AtomicU64::new(0);
static BELL: Notify = Notify::const_new();

/// With which of them, counted as `LEFT` is, the watch starts.
static START: AtomicU64 = AtomicU64::new(0);
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Tasks that go on until they are ended.
pub type Tasks = JoinSet<anyhow::Result<()>>;

/// Says how many jobs are to come. There is one count for the whole process: measurements run one
/// after the other, and handlers have no other way to tell.
pub fn expect(jobs: u64) {
    LazyLock::force(&BEGIN);
    // Where nobody waited for the last one, its bell has still to be heard.
    let _ = BELL.notified().now_or_never();
    START.store(0, Relaxed);
    LEFT.store(jobs, Relaxed);
}

/// The same, and starts a watch when the first `untimed` of them have run: by then the worker has
/// started, whatever that takes.
pub fn expect_timed_after(untimed: u64, jobs: u64) {
    *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = None;
    // That it was started counts, too, or the last job could be done before.
    expect(jobs + 1);
    START.store(jobs - untimed + 2, Relaxed);
}

/// The watch that was started then.
///
/// # Errors
/// If so many jobs have not run yet.
pub fn watch() -> anyhow::Result<Watch> {
    let watch = *WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    watch.context("the jobs before those that are timed have not run")
}

/// A job has run. All contenders pay for it alike: one atomic subtraction.
pub fn one() {
    let left = LEFT.fetch_sub(1, Relaxed);
    if left == START.load(Relaxed) {
        *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch::start());
        ring_after_last(LEFT.fetch_sub(1, Relaxed));
    }
    ring_after_last(left);
}

fn ring_after_last(left: u64) {
    if left == 1 {
        let now = BEGIN.elapsed();
        AT.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        BELL.notify_one();
    }
}

/// Waits for the last of them, and gives the moment at which it ran.
///
/// # Errors
/// If a worker's task ends before.
pub async fn last(worker: &mut Tasks) -> anyhow::Result<Instant> {
    tokio::select! {
        biased;
        () = BELL.notified() => Ok(*BEGIN + Duration::from_nanos(AT.load(Relaxed))),
        Some(ended) = worker.join_next() => {
            ended??;
            bail!("the worker ended before its jobs");
        }
    }
}

/// The count is the process's, so one test at a time has it.
#[cfg(test)]
pub(crate) static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_one_is_waited_for() {
        let _alone = ONE_AT_A_TIME.lock().await;
        let mut nobody = Tasks::new();
        expect(1);
        one();
        expect(1);
        assert!(last(&mut nobody).now_or_never().is_none(), "one that was not waited for counts");
        one();
        assert!(last(&mut nobody).now_or_never().is_some());

        expect_timed_after(2, 4);
        one();
        assert!(watch().is_err());
        one();
        assert!(watch().is_ok());
        one();
        assert!(last(&mut nobody).now_or_never().is_none());
        one();
        assert!(last(&mut nobody).now_or_never().is_some());

        let mut worker = Tasks::new();
        worker.spawn(async { bail!("no queue") });
        assert_eq!(last(&mut worker).await.unwrap_err().to_string(), "no queue");
        worker.spawn(async { Ok(()) });
        assert!(last(&mut worker).await.is_err());
    }
}
