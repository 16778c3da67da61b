#![allow(unused)]
use job_core::{Data, JobContext, JobError, job};

#[job]
async fn self_() -> Result<(), JobError> {
    Ok(())
}

#[job]
async fn Ping() -> Result<(), JobError> {
    Ok(())
}

struct User;

#[job]
async fn user(user: User) -> Result<(), JobError> {
    Ok(())
}

#[job]
async fn user_list(users: Vec<UserList>) -> Result<(), JobError> {
    Ok(())
}

#[job]
async fn result(other: elsewhere::Result) -> Result<(), JobError> {
    Ok(())
}

fn main() {}
