#![allow(unused)]
use job_core::prelude::*;

#[job]
struct SendWelcome {
    user_id: u64,
}

fn start(client: Client) {
    let _ = Worker::builder(&client).register::<SendWelcome>().build();
}

fn main() {}
