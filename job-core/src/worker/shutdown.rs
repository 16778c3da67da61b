//! How far a worker's end has come, and who may ask for it.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use crate::sabotage::{Sabotage, sabotaged};

/// The two steps of a shutdown. Both are idempotent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    /// The same as `stop`, for those who ask before each job: a token has to take a lock to tell.
    stopping: Arc<AtomicBool>,
    /// Nothing is received and nothing starts any more.
    pub(crate) stop: CancellationToken,
    /// What still runs is cancelled.
    pub(crate) cancel: CancellationToken,
    /// Where the worker shows how it is.
    #[cfg(feature = "http")]
    pub(crate) bound: tokio::sync::watch::Sender<Option<std::net::SocketAddr>>,
}

impl Shutdown {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Release);
        self.stop.cancel();
    }

    pub(crate) fn cancel(&self) {
        self.stop();
        self.cancel.cancel();
    }
}

/// Ends a worker from elsewhere. Cloning it gives another handle on the same worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    pub(crate) shutdown: Shutdown,
}

impl WorkerHandle {
    /// Asks the worker to stop: it receives nothing more, lets running jobs finish within the
    /// grace time, then cancels and gives back what is left. Returns at once; `run` returns when
    /// it is done.
    pub fn shutdown(&self) {
        self.shutdown.stop();
    }

    /// Asks the worker to stop without the grace time.
    pub fn shutdown_now(&self) {
        self.shutdown.cancel();
    }

    /// The address of [`http`](crate::WorkerBuilder::http), with the port that it was given where
    /// that was 0. Ends when the worker runs and has it; never, if it was told of none.
    #[cfg(feature = "http")]
    pub async fn http_address(&self) -> std::net::SocketAddr {
        let mut bound = self.shutdown.bound.subscribe();
        match bound.wait_for(Option::is_some).await {
            Ok(address) => address.expect("it was waited for"),
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends when a shutdown was asked for.
    pub async fn stopping(&self) {
        self.shutdown.stop.cancelled().await;
    }
}

/// The signals that ask a process to end: SIGTERM and ctrl-c. At the first and at the second it calls
/// the one function and the other.
///
/// They are heard on a thread of its own, until what is returned is dropped: handlers that block
/// the worker's runtime must not keep it from hearing that it is to end.
pub(crate) fn listen(
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() + Send + 'static,
) -> std::io::Result<DropGuard> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    let enough = CancellationToken::new();
    let listening = enough.clone();
    let listen = async move {
        signals.next().await;
        if sabotaged(Sabotage::DeafToSignals) {
            tokio::time::sleep(std::time::Duration::from_secs(8)).await;
        }
        crate::telemetry::events::shutting_down();
        first();
        signals.next().await;
        second();
    };
    let listen = listen.in_current_span();
    std::thread::Builder::new().name("job-signals".into()).spawn(move || {
        runtime.block_on(listening.run_until_cancelled(listen));
    })?;
    Ok(enough.drop_guard())
}

#[cfg(unix)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without signals there is only ctrl-c; if even that cannot be heard, a handle still ends
        // the worker.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
