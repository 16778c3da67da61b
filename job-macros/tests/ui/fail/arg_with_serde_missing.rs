#![allow(unused)]
use job_core::{JobError, job};

struct Address;

#[job]
async fn send(to: Vec<Address>, from: Address, copies: std::collections::HashMap<u8, Address>) -> Result<(), JobError> {
    Ok(())
}

#[job]
struct Message {
    address: Option<Address>,
}

fn main() {}
