//! What a supervisor counts of its processes: rare enough to look for the recorder each time.

use super::facade::{counter, describe, is_recorded};
use super::names::{self, Metric};

/// Tells the recorder what is counted.
pub(crate) fn announce() {
    if is_recorded() {
        describe();
    }
}

pub(crate) fn started(process: &str) {
    count(&names::PROCESSES_STARTED, &[process]);
}

/// It ended without being asked to.
pub(crate) fn died(process: &str) {
    count(&names::PROCESSES_DIED, &[process]);
}

/// It is replaced, since it has too much of that: `jobs` or `memory`.
pub(crate) fn recycled(process: &str, reason: &str) {
    count(&names::PROCESSES_RECYCLED, &[process, reason]);
}

/// It was killed, since it was `silent` or `late`.
pub(crate) fn killed(process: &str, reason: &str) {
    count(&names::PROCESSES_KILLED, &[process, reason]);
}

fn count(metric: &Metric, labels: &[&str]) {
    if is_recorded() {
        counter(metric, labels).increment(1);
    }
}
