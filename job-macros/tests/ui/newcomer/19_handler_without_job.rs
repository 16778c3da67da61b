#![allow(unused)]
use job_core::prelude::*;

#[handler]
async fn send_welcome(mailer: Data<String>) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
