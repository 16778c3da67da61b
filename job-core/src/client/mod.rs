//! Puts jobs on queues, and looks after what ended in poison queues.
//!
//! A client knows a backend, a default queue, which queues it has seen to exist, and whom to wake
//! in this process. It does not retry: backends do, within their own time limit, and on top of
//! that only the caller can know whether enqueueing twice is harmless.

mod batch;
mod call;
mod concurrent;
mod enqueue;
mod error;
mod known;
mod lazy;
mod poison;
mod send;
mod wake;

use std::fmt;
use std::sync::Arc;

pub use self::batch::{EnqueueAll, EnqueueAllError};
pub use self::enqueue::Enqueue;
pub use self::error::{EnqueueError, EnqueueErrorKind};
pub use self::poison::{
    PoisonError, PoisonErrorKind, PoisonJob, PoisonQueue, Replay, ReplayReport,
};

use self::known::Known;
pub(crate) use self::wake::Wakers;
use crate::backend::Backend;
use crate::telemetry::meters::ClientMeters;
use crate::{InvalidQueueName, Job, QueueName};

/// The queue of a job for which neither call nor job nor client names one.
const DEFAULT_QUEUE: &str = "default";

/// Puts jobs on the queues of a backend. Cloning it clones two pointers.
///
/// ```
/// use std::time::Duration;
/// use job_core::{Client, EnqueueError, Job};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct SendWelcome { user_id: u64 }
/// # impl Job for SendWelcome { const NAME: &'static str = "send_welcome"; }
///
/// async fn sign_up(client: &Client) -> Result<(), EnqueueError> {
///     client.enqueue(SendWelcome { user_id: 42 }).await?;
///     client.enqueue(SendWelcome { user_id: 43 }).delay(Duration::from_secs(300)).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    default_queue: QueueName,
}

struct Inner {
    backend: Arc<dyn Backend>,
    known: Known,
    wakers: Wakers,
    meters: ClientMeters,
}

impl Client {
    /// A client of that backend.
    pub fn new(backend: impl Backend) -> Self {
        Self::from_arc(Arc::new(backend))
    }

    /// A client of a backend that others share.
    pub fn from_arc(backend: Arc<dyn Backend>) -> Self {
        #[cfg(feature = "metrics")]
        let backend = crate::telemetry::requests::metered(backend);
        let (known, wakers) = (Known::default(), Wakers::default());
        let inner = Inner { backend, known, wakers, meters: ClientMeters::default() };
        Self {
            inner: Arc::new(inner),
            default_queue: QueueName::new(DEFAULT_QUEUE).expect("a valid name"),
        }
    }

    /// The same client with another queue for jobs that name none; it is `default` otherwise.
    ///
    /// ```
    /// # use job_core::{Client, InvalidQueueName};
    /// # fn example(client: Client) -> Result<Client, InvalidQueueName> {
    /// let client = client.with_default_queue("mail")?;
    /// # Ok(client)
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no queue that jobs run from can have that name.
    pub fn with_default_queue(mut self, name: impl AsRef<str>) -> Result<Self, InvalidQueueName> {
        let name = QueueName::new(name)?;
        name.poison()?;
        self.default_queue = name;
        Ok(self)
    }

    /// Puts a job on its queue, once the returned future is awaited.
    ///
    /// The queue is the one that the call names ([`Enqueue::queue`]), else the job's own
    /// ([`JobOptions::queue`](crate::JobOptions::queue)), else the client's default. It is made
    /// when the first job is sent to it; one that vanishes later is an error, because making it
    /// again would hide a loss.
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue {
        Enqueue::new(self.clone(), job)
    }

    /// Puts many jobs of one kind on their queue, in as few requests as the backend allows, once
    /// the returned future is awaited.
    ///
    /// ```
    /// # use job_core::{Client, EnqueueAllError, Job, JobId};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct SendWelcome { user_id: u64 }
    /// # impl Job for SendWelcome { const NAME: &'static str = "send_welcome"; }
    /// async fn welcome_all(client: &Client, users: Vec<u64>) -> Result<Vec<JobId>, EnqueueAllError> {
    ///     client.enqueue_all(users.into_iter().map(|user_id| SendWelcome { user_id })).await
    /// }
    /// ```
    pub fn enqueue_all<J: Job>(&self, jobs: impl IntoIterator<Item = J>) -> EnqueueAll {
        EnqueueAll::new(self.clone(), jobs)
    }

    /// The poison queue of that queue: what could not succeed there, with the reasons. The poison
    /// queue's own name means the same.
    ///
    /// ```
    /// use std::time::Duration;
    /// use job_core::{BoxError, Client};
    ///
    /// async fn second_chance(client: &Client) -> Result<(), BoxError> {
    ///     let poison = client.poison("mail")?;
    ///     for job in poison.list(20).await? {
    ///         println!("{} {:?}: {}", job.id(), job.name(), job.reason());
    ///     }
    ///     let report = poison
    ///         .replay()
    ///         .name("send_welcome")
    ///         .error_contains("connection refused")
    ///         .rate(10, Duration::from_secs(1))
    ///         .await?;
    ///     println!("{report}");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// If no queue that jobs run from can have that name.
    pub fn poison(&self, queue: impl AsRef<str>) -> Result<PoisonQueue, InvalidQueueName> {
        PoisonQueue::new(self.clone(), queue.as_ref())
    }

    /// The backend that it sends to.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// The queue of jobs for which neither call nor job names one.
    pub fn default_queue(&self) -> &QueueName {
        &self.default_queue
    }

    /// Whom to wake in this process when a job comes onto a queue. Shared by all clones.
    pub(crate) fn wakers(&self) -> &Wakers {
        &self.inner.wakers
    }

    /// What is counted of the jobs that it enqueues.
    fn meters(&self) -> &ClientMeters {
        &self.inner.meters
    }

    fn known(&self) -> &Known {
        &self.inner.known
    }
}

/// What a backend shows of itself is its own business; here its name is enough.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("system", &self.backend().system())
            .field("default_queue", &self.default_queue)
            .finish_non_exhaustive()
    }
}
