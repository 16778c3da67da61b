#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(max_attempts = 0)]
async fn a(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(max_attempts = -1)]
async fn b(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(max_attempts = "8")]
async fn c(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
