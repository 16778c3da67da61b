#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn number(user_id: u64) -> u64 {
    user_id
}

fn main() {}
