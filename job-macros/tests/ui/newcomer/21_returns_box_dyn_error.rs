#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn send_welcome(user_id: u64) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

fn main() {}
