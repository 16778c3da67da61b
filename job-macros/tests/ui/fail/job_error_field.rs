#![allow(unused)]
use job_core::JobError;

#[derive(Debug, thiserror::Error, JobError)]
#[error("busy")]
#[retry_after(seconds)]
struct Busy {
    seconds: u64,
}

fn main() {}
