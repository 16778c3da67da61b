#![allow(unused)]
use job_core::prelude::*;

fn deliver(user_id: u64) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

#[job]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    deliver(user_id)?;
    Ok(())
}

fn main() {}
