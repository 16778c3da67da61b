#![allow(unused)]
use job_core::prelude::*;

#[job]
fn send_welcome(user_id: u64) -> Result<(), JobError> {
    println!("{user_id}");
    Ok(())
}

async fn start(client: Client) {
    client.enqueue(SendWelcome { user_id: 42 }).await.unwrap();
}

fn main() {}
