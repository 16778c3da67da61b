#![allow(unused)]
use job_core::prelude::*;

#[job]
struct SendWelcome {
    user_id: u64,
}

#[handler]
pub async fn send_welcome(job: SendWelcome) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
