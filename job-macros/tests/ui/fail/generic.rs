#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn deliver<T: Send>(what: T) -> Result<(), JobError> {
    Ok(())
}

#[job]
async fn borrow<'a>(what: &'a str) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
