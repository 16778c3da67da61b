#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

// The error is shown where it is, and it is the only one.
#[job]
async fn send(user_id: u64) -> Result<(), JobError> {
    let text: String = user_id;
    Ok(())
}

fn main() {}
