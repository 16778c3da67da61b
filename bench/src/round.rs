//! Contenders in turn, round after round.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::figure::{Figure, LeftOut, Unit};

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
/// One that fails is left out from then on: what it has measured before stays, and so do the others.
pub fn in_turn(
    part: &'static str,
    what: &str,
    effort: Effort,
    entries: Vec<Entry<'_>>,
    left_out: &mut LeftOut,
) -> Vec<Figure> {
    let mut entries: Vec<_> = entries.into_iter().enumerate().collect();
    let mut figures: BTreeMap<(usize, usize), Figure> = BTreeMap::new();
    let mut order: Vec<&'static str> = Vec::new();
    let (rounds, began) = (effort.warm_up + effort.rounds, Instant::now());
    for round in 0..rounds {
        progress(&format!("{part}: {what}, round {} of {rounds}", round + 1));
        entries.retain_mut(|(place, entry)| {
            let measured = (entry.run)();
            let Some(samples) = left_out.unless(&entry.name(part, what, round + 1), measured)
            else {
                return false;
            };
            if round < effort.warm_up {
                return true;
            }
            for sample in samples {
                let measure = order.iter().position(|it| *it == sample.measure);
                let measure = measure.unwrap_or_else(|| {
                    order.push(sample.measure);
                    order.len() - 1
                });
                let figure = figures.entry((measure, *place)).or_insert_with(|| Figure {
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
            true
        });
    }
    progress(&format!("{part}: {what} took {:.0} s", began.elapsed().as_secs_f64()));
    figures.into_values().collect()
}

impl Entry<'_> {
    /// As what is left out is called.
    fn name(&self, part: &str, what: &str, round: usize) -> String {
        let Self { contender, concurrency, .. } = self;
        let at_a_time = concurrency.map(|it| format!(", {it} at a time")).unwrap_or_default();
        format!("{part}, {what}: {contender}{at_a_time}, from round {round} on")
    }
}

/// Says on stderr what is being done.
#[allow(clippy::print_stderr, reason = "it is for whoever waits")]
pub fn progress(what: &str) {
    eprintln!("  {what}");
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn who_fails_takes_nobody_along() {
        let sample = Sample { measure: "drain", unit: Unit::Count, value: 1.0, cpu: None };
        let entry = |contender: &str, fails_in: usize| {
            let (sample, mut round) = (sample.clone(), 0);
            Entry {
                contender: contender.to_owned(),
                concurrency: Some(16),
                run: Box::new(move || {
                    round += 1;
                    if round == fails_in {
                        bail!("no answer");
                    }
                    Ok(vec![sample.clone()])
                }),
            }
        };
        let mut left_out = LeftOut::default();
        let entries = vec![entry("a", 1), entry("b", 3), entry("c", 0)];
        let effort = Effort { rounds: 3, warm_up: 1, quick: false };
        let figures = in_turn("memory", "throughput", effort, entries, &mut left_out);
        let samples = figures.iter().map(|it| (it.contender.as_str(), it.samples.len()));
        assert_eq!(samples.collect::<Vec<_>>(), [("b", 1), ("c", 3)]);
        assert_eq!(
            left_out.0,
            [
                "memory, throughput: a, 16 at a time, from round 1 on: no answer",
                "memory, throughput: b, 16 at a time, from round 3 on: no answer"
            ]
        );
    }
}
