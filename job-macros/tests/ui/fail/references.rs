#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn send(to: &str, parts: &[u8], other: &Address, all: Vec<&'static str>) -> Result<(), JobError> {
    Ok(())
}

#[job]
async fn injected(mailer: &Data<String>, cx: &JobContext) -> Result<(), JobError> {
    Ok(())
}

struct Address;

fn main() {}
