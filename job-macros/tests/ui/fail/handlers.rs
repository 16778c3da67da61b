#![allow(unused)]
use job_core::{Data, JobError, handler, job};

#[job]
struct SendWelcome {
    user_id: u64,
}

#[handler]
async fn two(job: SendWelcome, user_id: u64) -> Result<(), JobError> {
    Ok(())
}

#[handler]
async fn borrows(job: &SendWelcome) -> Result<(), JobError> {
    Ok(())
}

#[handler]
fn blocks(#[serde(default)] job: SendWelcome) {}

#[handler]
struct OnAStruct {
    user_id: u64,
}

#[handler]
const NUMBER: u8 = 1;

struct Mailer;

impl Mailer {
    #[handler]
    async fn method(&self, job: SendWelcome) -> Result<(), JobError> {
        Ok(())
    }
}

fn main() {}
