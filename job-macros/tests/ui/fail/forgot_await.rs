#![allow(unused_variables)]
#![deny(unused_must_use)]
use job_core::prelude::*;

#[job]
async fn send_welcome(user_id: u64) -> Result<(), JobError> {
    Ok(())
}

async fn start(client: Client) {
    client.enqueue(SendWelcome { user_id: 42 });
}

fn main() {}
