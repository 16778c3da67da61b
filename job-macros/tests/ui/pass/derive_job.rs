//! `#[derive(Job)]`, in a scope that has the macro `job` as well.
use job_core::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Job)]
struct SendMail {
    to: String,
}

#[derive(Job, Serialize, Deserialize)]
#[job_options(name = "notify", alias = ["push", "mail"])]
#[job_options(queue = "mail", timeout = "30s")]
#[serde(tag = "kind")]
enum Notification {
    Mail { to: String },
    Push { device: u64 },
}

#[handler]
async fn send_mail(job: SendMail) -> Result<(), JobError> {
    let _ = job.to;
    Ok(())
}

#[handler]
async fn notify(job: Notification) -> Result<(), JobError> {
    match job {
        Notification::Mail { to } => drop(to),
        Notification::Push { device } => assert_ne!(device, 0),
    }
    Ok(())
}

fn enqueue(client: &Client) {
    drop(client.enqueue(SendMail { to: String::new() }));
}

fn main() {
    let _ = enqueue;
    assert_eq!(SendMail::NAME, "send_mail");
    assert_eq!((Notification::NAME, Notification::ALIASES), ("notify", &["push", "mail"][..]));
}
