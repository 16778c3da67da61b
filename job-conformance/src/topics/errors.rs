//! What errors and debug output must not show.

use std::time::Duration;

use job_core::backend::{BackendError, Outgoing, ReceiveRequest};

use crate::fixture::Fixture;
use crate::promise::{self, ensure};

/// A text that turns up nowhere by chance.
const CANARY: &str = "canary-5c1f0b7e";

/// An error does not show the body that it is about.
pub async fn errors_hold_no_bodies(t: &Fixture) {
    let large = CANARY.repeat(t.capabilities().max_body / 4);
    let late = Outgoing::new(CANARY).delay(t.capabilities().max_delay * 2);
    let mut errors = Vec::new();
    errors.extend(t.try_send(Outgoing::new(large.clone())).await.err());
    errors.extend(t.try_send(late).await.err());
    errors.extend(t.unknown().try_send(Outgoing::new(CANARY)).await.err());
    t.send(CANARY).await;
    let held = t.take().await.receipt;
    errors.extend(t.replace(&held, large, Duration::ZERO).await.err());
    errors.extend(t.release(&held, t.capabilities().max_delay * 2).await.err());
    ensure!(errors.len() >= 5, "A wrong request is refused.", "only {} were", errors.len());
    for error in errors {
        ensure!(!shows(&error, CANARY), promise::NO_SECRETS, "an error shows a body");
    }
}

/// An error does not show the receipt that it is about.
pub async fn errors_hold_no_receipts(t: &Fixture) {
    t.send("x").await;
    let stale = t.take().await.receipt;
    let mut errors = Vec::new();
    errors.extend(t.release(&stale, t.capabilities().max_delay * 2).await.err());
    errors.extend(t.renew(&stale, t.capabilities().max_lease * 2).await.err());
    errors.extend(t.delete(&stale).await.err());
    errors.extend(t.delete(&stale).await.err());
    errors.extend(t.renew(&stale, t.long()).await.err());
    errors.extend(t.release(&stale, Duration::ZERO).await.err());
    errors.extend(t.replace(&stale, "y", Duration::ZERO).await.err());
    ensure!(errors.len() >= 6, "A wrong request is refused.", "only {} were", errors.len());
    let Some(token) = stale.token().as_text().map(str::to_owned) else {
        // A number is worth nothing outside of the process that gave it, and short ones turn up
        // by chance.
        return;
    };
    for error in errors {
        ensure!(!shows(&error, &token), promise::NO_SECRETS, "an error shows a receipt");
    }
}

/// The backend's debug output does not show what is on its queues.
pub async fn debug_output_holds_no_bodies(t: &Fixture) {
    t.send(CANARY).await;
    let shown = format!("{:?} {:#?}", t.backend(), t.backend());
    ensure!(!shown.contains(CANARY), "Debug never shows a body.", "the backend's does");
    let request = ReceiveRequest::new(t.queue().clone()).lease(t.long());
    let batch = format!("{:?}", t.backend().receive(request).await);
    ensure!(!batch.contains(CANARY), "Debug never shows a body.", "a batch's does");
}

/// Whether the error or one of its sources shows that text.
fn shows(error: &BackendError, text: &str) -> bool {
    let mut shown = format!("{error:?}");
    let mut level: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = level {
        shown.push_str(&format!(" {error} {error:?}"));
        level = error.source();
    }
    shown.contains(text)
}
