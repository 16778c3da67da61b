#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn number(user_id: u64) -> Result<u64, JobError> {
    Ok(user_id)
}

fn main() {}
