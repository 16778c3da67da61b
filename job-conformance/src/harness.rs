//! What a backend under test supplies.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use job_core::QueueName;
use job_core::backend::{Backend, Capabilities};

/// Runs after a case, once for each queue that it made.
pub(crate) type Cleanup =
    Arc<dyn Fn(QueueName) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A backend under test and how to deal with it.
///
/// Each case makes queues of its own with names that nobody else has, so cases can run side by
/// side, also against one service that several people test with.
///
/// ```
/// # async fn example(backend: impl job_core::backend::Backend) {
/// use std::time::Duration;
/// use job_conformance::Harness;
///
/// let harness = Harness::new(backend)
///     .unit(Duration::from_secs(2))
///     .tolerance(Duration::from_secs(1));
/// # }
/// ```
#[derive(Clone)]
pub struct Harness {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) second: Option<Arc<dyn Backend>>,
    pub(crate) unit: Duration,
    pub(crate) tolerance: Duration,
    pub(crate) slack: Duration,
    pub(crate) cleanup: Option<Cleanup>,
}

impl Harness {
    /// Tests `backend` with units of time that fit its capabilities.
    pub fn new(backend: impl Backend) -> Self {
        Self::shared(Arc::new(backend))
    }

    /// Tests a backend that is shared already.
    pub fn shared(backend: Arc<dyn Backend>) -> Self {
        let Capabilities { min_lease, granularity, .. } = *backend.capabilities();
        Self {
            second: backend.independent(),
            unit: min_lease.max(granularity).max(Duration::from_millis(100)),
            tolerance: Duration::ZERO,
            slack: Duration::from_secs(10),
            cleanup: None,
            backend,
        }
    }

    /// Another handle on the same service. By default the backend's
    /// [`independent`](Backend::independent), if it gives one.
    #[must_use]
    pub fn second(mut self, second: impl Backend) -> Self {
        self.second = Some(Arc::new(second));
        self
    }

    /// The lease, delay or TTL of cases that wait for its end. By default the longest of the
    /// shortest lease, the granularity and 100 ms.
    #[must_use]
    pub fn unit(mut self, unit: Duration) -> Self {
        self.unit = unit;
        self
    }

    /// How much too early the service may end a lease or delay, for one whose clock is coarser
    /// than its word. Zero by default.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// How late an answer or the end of a lease may be before it counts as broken. 10 s by default.
    #[must_use]
    pub fn slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// Called for each queue that a case made, after the case, whether it passed or not. The
    /// contract has no way to remove a queue, so a service that keeps them needs this.
    #[must_use]
    pub fn cleanup<F, Fut>(mut self, cleanup: F) -> Self
    where
        F: Fn(QueueName) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.cleanup = Some(Arc::new(move |queue| Box::pin(cleanup(queue))));
        self
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("backend", &self.backend)
            .field("unit", &self.unit)
            .field("tolerance", &self.tolerance)
            .field("slack", &self.slack)
            .finish_non_exhaustive()
    }
}
