#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};
use std::future::Future;

#[job]
async fn nothing(user_id: u64) {}

#[job]
async fn unit(user_id: u64) -> () {}

#[job]
async fn no_future(user_id: u64) -> impl Future<Output = ()> {
    async {}
}

fn main() {}
