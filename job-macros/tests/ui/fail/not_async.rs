#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
fn send_welcome(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
