#![allow(unused)]
use job_core::prelude::*;

#[job]
async fn deliver<T: Send>(what: T) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
