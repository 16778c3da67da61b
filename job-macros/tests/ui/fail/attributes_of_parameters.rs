#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn send(#[cfg(unix)] user_id: u64, #[serde(default)] cx: JobContext) -> Result<(), JobError> {
    Ok(())
}

#[job]
#[serde(deny_unknown_fields)]
async fn ping() -> Result<(), JobError> {
    Ok(())
}

fn main() {}
