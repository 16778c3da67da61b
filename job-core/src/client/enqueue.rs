//! Enqueueing one job.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tracing::Instrument;

use super::Client;
use super::call::{Args, ArgsText, Call, Plan};
use super::error::{Cause, EnqueueError};
use super::lazy::{BoxFuture, Lazy};
use crate::backend::Outgoing;
use crate::envelope::Pages;
use crate::telemetry::spans;
use crate::{Job, JobId, QueueName};

/// One job on its way to a queue: made by [`Client::enqueue`].
///
/// A future that owns all it needs and has no type parameters, so it can be spawned, kept, and
/// joined with others. The args are serialised when it is made, but nothing is sent until it is
/// awaited; whatever is wrong with the call comes out there too. Once it has been polled, its
/// settings no longer change anything. Dropping it midway leaves open whether the job was
/// enqueued.
///
/// ```
/// use std::time::Duration;
/// use job_core::{Client, EnqueueError, Job, JobId};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct SendWelcome { user_id: u64 }
/// # impl Job for SendWelcome { const NAME: &'static str = "send_welcome"; }
///
/// async fn sign_up(client: &Client) -> Result<JobId, EnqueueError> {
///     let welcome = client
///         .enqueue(SendWelcome { user_id: 42 })
///         .delay(Duration::from_secs(60))
///         .max_attempts(3)
///         .meta("tenant", "acme");
///     println!("the job will be {}", welcome.id());
///     welcome.await
/// }
/// ```
///
/// # Errors
/// An [`EnqueueError`], which carries the id and says whether the job was rejected or whether
/// nobody knows.
///
/// # Panics
/// If it is polled again after it has finished.
#[must_use = "a job is enqueued only when this is awaited"]
pub struct Enqueue {
    id: JobId,
    job: &'static str,
    lazy: Lazy<Draft, Result<JobId, EnqueueError>>,
}

struct Draft {
    client: Client,
    call: Call,
    text: ArgsText,
    args: Args,
}

impl Enqueue {
    pub(super) fn new<J: Job>(client: Client, job: J) -> Self {
        let mut text = ArgsText::default();
        let args = text.write(&job);
        let draft = Draft { client, call: Call::of::<J>(), text, args };
        Self { id: JobId::new(), job: J::NAME, lazy: Lazy::new(draft) }
    }

    /// The id that the job has: known before it is sent, and even if sending it fails.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Runs it no earlier than that much after it is sent. Instead of [`at`](Self::at).
    pub fn delay(self, delay: Duration) -> Self {
        self.configure(|draft| draft.call.delay(delay))
    }

    /// Runs it no earlier than at that time, by the backend's clock; at once if that has passed.
    /// Instead of [`delay`](Self::delay).
    pub fn at(self, at: SystemTime) -> Self {
        self.configure(|draft| draft.call.at(at))
    }

    /// Puts it on that queue, whatever the job or the client say. A name that no queue can have
    /// is an error when it is awaited.
    pub fn queue(self, name: impl AsRef<str>) -> Self {
        self.configure(|draft| draft.call.queue(&draft.client, name.as_ref()))
    }

