//! What only a demonstration needs: it ends when nothing is left to do, where a service goes on.

#![allow(dead_code, unreachable_pub, reason = "each program uses a part of it")]

pub mod smtp;

use std::time::Duration;

use job_core::prelude::*;

/// Waits until nothing is on these queues: every job is done, or in the poison queue.
pub async fn until_empty(client: &Client, queues: &[&str]) {
    let queues: Vec<_> = queues.iter().map(|name| QueueName::new(name).expect("a name")).collect();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    loop {
        look.tick().await;
        let mut left = 0;
        for queue in &queues {
            left += client.backend().stats(queue).await.map_or(1, |stats| stats.total);
        }
        if left == 0 {
            break;
        }
    }
}
