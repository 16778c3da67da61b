//! What others have of a supervisor that runs.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::report::ProcessStatus;

/// Ends a [`Supervisor`](super::Supervisor), and shows how its processes are. Cloning it gives
/// another handle on the same one.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    pub(super) stop: CancellationToken,
    pub(super) now: CancellationToken,
    pub(super) states: watch::Sender<Vec<ProcessStatus>>,
}

impl SupervisorHandle {
    pub(super) fn new() -> Self {
        let (states, _) = watch::channel(Vec::new());
        Self { stop: CancellationToken::new(), now: CancellationToken::new(), states }
    }

    /// Asks all processes to end within their grace time. Returns at once; `run` returns when they
    /// are gone.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }

    /// Asks all processes to end without the grace time.
    pub fn shutdown_now(&self) {
        self.stop.cancel();
        self.now.cancel();
    }

    /// How the processes are: in the order of their numbers, then the one for suspects, once there
    /// was one. Those that were replaced and still finish their jobs come after their successors,
    /// under the same number. Empty before the start.
    pub fn processes(&self) -> Vec<ProcessStatus> {
        self.states.borrow().clone()
    }

    /// The same to follow: every change is seen, a second later at most what jobs were done.
    pub fn watch(&self) -> watch::Receiver<Vec<ProcessStatus>> {
        self.states.subscribe()
    }
}
