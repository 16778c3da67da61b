//! Backlog, age and poison of queues, asked of the backend from time to time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{sleep, timeout};

use super::facade::gauge;
use super::{events, names};
use crate::backend::{Backend, BackendError, Capabilities, ErrorKind, Peeked, QueueStats};
use crate::worker::Served;

/// The longest wait after failures, unless it is longer without.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How often it is shown what this worker holds, which costs nothing.
const SHOWN: Duration = Duration::from_secs(1);

/// What one queue looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) at: Instant,
    /// All messages.
    pub(crate) depth: u64,
    /// Those that are due.
    pub(crate) backlog: u64,
    /// By whom they were counted.
    pub(crate) counted: Counted,
    /// Those that this worker held then.
    pub(crate) held: u64,
    /// How long ago the oldest was sent that the backend shows.
    pub(crate) oldest_age: Option<Duration>,
    /// `None` if the poison queue would not say.
    pub(crate) poison: Option<u64>,
    /// Messages a second that this worker was done with, since the time before.
    pub(crate) rate: f64,
}

/// How it is known how many messages are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The backend has counted all.
    Exactly,
    /// The backend says about how many.
    Roughly,
    /// A peek shows them all.
    Shown,
    /// More are due than a peek shows: it is all messages but those that this worker holds.
    AllButHeld,
}

/// Asks for the figures of a queue until it is dropped: each `every`, and half as often while they
/// cannot be had.
pub(crate) async fn sample(backend: Arc<dyn Backend>, served: Arc<Served>, every: Duration) {
    let Some(health) = served.meters.health() else { return };
    let mut before = (Instant::now(), 0);
    let (mut failures, mut poison_failures) = (0_u32, 0_u32);
    let mut first = true;
    loop {
        let now = (Instant::now(), served.meters.passed());
        let rate = rate_of(before, now);
        let asked = showing(&served, timeout(LIMIT, ask(&*backend, &served, rate))).await;
        let problem = match asked.unwrap_or_else(|_| Err(ErrorKind::Timeout.into())) {
            Ok((figures, problem)) => {
                (before, failures) = (now, 0);
                poison_failures = if problem.is_some() { poison_failures + 1 } else { 0 };
                health.sampled(figures, problem.as_ref().map(ToString::to_string));
                show(&served, &figures);
                problem.map(|error| (&served.plan.poison, error, poison_failures))
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                health.not_sampled(error.to_string());
                Some((&served.plan.name, error, failures))
            }
        };
        let mut wait = wait_after(every, failures);
        if std::mem::take(&mut first) {
            // Workers that are started together need not ask together for ever.
            wait = sooner(wait, fastrand::f64());
        }
        if let Some((queue, error, times)) = problem {
            match times {
                1 => events::sample_failed(queue, &error, wait),
                _ => events::sample_failed_again(queue, &error, wait),
            }
        }
        showing(&served, sleep(wait)).await;
    }
}

/// Shows what this worker holds, again and again until `work` is done.
async fn showing<T>(served: &Served, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        show_held(served);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep(SHOWN) => {}
        }
    }
}

/// How long until the next time. After one failure it is no longer, or it would take but that one
/// for the figures to be too old to scale by.
fn wait_after(every: Duration, failures: u32) -> Duration {
    if failures > 1 { every.saturating_mul(2).min(LONGEST_WAIT.max(every)) } else { every }
}

/// From half of it to all of it, by a chance from 0 to 1.
fn sooner(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(0.5 + 0.5 * chance)
}

fn rate_of(before: (Instant, u64), now: (Instant, u64)) -> f64 {
    let seconds = now.0.duration_since(before.0).as_secs_f64();
    if seconds > 0.0 { (now.1 - before.1) as f64 / seconds } else { 0.0 }
}

