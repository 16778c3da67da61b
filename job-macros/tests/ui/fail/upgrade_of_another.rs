#![allow(unused)]
use job_core::{JobError, job};

#[job(name = "send", version = 1)]
struct SendV1 {
    to: String,
}

fn from_v1(old: SendV1) -> Result<String, JobError> {
    Ok(old.to)
}

#[job(version = 2, upgrade = from_v1)]
async fn send(to: String, lang: String) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
