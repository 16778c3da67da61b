#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn send_welcome(to: &str) -> Result<(), JobError> {
    println!("{to}");
    Ok(())
}

fn main() {}
