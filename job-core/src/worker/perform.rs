//! One run of a job without a queue: what a worker does between receiving and settling.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::jobs::JobEntry;
use super::plan::QueuePlan;
use super::run::{CANCEL_GRACE, Unprepared, outcome_of, prepare};
use crate::backend::{Capabilities, MessageId};
use crate::client::Enqueue;
use crate::context::{About, Place};
use crate::decide::{self, Admission, Message, Seen};
use crate::envelope::{Envelope, Plain, Trace};
use crate::pipeline::{Call, Ready, ready};
use crate::{Args, ArgsError, BoxError, EnqueueError, JobContext, JobId, Outcome, QueueName};

/// As good as never, where a clock does not reach further.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Worker {
    /// Runs a job here and now, once the returned value is awaited, without a queue: it goes
    /// through encoding, decoding and all layers as it would on its way over one. Nothing is sent
    /// and nothing is tried again; what would become of the job is the result.
    ///
    /// It is for tests of single handlers; `job_memory::testing` has more.
    ///
    /// ```
    /// # async fn example(client: job_core::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct SendWelcome { user_id: u64 }
    /// # impl job_core::Job for SendWelcome { const NAME: &'static str = "send_welcome"; }
    /// use job_core::{Outcome, Worker};
    ///
    /// let worker = Worker::builder(&client).build()?;
    /// let outcome = worker.perform(client.enqueue(SendWelcome { user_id: 7 })).attempt(3).await?;
    /// assert!(matches!(outcome, Outcome::Done));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the `Enqueue` has been polled.
    pub fn perform(&self, enqueue: Enqueue) -> Perform<'_> {
        let (id, message) = (Some(enqueue.id()), enqueue.into_message());
        Perform::new(self, id, message)
    }

    /// [`perform`](Self::perform) for a message as it is on a queue: an envelope, an event, or
    /// plain JSON if the queue is raw.
    pub fn perform_message(&self, queue: &QueueName, body: impl Into<Bytes>) -> Perform<'_> {
        Perform::new(self, None, Ok((queue.clone(), body.into())))
    }
}

/// One run of a job without a queue: made by [`Worker::perform`], begun when it is awaited.
///
/// # Errors
/// [`PerformError`] if the job cannot even start. What its handler returns is an [`Outcome`].
#[must_use = "a job is performed only when this is awaited"]
pub struct Perform<'a> {
    message: Result<(QueueName, Bytes), EnqueueError>,
    run: Run<'a>,
}

/// How it is to run.
struct Run<'a> {
    worker: &'a Worker,
    /// The id that the call gave it, for messages that have none.
    id: Option<JobId>,
    attempt: Option<u32>,
    max_attempts: Option<u32>,
    timeout: Option<Duration>,
    cancellation: Option<CancellationToken>,
}

/// What there is to know of a job before its run.
struct Start<'a> {
    job: &'a JobEntry,
    id: JobId,
    attempt: u32,
    max_attempts: u32,
    enqueued_at: std::time::SystemTime,
    meta: std::collections::BTreeMap<String, String>,
    trace: Option<Trace>,
}

impl<'a> Perform<'a> {
    fn new(
        worker: &'a Worker,
        id: Option<JobId>,
        message: Result<(QueueName, Bytes), EnqueueError>,
    ) -> Self {
        let (attempt, max_attempts, timeout, cancellation) = (None, None, None, None);
        Self { message, run: Run { worker, id, attempt, max_attempts, timeout, cancellation } }
    }

    /// Which attempt it is, counted from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.run.attempt = Some(attempt.max(1));
        self
    }

    /// How many attempts there are at most, whatever job and call say.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.run.max_attempts = Some(max_attempts.max(1));
        self
    }

    /// How long it may take, whatever the job says: its deadline is that much after its start.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.run.timeout = Some(timeout);
        self
    }

    /// Cancels the run when `token` is cancelled, as the end of a shutdown does: the handler can
    /// see it, and has half a second to come to an end.
    pub fn cancel_on(mut self, token: CancellationToken) -> Self {
        self.run.cancellation = Some(token);
        self
    }
}