/// The figures, and why there are none of the poison queue.
async fn ask(
    backend: &dyn Backend,
    served: &Served,
    rate: f64,
) -> Result<(Figures, Option<BackendError>), BackendError> {
    let queue = &served.plan.name;
    let stats = backend.stats(queue).await?;
    let capabilities = backend.capabilities();
    let peeked = if stats.visible.is_none() || stats.oldest.is_none() {
        let most = if stats.total == 0 { 0 } else { capabilities.max_peek };
        backend.peek(queue, most).await?
    } else {
        Vec::new()
    };
    let held = served.leases.len() as u64;
    let (backlog, counted) = backlog_of(&stats, &peeked, capabilities, held);
    let oldest = stats.oldest.or_else(|| peeked.iter().map(|message| message.inserted_at).min());
    let at = Instant::now();
    let (poison, problem) = match backend.stats(&served.plan.poison).await {
        Ok(stats) => (Some(stats.total), None),
        // It is made when the worker starts, or by whoever may.
        Err(error) if error.kind() == ErrorKind::QueueNotFound => (Some(0), None),
        Err(error) => (None, Some(error)),
    };
    let oldest_age = oldest.map(|oldest| age(oldest, backend.now()));
    let depth = stats.total;
    Ok((Figures { at, depth, backlog, counted, held, oldest_age, poison, rate }, problem))
}

fn age(oldest: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(oldest).unwrap_or_default()
}

/// How many messages are due, and how that is known.
fn backlog_of(
    stats: &QueueStats,
    peeked: &[Peeked],
    capabilities: &Capabilities,
    held: u64,
) -> (u64, Counted) {
    let shown = peeked.len() as u64;
    match stats.visible {
        Some(visible) if capabilities.exact_stats => (visible, Counted::Exactly),
        Some(visible) => (visible, Counted::Roughly),
        None if peeked.len() < capabilities.max_peek => (shown, Counted::Shown),
        None => (stats.total.saturating_sub(held).max(shown), Counted::AllButHeld),
    }
}

/// Sets the gauges. What is not known stays as it was.
fn show(served: &Served, figures: &Figures) {
    let labels = [served.plan.name.as_str()];
    gauge(&names::BACKLOG, &labels).set(figures.backlog as f64);
    gauge(&names::QUEUE_DEPTH, &labels).set(figures.depth as f64);
    if let Some(poison) = figures.poison {
        gauge(&names::POISON_DEPTH, &labels).set(poison as f64);
    }
    let age = figures.oldest_age.unwrap_or_default();
    gauge(&names::OLDEST_AGE, &labels).set(age.as_secs_f64());
}

/// Sets those that need no backend; once the worker has ended, to zero.
pub(crate) fn show_held(served: &Served) {
    served.meters.show_held(served.leases.len());
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
            (9, Some(4), 0, 5, (4, Counted::Roughly)),
            (0, None, 0, 0, (0, Counted::Shown)),
            // Most are hidden: running, or due later.
            (1000, None, 0, 10, (0, Counted::Shown)),
            (1000, None, 31, 10, (31, Counted::Shown)),
            (1000, None, 32, 10, (990, Counted::AllButHeld)),
            // The count is an estimate; what was seen is there.
            (3, None, 32, 10, (32, Counted::AllButHeld)),
        ] {
            let backlog = backlog_of(&stats(total, visible), &peeked(shown), &capabilities, held);
            assert_eq!(backlog, expected, "{total} {visible:?} {shown}");
        }
        capabilities.exact_stats = true;
        assert_eq!(backlog_of(&stats(9, Some(4)), &[], &capabilities, 0), (4, Counted::Exactly));
        capabilities.max_peek = 0;
        let hidden = backlog_of(&stats(9, None), &[], &capabilities, 2);
        assert_eq!(hidden, (7, Counted::AllButHeld));
    }

    #[test]
    fn failures_make_it_ask_less_often_but_not_much() {
        for (failures, seconds) in [(0, 30), (1, 30), (2, 60), (u32::MAX, 60)] {
            assert_eq!(wait_after(30 * SECOND, failures), seconds * SECOND, "{failures}");
        }
        assert_eq!(wait_after(3600 * SECOND, 3), 3600 * SECOND);
    }

    #[test]
    fn the_second_time_comes_sooner_by_chance() {
        for (chance, seconds) in [(0.0, 15), (0.5, 22), (1.0, 30)] {
            assert_eq!(sooner(30 * SECOND, chance).as_secs(), seconds, "{chance}");
        }
    }

    #[test]
    fn a_rate_is_by_the_second() {
        let start = Instant::now();
        assert_eq!(rate_of((start, 10), (start + 4 * SECOND, 30)), 5.0);
        assert_eq!(rate_of((start, 10), (start, 30)), 0.0);
    }
}
