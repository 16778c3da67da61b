//! Whether receiving from a queue works, as its slots have told.

use std::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(feature = "http")]
use std::time::Duration;
use std::time::Instant;

use super::figures::Figures;

/// How long after a settlement was not allowed a queue does not count as ready.
#[cfg(feature = "http")]
const DENIED: Duration = Duration::from_secs(30);

/// How one queue of a worker is.
#[derive(Debug, Default)]
pub(crate) struct QueueHealth {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    received: bool,
    /// Since when, and how often in a row it failed, and what it said last.
    failing: Option<(Instant, u32, String)>,
    denied_at: Option<Instant>,
    /// Receives on their way, and since when there is one.
    asking: u32,
    asked_at: Option<Instant>,
    figures: Option<Figures>,
}

/// A receive on its way.
pub(crate) struct Asking<'a>(&'a QueueHealth);

impl QueueHealth {
    pub(super) fn received(&self) {
        let mut state = self.state();
        state.received = true;
        state.failing = None;
    }

    pub(super) fn failed(&self, problem: String) {
        let mut state = self.state();
        let (since, times) = match &state.failing {
            Some((since, times, _)) => (*since, times.saturating_add(1)),
            None => (Instant::now(), 1),
        };
        state.failing = Some((since, times, problem));
    }

    pub(super) fn denied(&self) {
        self.state().denied_at = Some(Instant::now());
    }

    pub(super) fn asks(&self) -> Asking<'_> {
        let mut state = self.state();
        state.asking += 1;
        // With several on their way it is the oldest that counts, or one that came after it.
        state.asked_at.get_or_insert_with(Instant::now);
        Asking(self)
    }

    /// Why jobs of this queue do not get received; `None` if they do.
    #[cfg(feature = "http")]
    pub(crate) fn problem(&self) -> Option<String> {
        let state = self.state();
        if let Some((since, times, problem)) = &state.failing {
            let seconds = since.elapsed().as_secs();
            return Some(format!(
                "receiving has failed for {seconds} s ({times} in a row), last: {problem}"
            ));
        }
        if state.denied_at.is_some_and(|at| at.elapsed() < DENIED) {
            return Some("settling is not allowed with these credentials".to_owned());
        }
        (!state.received).then(|| "nothing was received yet".to_owned())
    }

    /// How long a receive has been on its way.
    #[cfg(feature = "http")]
    pub(crate) fn asking_for(&self) -> Duration {
        self.state().asked_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    pub(crate) fn sampled(&self, figures: Figures) {
        self.state().figures = Some(figures);
    }

    /// What was sampled last.
    #[cfg(feature = "http")]
    pub(crate) fn figures(&self) -> Option<Figures> {
        self.state().figures
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.asking -= 1;
        state.asked_at = (state.asking > 0).then(Instant::now);
    }
}
