#![allow(unused)]
use job_core::{JobError, job};

struct SendV1 {
    to: String,
}

fn from_v1(old: SendV1) -> Send {
    Send { to: old.to, lang: String::new() }
}

#[job(version = 2, upgrade = from_v1)]
async fn send(to: String, lang: String) -> Result<(), JobError> {
    Ok(())
}

#[job(name = "mail", version = 2, upgrade = no_function)]
struct Mail {
    to: String,
}

#[job(version = 2, upgrade = of_two)]
struct Post {
    to: String,
}

fn of_two(old: Mail, other: Mail) -> Post {
    Post { to: old.to }
}

fn main() {}
