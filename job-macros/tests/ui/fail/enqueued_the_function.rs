#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

async fn start(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    client.enqueue(send_welcome(42));
    Ok(())
}

fn main() {}
