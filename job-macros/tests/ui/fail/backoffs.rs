#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(backoff = exponential)]
async fn a(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(backoff = exponential("2s"))]
async fn b(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(backoff = fixed("2s", "3s"))]
async fn c(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(backoff = exponential("10m", "2s"))]
async fn d(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(backoff = linear("5", "zero"))]
async fn e(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(backoff = quadratic("5s"))]
async fn f(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(backoff = "5s")]
async fn g(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
