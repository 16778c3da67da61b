//! Why a job is in a poison queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a job is in the poison queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoisonReason {
    /// It failed as often as it was allowed to.
    AttemptsExhausted,
    /// It took its worker with it as often as it was allowed to.
    Crashed,
    /// Its handler said that it can never succeed.
    Permanent,
    /// The message is not a job at all.
    Undecodable,
    /// No worker knew a job of that name for as long as that was given time.
    UnknownJob,
    /// No worker knew that format for as long as that was given time.
    NewerFormat,
    /// No worker knew args that new for as long as that was given time.
    NewerArgs,
    /// The args did not fit the job's type for as long as that was given time.
    BadArgs,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for PoisonReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AttemptsExhausted => "attempts exhausted",
            Self::Crashed => "crashed its worker",
            Self::Permanent => "permanent error",
            Self::Undecodable => "undecodable message",
            Self::UnknownJob => "unknown job",
            Self::NewerFormat => "newer format",
            Self::NewerArgs => "newer args",
            Self::BadArgs => "args do not fit",
            Self::Other => "other",
        })
    }
}
