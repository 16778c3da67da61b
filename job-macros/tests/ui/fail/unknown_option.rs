#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(priority = 3, retries = 5, delay = "5s")]
async fn send(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn the_struct_is_there_nevertheless() {
    let _ = Send { user_id: 1 };
}

fn main() {}
