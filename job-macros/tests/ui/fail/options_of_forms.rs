#![allow(unused)]
use job_core::{Job, JobError, handler, job};
use serde::{Deserialize, Serialize};

#[job(args = Other, version = 0)]
struct A {
    user_id: u64,
}

#[derive(Serialize, Deserialize, Job)]
#[job_options(args = Other, alias = "b")]
struct B {
    user_id: u64,
}

#[handler(queue = "mail", args = Other, retries = 3)]
async fn c(job: A) -> Result<(), JobError> {
    Ok(())
}

#[job(version = "2", upgrade = "from_v1", alias = [], args = "D")]
async fn d(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job(upgrade = from_v1, alias = "old", alias = ["older", "old"])]
async fn e(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[derive(Serialize, Deserialize, Job)]
#[job_options]
struct F;

fn main() {}
