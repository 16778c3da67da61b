#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(queue = "My Queue")]
async fn a(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(queue = "mail-poison")]
async fn b(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(queue = "a-queue-with-so-long-a-name-that-its-poison-queue-has-none")]
async fn c(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(queue = mail, name = "")]
async fn d(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
