//! What goes to a service and comes from it: how many requests, and how many messages wait there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{Semaphore, watch};

use crate::finish::Tasks;

/// Shared by those who send messages and those who delete them.
pub(super) struct Traffic {
    requests: AtomicU64,
    /// A permit for each message that may still be sent.
    room: Semaphore,
    deleted: watch::Sender<u64>,
}

impl Traffic {
    /// At most so many messages wait at a time.
    pub(super) fn new(most: usize) -> Self {
        let (deleted, _) = watch::channel(0);
        Self { requests: AtomicU64::new(0), room: Semaphore::new(most), deleted }
    }

    /// Waits until one more message may be sent.
    pub(super) async fn room(&self) {
        self.room.acquire().await.expect("never closed").forget();
    }

    /// So many requests go out.
    pub(super) fn requested(&self, requests: usize) {
        self.requests.fetch_add(requests as u64, Relaxed);
    }

    /// So many messages are gone.
    pub(super) fn deleted(&self, messages: usize) {
        self.room.add_permits(messages);
        self.deleted.send_modify(|deleted| *deleted += messages as u64);
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many messages are gone, whenever that changes.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.deleted.subscribe()
    }

    /// Waits until so many messages are gone.
    pub(super) async fn wait_for(&self, messages: u64) {
        let gone = |deleted: &u64| *deleted >= messages;
        self.follow().wait_for(gone).await.expect("the sender is in self");
    }

    /// The same, unless one of the tasks fails. They may end: producers do.
    pub(super) async fn until_done(&self, messages: u64, tasks: &mut Tasks) -> anyhow::Result<()> {
        let done = self.wait_for(messages);
        tokio::pin!(done);
        loop {
            tokio::select! {
                () = &mut done => return Ok(()),
                Some(ended) = tasks.join_next() => ended??,
            }
        }
    }
}
