#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(timeout = 30)]
async fn a(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(timeout = 30s, expires_in = std::time::Duration::from_secs(1))]
async fn b(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(timeout = "30", expires_in = "0s")]
async fn c(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(timeout = "30 sec", expires_in = "2 weeks")]
async fn d(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(timeout = "1.5h", expires_in = "9999d")]
async fn e(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
