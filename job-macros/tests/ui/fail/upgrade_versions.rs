#![allow(unused)]
use job_core::{JobError, job};

#[job(name = "send")]
struct SendV1 {
    to: String,
}

fn from_v1(old: SendV1) -> Send {
    Send { to: old.to, lang: String::new() }
}

#[job(version = 3, upgrade = from_v1)]
async fn send(to: String, lang: String) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
