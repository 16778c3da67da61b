#![allow(unused)]
use job_core::prelude::*;

#[job(timeout = "30")]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
