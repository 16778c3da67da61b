//! What clients log.

use std::time::Duration;

use super::events;
use crate::QueueName;

events! { EVENTS, "job_core::client";
    INFO poison_purged "poison queue purged" {
        queue: &QueueName => display,
        messages: Option<u64>,
    }
    INFO poison_replayed "poison queue replayed" {
        queue: &QueueName => display,
        matched: usize,
        replayed: usize,
        skipped: usize,
        dry_run: bool,
        failed: bool,
    }
    WARN scan_not_finished "messages stay hidden until their lease ends" {
        queue: &QueueName => display,
        lease: Duration => debug,
    }
}
