#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

use std::cell::Cell;

#[job]
async fn send(user_id: u64, counter: Data<Cell<u32>>) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
