//! Inside functions, also as their last statement, inside modules, and out of `macro_rules`; with
//! strict lints.
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations)]
#![forbid(unsafe_code)]

use job_core::{Job, JobError, job};

/// A module.
pub mod mail {
    use job_core::{JobError, job};

    /// Sends it.
    #[job]
    pub async fn send(to: String, copies: Vec<String>) -> Result<(), JobError> {
        let _ = (to, copies);
        Ok(())
    }

    #[derive(Debug, thiserror::Error, super::facade::jobs::JobError)]
    #[error("no")]
    #[job_error(crate = super::facade::jobs)]
    #[discard]
    pub(super) struct Failed;

    /// Does nothing.
    #[job(crate = super::facade::jobs)]
    pub async fn ping() -> Result<(), JobError> {
        Ok(())
    }

    #[job]
    pub(super) async fn hidden(place: u8) -> Result<(), JobError> {
        let _ = place;
        Ok(())
    }
}

mod facade {
    pub(crate) use job_core as jobs;
}

macro_rules! jobs {
    ($($name:ident($arg:ident: $ty:ty) in $queue:literal every $wait:expr;)*) => {$(
        #[job(queue = $queue, timeout = $wait, crate = facade::jobs)]
        async fn $name($arg: $ty) -> Result<(), JobError> {
            let _ = $arg;
            Ok(())
        }
    )*};
}

jobs! {
    resize(width: u32) in "pictures" every "30s";
    rename(name: Option<String>) in "files" every "1m";
}

fn main() {
    assert_eq!((Resize::NAME, Rename::NAME), ("resize", "rename"));
    let _ = (Resize { width: 1 }, Rename { name: None }, mail::Hidden { place: 1 }, mail::Failed);
    assert_eq!(last(), ());
}

fn last() {
    assert_eq!(Inner::NAME, "inner");

    #[job]
    async fn inner() -> Result<(), JobError> {
        Ok(())
    }
}
