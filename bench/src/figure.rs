//! What was measured: samples of one thing, and all of a run.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::round::progress;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// More is better.
    JobsPerSecond,
    /// Less is better, as of all that follow.
    Microseconds,
    /// Of one operation.
    Nanoseconds,
    /// Of memory.
    Bytes,
    /// Of allocations, requests, instructions.
    Count,
}

impl Unit {
    /// Whether a larger figure is a better one.
    pub fn more_is_better(self) -> bool {
        self == Self::JobsPerSecond
    }

    /// As it stands in a heading.
    pub fn label(self) -> &'static str {
        match self {
            Self::JobsPerSecond => "jobs/s",
            Self::Microseconds => "µs",
            Self::Nanoseconds => "ns",
            Self::Bytes => "bytes",
            Self::Count => "count",
        }
    }
}

/// The samples of one contender in one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Which part of the program measured it.
    pub part: String,
    /// What was measured.
    pub measure: String,
    /// Whose it is.
    pub contender: String,
    /// How many jobs ran at a time; `None` where that means nothing.
    pub concurrency: Option<usize>,
    /// What it counts.
    pub unit: Unit,
    /// One for each round that went well; of some things there is but one.
    pub samples: Vec<f64>,
    /// The processor's microseconds a job, one for each sample, where they were measured.
    pub cpu: Vec<f64>,
}

impl Figure {
    /// The median of the samples.
    pub fn median(&self) -> f64 {
        median(&self.samples)
    }

    /// The least and the most of the samples.
    pub fn range(&self) -> (f64, f64) {
        let least = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    }

    /// The median of the processor's microseconds a job.
    pub fn median_cpu(&self) -> Option<f64> {
        (!self.cpu.is_empty()).then(|| median(&self.cpu))
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// All of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// What the program was told.
    pub arguments: Vec<String>,
    /// How many rounds there were. A table says so where a figure is of fewer.
    pub rounds: usize,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What was left out, and why.
    pub left_out: LeftOut,
}

/// What could not be measured, and why.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct LeftOut(pub Vec<String>);

impl LeftOut {
    /// What it takes to measure something; where that cannot be had, it is said, and left out.
    pub fn unless<T, E>(&mut self, what: &str, needed: Result<T, E>) -> Option<T>
    where
        anyhow::Error: From<E>,
    {
        needed
            .map_err(|error| {
                let why = format!("{what}: {:#}", anyhow::Error::from(error));
                progress(&format!("left out: {why}"));
                self.0.push(why);
            })
            .ok()
    }
}

impl Report {
    /// The parts and measures in the order in which they were measured.
    pub fn measures(&self) -> Vec<(&str, &str)> {
        let mut measures: Vec<(&str, &str)> = Vec::new();
        for figure in &self.figures {
            let measure = (figure.part.as_str(), figure.measure.as_str());
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
        measures
    }

    /// The figures of one measure.
    pub fn of(&self, part: &str, measure: &str) -> Vec<&Figure> {
        self.figures.iter().filter(|it| it.part == part && it.measure == measure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
