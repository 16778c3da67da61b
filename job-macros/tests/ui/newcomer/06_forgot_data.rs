#![allow(unused)]
use job_core::prelude::*;

struct Mailer;

#[job]
async fn send_welcome(user_id: u64, mailer: Mailer) -> Result<(), JobError> {
    Ok(())
}

async fn start(client: Client) {
    client.enqueue(SendWelcome { user_id: 42, mailer: Mailer }).await.unwrap();
}

fn main() {}
