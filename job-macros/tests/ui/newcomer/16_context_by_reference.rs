#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn send_welcome(user_id: u64, cx: &JobContext) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
