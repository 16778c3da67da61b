#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn resize((width, height): (u32, u32)) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
