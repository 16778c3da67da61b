#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job("mail")]
async fn bare(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(queue, timeout("30s"), max_attempts =, urgent, backoff = exponential("2s", "10m"))]
async fn values(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(queue = "mail" timeout = "30s")]
async fn commas(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
