#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job(queue = "Mail", max_attempts = 0, timeout = "soon")]
fn send(to: &str, (a, b): (u8, u8)) {}

fn main() {}
