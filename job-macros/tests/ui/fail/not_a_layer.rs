#![allow(unused)]
use job_core::prelude::*;
use std::time::Duration;
use tower::limit::RateLimitLayer;

#[job]
async fn ping() -> Result<(), JobError> {
    Ok(())
}

fn start(client: Client) {
    let worker = Worker::builder(&client).layer(String::from("logs"));
}

fn on_a_queue() {
    let queue = Queue::new("mail").layer(|call: job_core::Call| call);
}

fn around_a_job(client: Client) {
    let worker = Worker::builder(&client).job_layer::<Ping>(30);
}

fn not_clone(client: Client) {
    let worker = Worker::builder(&client).layer(RateLimitLayer::new(5, Duration::from_secs(1)));
}

fn main() {}
