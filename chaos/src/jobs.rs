//! The jobs: a few of each kind of trouble, and how each has to end.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use job_core::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::history::{End, Event, History, Reason};

pub(crate) const QUEUE: &str = "chaos";

/// In the args of every job, so it must not be in any log.
pub(crate) const CANARY: &str = "canary-5f1b9c0e";

/// How long an `ok` job takes at most.
const SHORT: u64 = 150;

macro_rules! kinds {
    ($($name:ident $share:literal $text:literal,)+) => {
        /// What a job does, and how many of a thousand do so.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Kind { $(#[doc = $text] $name,)+ }

        const SHARES: &[(Kind, u64)] = &[$((Kind::$name, $share),)+];
    };
}

kinds! {
    Ok 605 "Succeeds soon.",
    Slow 30 "Takes longer than a lease.",
    Flaky 120 "Fails up to three times, then succeeds.",
    Hopeless 50 "Always fails, three times at most.",
    Permanent 40 "Says that it can never succeed.",
    Discard 40 "Drops itself.",
    Snooze 40 "Puts itself off once.",
    Block 10 "Blocks its thread for longer than a lease.",
    Abort 4 "Takes its process with it.",
    Overflow 2 "Overflows its stack.",
    Memory 2 "Asks for more memory than there is.",
    Delayed 28 "Is not due at once.",
    Newcomer 30 "Is known to one role of workers only.",
}

/// How a job ends if nothing intervenes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Completed,
    Discarded,
    Poison(Reason),
}

impl Kind {
    pub(crate) fn expected(self) -> Expected {
        match self {
            Self::Ok | Self::Slow | Self::Flaky | Self::Snooze | Self::Block => Expected::Completed,
            Self::Delayed | Self::Newcomer => Expected::Completed,
            Self::Discard => Expected::Discarded,
            Self::Hopeless => Expected::Poison(Reason::AttemptsExhausted),
            Self::Permanent => Expected::Poison(Reason::Permanent),
            Self::Abort | Self::Overflow | Self::Memory => Expected::Poison(Reason::Crashed),
        }
    }

    pub(crate) fn max_attempts(self) -> u32 {
        if self == Self::Hopeless { 3 } else { 20 }
    }

    /// Whether it takes its process with it.
    pub(crate) fn is_deadly(self) -> bool {
        matches!(self, Self::Abort | Self::Overflow | Self::Memory)
    }

    /// How long after its enqueue it is due.
    pub(crate) fn delay(self) -> Option<Duration> {
        (self == Self::Delayed).then_some(Duration::from_secs(3))
    }
}

/// The kinds of a run: one of each at least, the others by chance.
pub(crate) fn mix(jobs: u64, harmless: bool, rng: &mut fastrand::Rng) -> Vec<Kind> {
    let shares: Vec<_> =
        SHARES.iter().filter(|(kind, _)| !harmless || !kind.is_deadly()).copied().collect();
    let all: u64 = shares.iter().map(|(_, share)| share).sum();
    let mut kinds: Vec<_> = shares.iter().map(|(kind, _)| *kind).collect();
    kinds.truncate(jobs as usize);
    while (kinds.len() as u64) < jobs {
        let mut at = rng.u64(0..all);
        let found = shares.iter().find(|(_, share)| {
            let found = at < *share;
            at = at.saturating_sub(*share);
            found
        });
        kinds.extend(found.map(|(kind, _)| *kind));
    }
    rng.shuffle(&mut kinds);
    kinds
}

/// Args that show whether they arrived byte for byte.
pub(crate) fn payload(n: u64) -> String {
    format!("{CANARY} \u{1}ä\"\\</>&{}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) history: History,
    /// For what a job has to know of its earlier attempts.
    pub(crate) notes: PathBuf,
}

#[job(name = "ordeal", queue = "chaos", max_attempts = 20, backoff = exponential("1s", "3s"), timeout = "30s")]
pub(crate) async fn ordeal(
    n: u64,
    kind: Kind,
    payload: String,
    stage: Data<Stage>,
    cx: JobContext,
) -> Result<(), JobError> {
    perform(n, kind, &payload, &stage, &cx).await
}

/// Known to one of the two roles only.
#[job(name = "newcomer", queue = "chaos", max_attempts = 20, backoff = exponential("1s", "3s"), timeout = "30s")]
pub(crate) async fn newcomer(
    n: u64,
    payload: String,
    stage: Data<Stage>,
    cx: JobContext,
) -> Result<(), JobError> {
    perform(n, Kind::Newcomer, &payload, &stage, &cx).await
}

async fn perform(
    n: u64,
    kind: Kind,
    payload: &str,
    stage: &Stage,
    cx: &JobContext,
) -> Result<(), JobError> {
    let run = Run::start(stage, cx, n, kind, payload == self::payload(n));
    let lease_and_more = Duration::from_secs(7);
    match kind {
        Kind::Ok | Kind::Delayed | Kind::Newcomer => {
            sleep(Duration::from_millis(fastrand::u64(1..=SHORT))).await;
        }
        Kind::Slow => sleep(lease_and_more).await,
        Kind::Block => std::thread::sleep(lease_and_more),
        Kind::Flaky if u64::from(cx.attempt()) <= 1 + n % 3 => {
            run.end(End::Failed);
            return Err(JobError::retry("it did not work"));
        }
        Kind::Flaky => {}
        Kind::Hopeless => {
            run.end(End::Failed);
            return Err(JobError::retry("it never works"));
        }
        Kind::Permanent => {
            run.end(End::Permanent);
            return Err(JobError::permanent("it can never work"));
        }
        Kind::Discard => {
            run.end(End::Discarded);
            return Err(JobError::discard("nobody needs it"));
        }
        Kind::Snooze => {
            let note = stage.notes.join(format!("snoozed-{}", cx.id()));
            if OpenOptions::new().write(true).create_new(true).open(note).is_ok() {
                run.end(End::Snoozed);
                return Err(JobError::snooze(Duration::from_secs(2)));
            }
        }
        Kind::Abort => {
            sleep(Duration::from_millis(50)).await;
            std::process::abort();
        }
        Kind::Overflow => {
            std::hint::black_box(overflow(n));
        }
        Kind::Memory => devour(),
    }
    run.end(End::Done);
    Ok(())
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    overflow(page[(n % 512) as usize] + 1) + page[0]
}

/// Where memory is not limited it ends as if it were.
fn devour() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    for _ in 0..256 {
        eaten.push(Vec::with_capacity(64 << 20));
        std::hint::black_box(&mut eaten);
    }
    std::process::abort();
}

/// One run of a handler, in the history from its start to its end.
struct Run<'a> {
    stage: &'a Stage,
    job: String,
    run: u64,
    ended: bool,
}

impl<'a> Run<'a> {
    fn start(stage: &'a Stage, cx: &JobContext, n: u64, kind: Kind, intact: bool) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let (job, run) = (cx.id().to_string(), RUNS.fetch_add(1, Relaxed));
        let (attempt, of) = (cx.attempt(), job.clone());
        stage.history.write(Event::Start { job: of, attempt, run, n, kind, intact });
        Self { stage, job, run, ended: false }
    }

    fn end(mut self, end: End) {
        self.ended = true;
        let (job, run) = (self.job.clone(), self.run);
        self.stage.history.write(Event::Finish { job, run, end });
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let (job, run) = (self.job.clone(), self.run);
            self.stage.history.write(Event::Cancelled { job, run });
        }
    }
}
