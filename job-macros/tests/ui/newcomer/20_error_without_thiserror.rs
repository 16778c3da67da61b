#![allow(unused)]
use job_core::prelude::*;

#[derive(Debug, JobError)]
enum MailError {
    #[permanent]
    NoSuchUser,
}

fn main() {}
