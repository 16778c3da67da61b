#![allow(unused)]
use job_core::prelude::*;

enum MailError {
    NoSuchUser,
}

async fn deliver(user_id: u64) -> Result<(), MailError> {
    Ok(())
}

#[job]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    deliver(user_id).await?;
    Ok(())
}

fn main() {}
