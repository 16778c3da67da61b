//! Where everything runs: each run in a runtime of its own, and not for ever.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// Far more than any run takes. What hangs is to fail.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs as a task of a runtime with all processors, as an app would.
///
/// # Errors
/// That of what is run, also if it panics, and if it does not end.
pub fn run<T: Send + 'static>(
    body: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    within(Builder::new_multi_thread(), LIMIT, async { tokio::spawn(body).await? })
}

/// Runs on one thread.
///
/// # Errors
/// As [`run`].
pub fn run_on_one_thread<T>(body: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    within(Builder::new_current_thread(), LIMIT, body)
}

fn within<T>(
    mut builder: Builder,
    limit: Duration,
    body: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = builder.enable_all().build()?;
    let ended = runtime.block_on(async { timeout(limit, body).await });
    if ended.is_err() {
        // Dropping it would wait for what hangs.
        runtime.shutdown_background();
    }
    ended.with_context(|| format!("it did not end within {limit:?}"))?
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[test]
    fn what_hangs_or_panics_fails() {
        let never = pending::<anyhow::Result<()>>();
        let hung = within(Builder::new_multi_thread(), Duration::ZERO, never).unwrap_err();
        assert!(hung.to_string().contains("did not end"), "{hung}");
        assert!(run::<()>(async { panic!("on purpose") }).is_err());
        assert_eq!(run(async { Ok(1) }).unwrap(), 1);
    }
}
