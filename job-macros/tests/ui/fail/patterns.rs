#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn send((to, from): (String, String), _: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
