#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn count_users(team: String) -> Result<u64, JobError> {
    Ok(7)
}

fn main() {}
