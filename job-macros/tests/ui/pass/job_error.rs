//! `#[derive(JobError)]` in all its forms.
use std::time::Duration;

use job_core::prelude::*;

#[derive(Debug, thiserror::Error, JobError)]
enum All {
    #[error("0")]
    Unmarked,
    #[error("1")]
    #[retry]
    Retry(#[from] std::io::Error),
    #[error("2")]
    #[retry_after("30s")]
    Fixed,
    #[error("3")]
    #[retry_after(wait)]
    Field { wait: Duration, other: u8 },
    #[error("4")]
    #[retry_after(1)]
    Optional(u8, Option<Duration>),
    #[error("5")]
    #[permanent]
    Permanent { why: String },
    #[error("6")]
    #[discard]
    Discard,
    #[error("7")]
    #[snooze("1m")]
    Snooze,
    #[error("8")]
    #[snooze(0)]
    SnoozeFor(Duration),
    #[error(transparent)]
    #[transparent]
    Inner(Own),
}

#[derive(Debug, JobError)]
#[permanent]
struct Own;

impl std::fmt::Display for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("own")
    }
}

impl std::error::Error for Own {}

#[derive(Debug, thiserror::Error, JobError)]
enum Never {}

#[job]
async fn all_kinds(user_id: u64) -> Result<(), All> {
    let _ = user_id;
    Err(All::Unmarked)
}

#[job]
async fn by_question_mark(user_id: u64) -> Result<(), JobError> {
    all_kinds(user_id).await?;
    Err(Own)?
}

#[job]
async fn never_fails() -> Result<(), Never> {
    Ok(())
}

fn main() {}
