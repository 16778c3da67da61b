#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn send_welcome(user_id: u64, lang: Option<String>) -> Result<(), JobError> {
    Ok(())
}

async fn start(client: Client) {
    client.enqueue(SendWelcome { user_id: 42 }).await.unwrap();
}

fn main() {}