    /// How often it is tried, the first time included, whatever the job says. Zero is an error
    /// when it is awaited.
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        self.configure(|draft| draft.call.max_attempts(max_attempts))
    }

    /// How long after it was sent it is still worth running, whatever the job says; later it is
    /// dropped, logged and counted. Zero, or no longer than the delay, is an error when it is
    /// awaited.
    pub fn expires_in(self, expires_in: Duration) -> Self {
        self.configure(|draft| draft.call.expires_in(expires_in))
    }

    /// Attaches a value that the handler finds with [`JobContext::meta`](crate::JobContext::meta).
    /// A key that is set again takes the new value.
    pub fn meta(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configure(|draft| draft.call.meta(key.into(), value.into()))
    }

    /// Takes the job for a part of that W3C trace, instead of the one that the current span belongs
    /// to with the feature `otel`: for tracers that know of no `tracing`. Nobody looks at it before
    /// the job runs, where what is no trace context is ignored.
    pub fn trace_context(self, traceparent: impl Into<String>, tracestate: Option<String>) -> Self {
        self.configure(|draft| draft.call.trace_context(traceparent.into(), tracestate))
    }

    /// Sends the args alone, as plain JSON without the envelope: what a
    /// [raw queue](crate::Queue::raw) takes, and what readers that know nothing of this crate do,
    /// such as the queue trigger of a Functions app.
    ///
    /// Such a message has no place for [`max_attempts`](Self::max_attempts),
    /// [`expires_in`](Self::expires_in), [`meta`](Self::meta), or a delay longer than the
    /// backend's longest: each is an error when it is awaited. Nor does it carry the name and the
    /// id: whoever reads it knows by the queue what it is, and the id says only which call of this
    /// program it was.
    ///
    /// ```
    /// # use job_core::{Client, EnqueueError, Job};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Resize { picture: String }
    /// # impl Job for Resize { const NAME: &'static str = "resize"; }
    /// async fn hand_over(client: &Client) -> Result<(), EnqueueError> {
    ///     let resize = Resize { picture: "cat.png".into() };
    ///     client.enqueue(resize).queue("functions-resize").raw().await?; // {"picture":"cat.png"}
    ///     Ok(())
    /// }
    /// ```
    pub fn raw(self) -> Self {
        self.configure(|draft| draft.call.raw())
    }

    /// The message that it would send, and the queue. Nothing is sent.
    ///
    /// # Panics
    /// If it has been polled.
    pub(crate) fn into_message(self) -> Result<(QueueName, Bytes), EnqueueError> {
        let id = self.id;
        let draft = self.lazy.into_draft().expect("it was not polled");
        let (_, plan, message) = message(id, draft).map_err(|(_, error)| error)?;
        Ok((plan.queue, message.body))
    }

    fn configure(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        self.lazy = self.lazy.configure(change);
        self
    }
}

impl Future for Enqueue {
    type Output = Result<JobId, EnqueueError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id;
        self.lazy.poll(cx, |draft| send(id, *draft))
    }
}

impl fmt::Debug for Enqueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enqueue")
            .field("id", &self.id)
            .field("job", &self.job)
            .field("state", &self.lazy)
            .finish_non_exhaustive()
    }
}

/// The message that the call comes to, and where it goes.
fn message(id: JobId, draft: Draft) -> Result<(Client, Plan, Outgoing), (Client, EnqueueError)> {
    let Draft { client, call, text, args } = draft;
    let job = call.job;
    let plan = match call.plan(&client) {
        Ok(plan) => plan,
        Err(invalid) => {
            let queue = call.queue_of(&client).ok();
            return Err((client, EnqueueError::new(id, job, queue, invalid)));
        }
    };
    let args = text.of(args).map_err(Cause::from);
    match args.and_then(|args| call.message(&plan, id, args, &mut Pages::new(1))) {
        Ok(message) => Ok((client, plan, message)),
        Err(cause) => Err((client, EnqueueError::new(id, job, Some(plan.queue), cause))),
    }
}

/// The message is made at once, so that of the draft nothing is left in the future.
fn send(id: JobId, draft: Draft) -> BoxFuture<Result<JobId, EnqueueError>> {
    let job = draft.call.job;
    let queue = || draft.call.queue_of(&draft.client).ok();
    let span = spans::enqueue(job, Some(id), 1, &**draft.client.backend(), queue);
    let (client, plan, message) = match span.span().in_scope(|| message(id, draft)) {
        Ok(message) => message,
        Err((client, error)) => {
            client.meters().enqueued(error.queue(), job, 0, 1);
            span.enqueued([&error].into_iter());
            return Box::pin(ready(Err(error)));
        }
    };
    let Plan { queue, seen, .. } = plan;
    Box::pin(async move {
        let sending = async { client.send(&queue, seen, &[message]).await };
        let mut sent = sending.instrument(span.span().clone()).await;
        let sent = sent.pop().expect("a result for each message");
        let (enqueued, failed) = (sent.is_ok().into(), sent.is_err().into());
        client.meters().enqueued(Some(&queue), job, enqueued, failed);
        let sent =
            sent.map_err(|error| EnqueueError::new(id, job, Some(queue), Cause::Send(error)));
        span.enqueued(sent.as_ref().err().into_iter());
        sent.map(|()| id)
    })
}
