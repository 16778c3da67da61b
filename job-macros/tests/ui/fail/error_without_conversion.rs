#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

struct MyError;

#[job]
async fn send(user_id: u64) -> Result<(), MyError> {
    Ok(())
}

fn main() {}
