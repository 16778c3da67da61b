//! Backlog, age and poison of queues, asked of the backend from time to time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{sleep, timeout};

use super::facade::gauge;
use super::{events, names};
use crate::backend::{Backend, BackendError, Capabilities, ErrorKind, Peeked, QueueStats};
use crate::worker::Served;

/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What one queue looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) at: Instant,
    /// All messages.
    pub(crate) depth: u64,
    /// Those that are due.
    pub(crate) backlog: u64,
    /// Whether the backend has counted those, and not only given an idea.
    pub(crate) backlog_is_exact: bool,
    /// How long ago the oldest was sent that the backend shows.
    pub(crate) oldest_age: Option<Duration>,
    pub(crate) poison: u64,
    /// Messages a second that this worker was done with, since the time before.
    pub(crate) rate: f64,
}

/// Asks for the figures of all queues until it is dropped: each `every`, and less often while the
/// backend does not answer.
pub(crate) async fn sample(backend: Arc<dyn Backend>, queues: Vec<Arc<Served>>, every: Duration) {
    let mut failures = 0;
    let mut passed: Vec<_> = queues.iter().map(|_| (Instant::now(), 0)).collect();
    loop {
        let mut problem = None;
        for (served, before) in queues.iter().zip(&mut passed) {
            let Some(health) = served.meters.health() else { continue };
            let now = (Instant::now(), served.meters.passed());
            let rate = rate_of(*before, now);
            let asked = timeout(LIMIT, ask(&*backend, served, rate)).await;
            match asked.unwrap_or_else(|_| Err(ErrorKind::Timeout.into())) {
                Ok(figures) => {
                    *before = now;
                    health.sampled(figures);
                    show(served, &figures);
                }
                Err(error) => problem = Some((served, error)),
            }
        }
        failures = if problem.is_some() { failures + 1 } else { 0 };
        let wait = wait_after(every, failures);
        if let Some((served, error)) = problem {
            events::sample_failed(&served.plan.name, &error, wait);
        }
        sleep(wait).await;
    }
}

/// How long until the next time.
fn wait_after(every: Duration, failures: u32) -> Duration {
    let doubled = every.saturating_mul(1 << failures.min(16));
    doubled.min(LONGEST_WAIT.max(every))
}

fn rate_of(before: (Instant, u64), now: (Instant, u64)) -> f64 {
    let seconds = now.0.duration_since(before.0).as_secs_f64();
    if seconds > 0.0 { (now.1 - before.1) as f64 / seconds } else { 0.0 }
}

async fn ask(backend: &dyn Backend, served: &Served, rate: f64) -> Result<Figures, BackendError> {
    let queue = &served.plan.name;
    let stats = backend.stats(queue).await?;
    let capabilities = backend.capabilities();
    let peeked = if stats.visible.is_none() || stats.oldest.is_none() {
        let most = if stats.total == 0 { 0 } else { capabilities.max_peek };
        backend.peek(queue, most).await?
    } else {
        Vec::new()
    };
    let poison = match backend.stats(&served.plan.poison).await {
        Ok(stats) => stats.total,
        // It is made when the worker starts, or by whoever may.
        Err(error) if error.kind() == ErrorKind::QueueNotFound => 0,
        Err(error) => return Err(error),
    };
    let held = served.leases.len() as u64;
    let (backlog, backlog_is_exact) = backlog_of(&stats, &peeked, capabilities, held);
    let oldest = stats.oldest.or_else(|| peeked.iter().map(|message| message.inserted_at).min());
    Ok(Figures {
        at: Instant::now(),
        depth: stats.total,
        backlog,
        backlog_is_exact,
        oldest_age: oldest.map(|oldest| age(oldest, backend.now())),
        poison,
        rate,
    })
}

fn age(oldest: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(oldest).unwrap_or_default()
}

/// How many messages are due, and whether that is exact. Where the backend does not say, a peek
/// shows them all if there are few; if there are more, it is all messages but those that this
/// worker holds.
fn backlog_of(
    stats: &QueueStats,
    peeked: &[Peeked],
    capabilities: &Capabilities,
    held: u64,
) -> (u64, bool) {
    let shown = peeked.len() as u64;
    match stats.visible {
        Some(visible) => (visible, capabilities.exact_stats),
        None if peeked.len() < capabilities.max_peek => (shown, false),
        None => (stats.total.saturating_sub(held).max(shown), false),
    }
}

/// Sets the gauges.
fn show(served: &Served, figures: &Figures) {
    let labels = [served.plan.name.as_str()];
    gauge(&names::BACKLOG, &labels).set(figures.backlog as f64);
    gauge(&names::QUEUE_DEPTH, &labels).set(figures.depth as f64);
    gauge(&names::POISON_DEPTH, &labels).set(figures.poison as f64);
    let age = figures.oldest_age.unwrap_or_default();
    gauge(&names::OLDEST_AGE, &labels).set(age.as_secs_f64());
    show_held(served);
}

/// Sets the one that needs no backend.
pub(crate) fn show_held(served: &Served) {
    gauge(&names::IN_FLIGHT, &[served.plan.name.as_str()]).set(served.leases.len() as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stats(total: u64, visible: Option<u64>) -> QueueStats {
        let mut stats = QueueStats::new(total);
        stats.visible = visible;
        stats
    }

    fn peeked(count: usize) -> Vec<Peeked> {
        let one = || Peeked::new(1.into(), SystemTime::UNIX_EPOCH, "".into());
        std::iter::repeat_with(one).take(count).collect()
    }

    #[test]
    fn what_is_due_is_what_the_backend_says_or_shows() {
        let mut capabilities = Capabilities::minimal();
        capabilities.max_peek = 32;
        for (total, visible, shown, held, expected) in [
            (9, Some(4), 0, 5, 4),
            (0, None, 0, 0, 0),
            // Most are hidden: running, or due later.
            (1000, None, 0, 10, 0),
            (1000, None, 31, 10, 31),
            (1000, None, 32, 10, 990),
            // The count is an estimate; what was seen is there.
            (3, None, 32, 10, 32),
        ] {
            let backlog = backlog_of(&stats(total, visible), &peeked(shown), &capabilities, held);
            assert_eq!(backlog, (expected, false), "{total} {visible:?} {shown}");
        }
        capabilities.exact_stats = true;
        assert_eq!(backlog_of(&stats(9, Some(4)), &[], &capabilities, 0), (4, true));
        capabilities.max_peek = 0;
        assert_eq!(backlog_of(&stats(9, None), &[], &capabilities, 2), (7, false));
    }

    #[test]
    fn failures_make_it_ask_less_often() {
        assert_eq!(wait_after(30 * SECOND, 0), 30 * SECOND);
        assert_eq!(wait_after(30 * SECOND, 2), 120 * SECOND);
        assert_eq!(wait_after(30 * SECOND, u32::MAX), LONGEST_WAIT);
        assert_eq!(wait_after(3600 * SECOND, 3), 3600 * SECOND);
    }

    #[test]
    fn a_rate_is_by_the_second() {
        let start = Instant::now();
        assert_eq!(rate_of((start, 10), (start + 4 * SECOND, 30)), 5.0);
        assert_eq!(rate_of((start, 10), (start, 30)), 0.0);
    }
}
