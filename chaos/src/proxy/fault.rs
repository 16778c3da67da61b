//! What can happen to a request on its way.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It arrives late, maybe after its sender has given up.
    Delay(Duration),
    /// Its answer does.
    DelayAnswer(Duration),
    /// 503 with Retry-After, nothing done.
    Busy,
    /// The connection is closed before anything is done.
    DropRequest,
    /// It is carried out, and the connection closed.
    DropAnswer,
    /// The connection is reset, before anything is done or after it.
    Reset { done: bool },
    /// It is carried out, and half of the answer goes back.
    Truncate,
    /// Neither done nor answered.
    BlackHole,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::DelayAnswer(_) => "delay answer",
            Self::Busy => "busy",
            Self::DropRequest => "drop request",
            Self::DropAnswer => "drop answer",
            Self::Reset { done: false } => "reset before",
            Self::Reset { done: true } => "reset after",
            Self::Truncate => "truncate",
            Self::BlackHole => "black hole",
        }
    }

    /// Whether the service gets to see the request.
    pub(crate) fn reaches(self) -> bool {
        !matches!(
            self,
            Self::Busy | Self::DropRequest | Self::Reset { done: false } | Self::BlackHole
        )
    }

    /// Whether a whole answer goes back.
    pub(crate) fn answers(self) -> bool {
        matches!(self, Self::Delay(_) | Self::DelayAnswer(_) | Self::Busy)
    }

    /// How late it makes a request or its answer.
    pub(crate) fn delay(self) -> Option<Duration> {
        match self {
            Self::Delay(pause) | Self::DelayAnswer(pause) => Some(pause),
            _ => None,
        }
    }

    fn random(rng: &mut fastrand::Rng) -> Self {
        let pause = Duration::from_millis(rng.u64(100..3_000));
        match rng.u32(0..9) {
            0 => Self::Delay(pause),
            1 => Self::DelayAnswer(pause),
            2 => Self::Busy,
            3 => Self::DropRequest,
            4 | 5 => Self::DropAnswer,
            6 => Self::Reset { done: rng.bool() },
            7 => Self::Truncate,
            _ => Self::BlackHole,
        }
    }
}

/// Which requests are struck: so many of a hundred, by chance.
#[derive(Debug)]
pub(crate) struct Faults {
    rng: Mutex<fastrand::Rng>,
    percent: AtomicU32,
}

impl Faults {
    pub(crate) fn new(seed: u64, percent: u32) -> Self {
        Self { rng: Mutex::new(fastrand::Rng::with_seed(seed)), percent: AtomicU32::new(percent) }
    }

    pub(crate) fn set(&self, percent: u32) {
        self.percent.store(percent, Relaxed);
    }

    pub(crate) fn next(&self) -> Option<Fault> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        (rng.u32(0..100) < self.percent.load(Relaxed)).then(|| Fault::random(&mut rng))
    }
}
