#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(queue = "mail", max_attempts = 3, queue = "news")]
async fn send(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
