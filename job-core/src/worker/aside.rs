//! A thread with a runtime of its own, for what handlers must not hold up.
//!
//! A handler that blocks its thread, as it should not, stops whatever else would run there. Leases
//! are renewed and messages are settled here instead, over connections that live here too. All of
//! a settlement is: what comes after its first request has no lease to wait for.

use std::future::{Future, pending};
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};

use super::report::Counters;
use super::served::Served;
use crate::backend::Backend;
use crate::telemetry::{events, meters};

/// How often the worker's runtime is asked whether it still runs tasks.
const PING: Duration = Duration::from_secs(1);

/// How long it may leave a task waiting.
const STALL: Duration = Duration::from_secs(3);

/// The thread. It ends when this is dropped, and all that runs there with it.
#[derive(Debug)]
pub(super) struct Aside {
    runtime: Handle,
    /// Connections that live there and are nobody else's.
    backend: Arc<dyn Backend>,
    _stop: DropGuard,
}

impl Aside {
    /// Starts the thread. `backend` must have connections of its own: those that live on the
    /// worker's runtime stall with it.
    pub(super) fn start(backend: Arc<dyn Backend>) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name("job-leases".into()).spawn(move || {
            runtime.block_on(stopped.cancelled());
            // A name that is being looked up would hold it up.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, backend, _stop: stop.drop_guard() })
    }

    /// The connections that live there, for calls from there.
    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// How to get there.
    pub(super) fn way(&self) -> Way {
        Way { runtime: self.runtime.clone() }
    }

    /// Sleeps by the clock there.
    pub(super) async fn sleep(&self, time: Duration) {
        // Made there, or it would be by the clock here. It fails only where that has ended, and
        // all with it.
        let _ = self.runtime.spawn(async move { sleep(time).await }).await;
    }

    /// Runs a task there until this is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task.instrument(Span::current()));
    }
}

/// The way to that thread.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    runtime: Handle,
}

impl Way {
    /// What comes of a task there; its panic, too. It begins when this is first polled, and goes on
    /// to its end there if this is dropped: of several requests none waits for a handler here.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let ended = self.runtime.spawn(task.instrument(Span::current())).await;
        match ended.map_err(JoinError::try_into_panic) {
            Ok(value) => value,
            Err(Ok(payload)) => resume_unwind(payload),
            // That runtime has ended, as it does with the worker. Nobody waits for this any more.
            Err(Err(_)) => pending().await,
        }
    }
}

/// Tells when the worker's runtime does not get to run its tasks. Leases are kept all the same,
/// but nothing new starts, and nobody is told anything.
///
/// Where a handler blocks but one of several threads, the slot that was woken to receive next may
/// be behind it, in a place that no other thread takes tasks from. So another is woken.
pub(super) async fn watch(worker: Handle, counters: Arc<Counters>, queues: Vec<Arc<Served>>) {
    loop {
        sleep(PING).await;
        queues.iter().for_each(|queue| queue.feed.nudge());
        let (run, ran) = oneshot::channel();
        let asked_at = Instant::now();
        worker.spawn(async move { run.send(()) });
        let mut ran = std::pin::pin!(ran);
        if timeout(STALL, &mut ran).await.is_ok() {
            continue;
        }
        counters.stalled.increment();
        events::runtime_stalled(counters.running());
        meters::runtime_stalled();
        // An error is the runtime's end.
        let _ = ran.await;
        events::runtime_moves(asked_at.elapsed());
    }
}
