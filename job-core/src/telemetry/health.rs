//! Whether receiving from a queue works, as its slots have told.

use std::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(feature = "http")]
use std::time::Duration;
use std::time::Instant;

use super::figures::Figures;

/// How long after a settlement was not allowed a queue does not count as ready.
#[cfg(feature = "http")]
const DENIED: Duration = Duration::from_secs(30);

/// From which time in a row on a queue that is throttled does not count as ready: it is asked to go
/// slower, which it does.
#[cfg(feature = "http")]
const THROTTLED: u32 = 5;

/// How one queue of a worker is.
#[derive(Debug, Default)]
pub(crate) struct QueueHealth {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failing: Option<Failing>,
    denied_at: Option<Instant>,
    /// Slots that wait for a permit, or for their turn by the rate limit.
    in_line: u32,
    figures: Option<Figures>,
    /// Why the poison queue is not among them.
    poison_unknown: Option<String>,
    /// Since when, and how often in a row they could not be had, and why.
    unknown: Option<(Instant, u32, String)>,
}

/// Receiving has failed since then, so often in a row.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "nobody asks"))]
struct Failing {
    since: Instant,
    times: u32,
    last: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Each time it was but throttled.
    Throttled,
    Failed,
    /// A layer fails.
    NotReady,
}

/// A permit is waited for, or the turn by the rate limit: both are had sooner or later, and it is
/// nobody's fault how late. A layer that does not become ready may be broken, so it is none of this.
pub(crate) struct InLine<'a>(&'a QueueHealth);

impl QueueHealth {
    pub(super) fn received(&self) {
        self.state().failing = None;
    }

    /// A receive failed, or was `throttled`.
    pub(super) fn failed(&self, problem: String, throttled: bool) {
        self.fails(problem, if throttled { Why::Throttled } else { Why::Failed });
    }

    pub(super) fn not_ready(&self, problem: String) {
        self.fails(problem, Why::NotReady);
    }

    fn fails(&self, last: String, why: Why) {
        let mut state = self.state();
        let before = state.failing.take();
        let (since, times, before) = match before {
            Some(Failing { since, times, why, .. }) => (since, times, Some(why)),
            None => (Instant::now(), 0, None),
        };
        let why = match before {
            Some(before) if why == Why::Throttled => before,
            _ => why,
        };
        state.failing = Some(Failing { since, times: times.saturating_add(1), last, why });
    }

    pub(super) fn denied(&self) {
        self.state().denied_at = Some(Instant::now());
    }

    pub(super) fn in_line(&self) -> InLine<'_> {
        self.state().in_line += 1;
        InLine(self)
    }

    /// Why jobs of this queue do not get received; `None` if they do, or nobody has tried. While a
    /// queue waits for a permit, nobody tries, whatever went wrong the last time.
    #[cfg(feature = "http")]
    pub(crate) fn problem(&self) -> Option<String> {
        let state = self.state();
        let counts = |failing: &&Failing| match failing.why {
            Why::Throttled => failing.times >= THROTTLED,
            Why::Failed | Why::NotReady => true,
        };
        let failing = state.failing.as_ref().filter(|_| state.in_line == 0).filter(counts);
        if let Some(Failing { since, times, last, .. }) = failing {
            let seconds = since.elapsed().as_secs();
            return Some(format!(
                "receiving has failed for {seconds} s ({times} in a row), last: {last}"
            ));
        }
        let denied = state.denied_at.is_some_and(|at| at.elapsed() < DENIED);
        denied.then(|| "settling is not allowed with these credentials".to_owned())
    }

    /// The figures, and why there are none of the poison queue.
    pub(crate) fn sampled(&self, figures: Figures, poison_unknown: Option<String>) {
        let mut state = self.state();
        state.figures = Some(figures);
        state.poison_unknown = poison_unknown;
        state.unknown = None;
    }

    /// The figures could not be had.
    pub(crate) fn not_sampled(&self, problem: String) {
        let mut state = self.state();
        let (since, times) = match &state.unknown {
            Some((since, times, _)) => (*since, times.saturating_add(1)),
            None => (Instant::now(), 1),
        };
        state.unknown = Some((since, times, problem));
    }

    /// What was sampled last.
    #[cfg(feature = "http")]
    pub(crate) fn figures(&self) -> Option<Figures> {
        self.state().figures
    }

    /// Why there are none of the poison queue among them.
    #[cfg(feature = "http")]
    pub(crate) fn poison_unknown(&self) -> Option<String> {
        self.state().poison_unknown.clone()
    }

    /// Why there are none newer, if it failed since.
    #[cfg(feature = "http")]
    pub(crate) fn unknown(&self) -> Option<String> {
        self.state().unknown.as_ref().map(|(since, times, problem)| {
            let seconds = since.elapsed().as_secs();
            format!(
                "asking for them has failed for {seconds} s ({times} in a row), last: {problem}"
            )
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.state().in_line -= 1;
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_tried_has_no_problem() {
        let health = QueueHealth::default();
        assert_eq!(health.problem(), None);
        let waiting = health.in_line();
        assert_eq!(health.problem(), None);
        drop(waiting);
        health.failed("away".to_owned(), false);
        assert!(health.problem().unwrap().ends_with("(1 in a row), last: away"));
        let waiting = health.in_line();
        assert_eq!(health.problem(), None, "nobody tries");
        drop(waiting);
        health.not_ready("a layer fails".to_owned());
        assert!(health.problem().unwrap().ends_with("last: a layer fails"));
        let waiting = health.in_line();
        assert_eq!(health.problem(), None, "nobody tries");
        drop(waiting);
        health.received();
        assert_eq!(health.problem(), None);
    }

    #[test]
    fn to_be_throttled_now_and_then_is_no_problem() {
        let health = QueueHealth::default();
        for _ in 1..THROTTLED {
            health.failed("busy".to_owned(), true);
            assert_eq!(health.problem(), None);
        }
        health.failed("busy".to_owned(), true);
        assert!(health.problem().unwrap().ends_with("(5 in a row), last: busy"));
        health.received();
        health.failed("away".to_owned(), false);
        health.failed("busy".to_owned(), true);
        assert!(health.problem().is_some(), "it was more than that before");
    }
}
