#![allow(unused)]
use job_core::{JobError, handler, job};

#[job]
#[handler]
async fn send(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[handler]
#[job(queue = "mail")]
async fn send_mail(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[job]
#[job]
async fn send_news(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