impl Run<'_> {
    async fn run(&self, name: QueueName, body: Bytes) -> Result<Outcome, PerformError> {
        let plan = &self.worker.plan;
        let Some(queue) = plan.queues.iter().find(|queue| queue.name == name) else {
            return Err(PerformError::NotServed { queue: name });
        };
        let backend = plan.shared.client.backend();
        let (capabilities, now) = (backend.capabilities(), backend.now());
        let message = Message {
            message_id: MessageId::from("performed"),
            count: capabilities.counts.then_some(1),
            inserted_at: now,
            body,
        };
        match &queue.raw {
            Some(job) => {
                let body = std::str::from_utf8(&message.body)
                    .map_err(|_| refused(job, "the message is not UTF-8 text"))?;
                let registration = &job.registration;
                let is_named =
                    |name: &str| registration.name == name || registration.aliases.contains(&name);
                let plain = Plain::read(body, is_named);
                let start = Start {
                    job,
                    id: plain.id.or(self.id).unwrap_or_else(JobId::new),
                    attempt: 1,
                    max_attempts: job.policy.max_attempts,
                    enqueued_at: now,
                    meta: plain.meta,
                    trace: plain.trace,
                };
                self.start(queue, start, Args::new(&plain.args, registration.version)).await
            }
            None => {
                let (envelope, job) = self.admit(queue, &message, capabilities)?;
                let max_attempts = envelope.options.max_attempts.unwrap_or(job.policy.max_attempts);
                let start = Start {
                    job,
                    id: envelope.id,
                    attempt: envelope.history.attempt(),
                    max_attempts: max_attempts.max(1),
                    enqueued_at: envelope.enqueued_at,
                    meta: envelope.meta.clone(),
                    trace: envelope.trace.clone(),
                };
                self.start(queue, start, Args::new(envelope.args.get(), envelope.args_version))
                    .await
            }
        }
    }

    /// As for a first delivery.
    fn admit<'m>(
        &self,
        queue: &'m QueuePlan,
        message: &'m Message,
        capabilities: &Capabilities,
    ) -> Result<(Envelope<'m>, &'m JobEntry), PerformError> {
        let seen = Seen {
            queue: &queue.name,
            message_id: &message.message_id,
            count: message.count,
            inserted_at: message.inserted_at,
            now: message.inserted_at,
        };
        let find = |name: &str| queue.jobs.find(name);
        let rules = self.worker.plan.rules;
        let rng = &mut fastrand::Rng::new();
        match decide::admit(message, seen, find, rules, capabilities, rng) {
            Admission::Run { envelope, job, .. } => Ok((envelope, job)),
            Admission::Settle(_, refusal)
            | Admission::HandOver(_, refusal)
            | Admission::Ask(_, _, refusal) => Err(PerformError::Refused {
                job: refusal.name.unwrap_or_default(),
                problem: refusal.problem.unwrap_or_else(|| "it is not due to run".to_owned()),
            }),
        }
    }

    async fn start(
        &self,
        queue: &QueuePlan,
        start: Start<'_>,
        args: Args<'_>,
    ) -> Result<Outcome, PerformError> {
        let plan = &self.worker.plan;
        let Start { job, id, attempt, max_attempts, enqueued_at, meta, trace } = start;
        let prepared = match prepare(job, args) {
            Ok(prepared) => prepared,
            Err(Unprepared::Panicked(outcome)) => return Ok(outcome),
            Err(Unprepared::Misfit(error)) => {
                return Err(PerformError::Unreadable { job: job.registration.name, source: error });
            }
        };
        let layers = async {
            let queue = match &queue.stack {
                None => None,
                Some(stack) => Some(ready(stack.clone()).await?),
            };
            Ok::<_, BoxError>(Ready { worker: ready(plan.stack.clone()).await?, queue })
        };
        let mut stack = layers.await.map_err(PerformError::NotReady)?;
        let (now, timeout) = (Instant::now(), self.timeout.unwrap_or(job.timeout));
        let deadline = now.checked_add(timeout).unwrap_or_else(|| now + FAR);
        let about = About {
            id,
            name: job.registration.name,
            attempt: self.attempt.unwrap_or(attempt),
            max_attempts: self.max_attempts.unwrap_or(max_attempts),
            enqueued_at,
            deadline,
            timeout,
            meta,
            trace,
        };
        let place = Place { queue: queue.name.clone(), shared: Arc::clone(&plan.shared) };
        let context = JobContext::new(about, Arc::new(place));
        let call = Call::new(context.clone(), prepared, job.stack.clone());
        Ok(self.execute(context, call, &mut stack).await)
    }

    async fn execute(&self, context: JobContext, call: Call, stack: &mut Ready) -> Outcome {
        let cancelled = async {
            match &self.cancellation {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
        };
        if self.cancellation.as_ref().is_some_and(CancellationToken::is_cancelled) {
            context.cancel();
        }
        let mut running = call.go(stack);
        tokio::select! {
            biased;
            result = &mut running => outcome_of(result),
            () = cancelled => {
                context.cancel();
                match timeout(CANCEL_GRACE, &mut running).await {
                    Ok(Ok(Outcome::Done)) => Outcome::Done,
                    _ => Outcome::GivenBack,
                }
            }
        }
    }
}

impl<'a> IntoFuture for Perform<'a> {
    type Output = Result<Outcome, PerformError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (queue, body) = self.message.map_err(PerformError::NotEnqueued)?;
            self.run.run(queue, body).await
        })
    }
}

/// The message holds args: only the worker's settings of the run are shown.
impl fmt::Debug for Perform<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Perform")
            .field("attempt", &self.run.attempt)
            .field("max_attempts", &self.run.max_attempts)
            .field("timeout", &self.run.timeout)
            .finish_non_exhaustive()
    }
}

fn refused(job: &JobEntry, problem: &str) -> PerformError {
    PerformError::Refused { job: job.registration.name.to_owned(), problem: problem.to_owned() }
}

/// Why a job could not be performed. It never holds args.
// No variant has the name of a type or trait: the compiler would name those by their paths then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerformError {
    /// The job could not even be enqueued.
    #[error("the job cannot travel in a message")]
    NotEnqueued(#[source] EnqueueError),
    /// The worker does not serve the job's queue.
    #[error(
        "the worker does not serve queue `{queue}`; give it the `Data` that the jobs of that queue \
         need, or name the queue in its set-up"
    )]
    NotServed {
        /// Which.
        queue: QueueName,
    },
    /// The worker would not run that message.
    #[error("the worker does not run job `{job}`: {problem}")]
    Refused {
        /// The name in the message; empty if it has none.
        job: String,
        /// Why.
        problem: String,
    },
    /// The args do not come back from the message as they went in.
    #[error("job `{job}` cannot read its own args back")]
    Unreadable {
        /// Which.
        job: &'static str,
        /// Where, and what is wrong with them.
        source: ArgsError,
    },
    /// A layer failed to become ready.
    #[error("a layer fails to become ready")]
    NotReady(#[source] BoxError),
}
