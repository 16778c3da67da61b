#![allow(unused)]
use job_core::{JobError, handler};

struct SendWelcome {
    user_id: u64,
}

#[handler]
async fn send_welcome(job: SendWelcome) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
