#![allow(unused)]
use job_core::prelude::*;

#[derive(Job)]
struct SendWelcome {
    user_id: u64,
}

async fn start(client: Client) {
    client.enqueue(SendWelcome { user_id: 42 }).await.unwrap();
}

fn main() {}
