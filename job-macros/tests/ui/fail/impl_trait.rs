#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn send(to: impl Into<String>) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
