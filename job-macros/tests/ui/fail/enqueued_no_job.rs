#![allow(unused)]
use job_core::prelude::*;

struct SendWelcome {
    user_id: u64,
}

fn start(client: Client) {
    let enqueue = client.enqueue(SendWelcome { user_id: 42 });
}

fn main() {}
