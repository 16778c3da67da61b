#![allow(unused)]
use job_core::prelude::*;

use std::rc::Rc;

#[job]
async fn send_welcome(user_id: u64, names: Data<Rc<String>>) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
