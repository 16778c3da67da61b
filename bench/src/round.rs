//! Contenders in turn, round after round.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::figure::{Figure, Unit};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many rounds count.
    pub rounds: usize,
    /// How many come before, and do not.
    pub warm_up: usize,
    /// Tiny counts, to see that it runs.
    pub quick: bool,
}

impl Effort {
    /// `count`, or next to nothing if it is only to be seen that it runs.
    pub fn of(self, count: u64) -> u64 {
        if self.quick { count.min(32) } else { count }
    }
}

/// One thing that was measured in one run of one contender.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What was measured.
    pub measure: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub value: f64,
    /// The processor's microseconds a job.
    pub cpu: Option<f64>,
}

impl Sample {
    /// So many jobs in that time.
    pub fn rate(measure: &'static str, jobs: u64, spent: Spent) -> Self {
        Self {
            measure,
            unit: Unit::JobsPerSecond,
            value: jobs as f64 / spent.wall.as_secs_f64(),
            cpu: Some(spent.cpu.as_secs_f64() * 1e6 / jobs as f64),
        }
    }
}

/// Time that passed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// On the wall.
    pub wall: Duration,
    /// On all processors, by this process.
    pub cpu: Duration,
}

impl std::ops::Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// Measures the time from here on.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    began: Instant,
    cpu: Duration,
}

impl Watch {
    /// Begins now.
    pub fn start() -> Self {
        Self { began: Instant::now(), cpu: cpu_time() }
    }

    /// What was spent up to now.
    pub fn spent(self) -> Spent {
        self.spent_at(Instant::now())
    }

    /// What was spent, of the wall's time up to `end`.
    pub fn spent_at(self, end: Instant) -> Spent {
        let wall = end.saturating_duration_since(self.began);
        Spent { wall, cpu: cpu_time().saturating_sub(self.cpu) }
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// One run: who, at which concurrency, and how it is done.
#[allow(missing_debug_implementations, reason = "how it is done does not show")]
pub struct Entry<'a> {
    /// What it is called in tables.
    pub contender: String,
    /// How many jobs run at a time; `None` where that means nothing.
    pub concurrency: Option<usize>,
    /// Runs it once.
    pub run: Box<dyn FnMut() -> anyhow::Result<Vec<Sample>> + 'a>,
}

/// Lets all entries run in turn, as often as there are rounds, and puts their samples together.
///
/// # Errors
/// The first of a run.
pub fn in_turn(
    part: &'static str,
    what: &str,
    effort: Effort,
    mut entries: Vec<Entry<'_>>,
) -> anyhow::Result<Vec<Figure>> {
    let mut figures: BTreeMap<(usize, usize), Figure> = BTreeMap::new();
    let mut order: Vec<&'static str> = Vec::new();
    for round in 0..effort.warm_up + effort.rounds {
        progress(&format!(
            "{part}: {what}, round {} of {}",
            round + 1,
            effort.warm_up + effort.rounds
        ));
        for (place, entry) in entries.iter_mut().enumerate() {
            let samples = (entry.run)()?;
            if round < effort.warm_up {
                continue;
            }
            for sample in samples {
                let measure = order.iter().position(|it| *it == sample.measure);
                let measure = measure.unwrap_or_else(|| {
                    order.push(sample.measure);
                    order.len() - 1
                });
                let figure = figures.entry((measure, place)).or_insert_with(|| Figure {
                    part: part.to_owned(),
                    measure: sample.measure.to_owned(),
                    contender: entry.contender.clone(),
                    concurrency: entry.concurrency,
                    unit: sample.unit,
                    samples: Vec::new(),
                    cpu: Vec::new(),
                });
                figure.samples.push(sample.value);
                figure.cpu.extend(sample.cpu);
            }
        }
    }
    Ok(figures.into_values().collect())
}

/// Says on stderr what is being done.
#[allow(clippy::print_stderr, reason = "it is for whoever waits")]
pub fn progress(what: &str) {
    eprintln!("  {what}");
}
