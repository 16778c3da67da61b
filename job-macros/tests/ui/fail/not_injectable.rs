#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

struct Pool;

#[job]
async fn send(user_id: u64, #[inject] pool: Pool) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
