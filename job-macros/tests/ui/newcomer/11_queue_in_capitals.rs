#![allow(unused)]
use job_core::prelude::*;

#[job(queue = "Mail")]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
