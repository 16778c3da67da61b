#![allow(unused)]
use job_core::prelude::*;
use std::sync::Mutex;

#[job]
async fn count(by: u64, counter: Data<Mutex<u64>>) -> Result<(), JobError> {
    let mut counter = counter.lock().unwrap();
    std::future::ready(()).await;
    *counter += by;
    Ok(())
}

fn main() {}
