#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

fn wait(attempt: u64) -> u64 {
    attempt
}

#[job(backoff = wait)]
async fn send(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
