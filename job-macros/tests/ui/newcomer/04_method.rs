#![allow(unused)]
use job_core::prelude::*;

struct Mailer;

impl Mailer {
    #[job]
    async fn send_welcome(&self, user_id: u64) -> Result<(), JobError> {
        Ok(())
    }
}

fn main() {}
