#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
struct SendWelcome {
    user_id: u64,
}

fn main() {}
