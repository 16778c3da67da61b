#![allow(unused)]
use job_core::prelude::*;

#[job(retries = 3)]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
