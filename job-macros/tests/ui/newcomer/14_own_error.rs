#![allow(unused)]
use job_core::prelude::*;

enum MailError {
    NoSuchUser,
}

#[job]
async fn send_welcome(user_id: u64) -> Result<(), MailError> {
    Err(MailError::NoSuchUser)
}

fn main() {}
