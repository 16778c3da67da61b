//! Args of older versions, on a real worker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use job_core::prelude::*;
use job_memory::MemoryBackend;

/// What was in service first, and is still in the queue.
#[job(name = "send_welcome", queue = "mail")]
struct SendWelcomeV1 {
    user: String,
}

/// Then it took an id.
#[job(name = "send_welcome", queue = "mail", version = 2, upgrade = from_v1)]
struct SendWelcomeV2 {
    user_id: u64,
}

fn from_v1(old: SendWelcomeV1) -> Result<SendWelcomeV2, std::num::ParseIntError> {
    Ok(SendWelcomeV2 { user_id: old.user.trim_start_matches("user-").parse()? })
}

/// And now several.
#[job(queue = "mail", version = 3, upgrade = from_v2)]
async fn send_welcome(
    user_ids: Vec<u64>,
    lang: Option<String>, // came later, without a version of its own
    seen: Data<Seen>,
) -> Result<(), JobError> {
    seen.lock().unwrap().push((user_ids, lang));
    Ok(())
}

fn from_v2(old: SendWelcomeV2) -> SendWelcome {
    SendWelcome { user_ids: vec![old.user_id], lang: None }
}

/// The next release's.
#[job(name = "send_welcome", queue = "mail", version = 4)]
struct SendWelcomeV4 {
    everybody: bool,
}

/// A name of before, whose args were others as well.
#[job(name = "greet", queue = "mail")]
struct Greet {
    user_id: u64,
}

#[job(queue = "mail", name = "greeting", alias = "greet")]
async fn greeting(
    #[serde(alias = "user_id")] id: u64,
    #[serde(default)] polite: bool,
    seen: Data<Seen>,
) -> Result<(), JobError> {
    seen.lock().unwrap().push((vec![id], polite.then(String::new)));
    Ok(())
}

type Seen = Arc<Mutex<Vec<(Vec<u64>, Option<String>)>>>;

async fn run(client: &Client) -> Vec<(Vec<u64>, Option<String>)> {
    let seen = Seen::default();
    let worker = Worker::builder(client)
        .data(Arc::clone(&seen))
        .put_back_limit(Duration::from_secs(60))
        .build()
        .unwrap();
    worker.run_until(tokio::time::sleep(Duration::from_secs(600))).await.unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    seen
}

#[tokio::test(start_paused = true)]
async fn jobs_of_all_versions_run() {
    let client = Client::new(MemoryBackend::new());
    client.enqueue(SendWelcomeV1 { user: "user-1".into() }).await.unwrap();
    client.enqueue(SendWelcomeV2 { user_id: 2 }).await.unwrap();
    client.enqueue(SendWelcome { user_ids: vec![3, 4], lang: Some("de".into()) }).await.unwrap();
    client.enqueue(Greet { user_id: 5 }).await.unwrap();
    let seen = run(&client).await;
    assert_eq!(
        seen,
        [(vec![1], None), (vec![2], None), (vec![3, 4], Some("de".into())), (vec![5], None)]
    );
    assert_eq!(client.poison("mail").unwrap().list(9).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_upgraded_says_which_version_and_no_value() {
    let client = Client::new(MemoryBackend::new());
    client.enqueue(SendWelcomeV1 { user: "canary".into() }).await.unwrap();
    client.enqueue(SendWelcomeV4 { everybody: true }).await.unwrap();
    assert_eq!(run(&client).await, []);
    let jobs = client.poison("mail").unwrap().list(9).await.unwrap();
    let mut problems: Vec<String> = jobs.iter().map(|job| format!("{:?}", job.error())).collect();
    problems.sort();
    assert_eq!(problems.len(), 2);
    let problems = problems.join("\n");
    assert!(
        problems.contains(
            "the args of version 1 could not be upgraded past version 1: \
             core::num::error::ParseIntError"
        ),
        "{problems}"
    );
    assert!(problems.contains("the args have version 4, newer than here"), "{problems}");
    assert!(!problems.contains("canary"), "{problems}");
}
