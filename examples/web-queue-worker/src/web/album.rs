//! What this web process knows of all pictures, read off the disk that workers write to. So it does
//! not matter which of many web processes took a picture, or which worker made its thumbnails.
//!
//! An app with a database would ask that instead; the rest stays the same.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::store::{Picture, Pictures, Store};

/// How often to look at the disk: once for all pages that are open.
const LOOK: Duration = Duration::from_millis(200);

/// How many pictures a page starts with.
const RECENT: usize = 24;

pub(super) struct Album {
    pictures: Mutex<Pictures>,
    news: broadcast::Sender<Picture>,
}

impl Album {
    pub(super) fn new() -> Self {
        Self { pictures: Mutex::default(), news: broadcast::Sender::new(256) }
    }

    /// Keeps it up to date for as long as it is polled.
    pub(super) async fn follow(&self, store: &Arc<Store>) -> Infallible {
        let mut pictures = Pictures::new();
        let mut was_well = true;
        loop {
            let store = store.clone();
            let look = spawn_blocking(move || {
                let (changed, result) = store.refresh(&mut pictures);
                (pictures, changed, result)
            });
            let (changed, result);
            (pictures, changed, result) = look.await.expect("it does not panic");
            self.tell(changed.into_iter().map(|id| &pictures[&id]));
            if let Err(error) = &result
                && was_well
            {
                tracing::warn!(%error, "cannot read all of the store; it is tried again");
            }
            was_well = result.is_ok();
            sleep(LOOK).await;
        }
    }

    fn tell<'a>(&self, changed: impl Iterator<Item = &'a Picture>) {
        let mut known = self.lock();
        for picture in changed {
            known.insert(picture.id, picture.clone());
            // It fails where no page is open.
            let _ = self.news.send(picture.clone());
        }
    }

    /// The pictures of late, the newest last, and then those that change.
    pub(super) fn watch(self: &Arc<Self>) -> Watcher {
        let known = self.lock();
        // Under the lock, so nothing gets in between.
        let news = self.news.subscribe();
        Watcher { album: self.clone(), pending: recent(&known), news }
    }

    fn lock(&self) -> MutexGuard<'_, Pictures> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn recent(pictures: &Pictures) -> VecDeque<Picture> {
    let mut recent: VecDeque<_> = pictures.values().rev().take(RECENT).cloned().collect();
    recent.make_contiguous().reverse();
    recent
}

/// What one page has not been told yet.
pub(super) struct Watcher {
    album: Arc<Album>,
    pending: VecDeque<Picture>,
    news: broadcast::Receiver<Picture>,
}

impl Watcher {
    pub(super) async fn next(&mut self) -> Option<Picture> {
        loop {
            if let Some(picture) = self.pending.pop_front() {
                return Some(picture);
            }
            match self.news.recv().await {
                Ok(picture) => return Some(picture),
                // It was too slow for so much news: it gets what matters now.
                Err(RecvError::Lagged(_)) => self.pending = recent(&self.album.lock()),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
