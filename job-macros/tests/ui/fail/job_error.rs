#![allow(unused)]
use job_core::JobError;

#[derive(Debug, thiserror::Error, JobError)]
#[error("never mind")]
#[permanent]
enum OnTheEnum {
    One,
}

#[derive(Debug, thiserror::Error, JobError)]
#[error("never mind")]
enum Marks {
    #[retry]
    #[permanent]
    Two,
    #[retry_after]
    NoTime,
    #[retry_after("30")]
    NoUnit,
    #[retry_after(30)]
    NoText,
    #[snooze(wait)]
    NoField { delay: std::time::Duration },
    #[permanent("now")]
    TooMuch,
    #[transparent]
    NothingInside,
    OnAField(#[discard] u8),
}

#[derive(Debug, thiserror::Error, JobError)]
#[error("never mind")]
struct Generic<T>(T);

#[derive(Debug, thiserror::Error, JobError)]
#[error("never mind")]
#[job_error(path = job_core, crate = "job_core")]
struct Options;

#[derive(Debug, thiserror::Error, JobError)]
#[error("never mind")]
#[job_error(crate = "job_core")]
struct AsText;

fn main() {}
