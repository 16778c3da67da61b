//! Enqueueing many jobs at once.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tracing::Instrument;

use super::Client;
use super::call::{Args, ArgsText, Call, Plan};
use super::concurrent::{IN_FLIGHT, ordered};
use super::error::{Cause, EnqueueError, EnqueueErrorKind};
use super::lazy::Lazy;
use crate::backend::ErrorKind;
use crate::envelope::Pages;
use crate::telemetry::spans;
use crate::{Job, JobId};

/// How many requests in a row may fail as a whole before the rest is not tried: each may have
/// taken its full time limit, and there may be a million to come.
const HOPELESS: usize = IN_FLIGHT;

/// Many jobs on their way to a queue: made by [`Client::enqueue_all`].
///
/// Like [`Enqueue`](super::Enqueue) it owns all it needs and sends nothing until it is awaited;
/// its settings hold for all of the jobs. Where the backend takes one message a request, several
/// requests are under way at once. A job that does not serialise or is too large fails alone.
///
/// # Errors
/// An [`EnqueueAllError`] with a result for each job, if any of them failed.
///
/// # Panics
/// If it is polled again after it has finished.
#[must_use = "jobs are enqueued only when this is awaited"]
pub struct EnqueueAll {
    job: &'static str,
    lazy: Lazy<Draft, Result<Vec<JobId>, EnqueueAllError>>,
}

struct Draft {
    client: Client,
    call: Call,
    text: ArgsText,
    items: Vec<Item>,
}

type Item = (JobId, Args);

impl EnqueueAll {
    pub(super) fn new<J: Job>(client: Client, jobs: impl IntoIterator<Item = J>) -> Self {
        let mut text = ArgsText::default();
        let items = jobs.into_iter().map(|job| (JobId::new(), text.write(&job))).collect();
        let draft = Draft { client, call: Call::of::<J>(), text, items };
        Self { job: J::NAME, lazy: Lazy::new(draft) }
    }

    /// The ids that the jobs have, in their order. Empty once it has been polled.
    pub fn ids(&self) -> impl Iterator<Item = JobId> {
        self.lazy.draft().into_iter().flat_map(|draft| draft.items.iter().map(|(id, _)| *id))
    }

    /// Runs them no earlier than that much after they are sent. Instead of [`at`](Self::at).
    pub fn delay(self, delay: Duration) -> Self {
        self.configure(|draft| draft.call.delay(delay))
    }

    /// Runs them no earlier than at that time, by the backend's clock; at once if that has
    /// passed. Instead of [`delay`](Self::delay).
    pub fn at(self, at: SystemTime) -> Self {
        self.configure(|draft| draft.call.at(at))
    }

    /// Puts them on that queue, whatever the job or the client say.
    pub fn queue(self, name: impl AsRef<str>) -> Self {
        self.configure(|draft| draft.call.queue(&draft.client, name.as_ref()))
    }

    /// How often each is tried, the first time included, whatever the job says; at least 1.
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        self.configure(|draft| draft.call.max_attempts(max_attempts))
    }

    /// How long after they were sent they are still worth running, whatever the job says. Not
    /// zero, and longer than the delay.
    pub fn expires_in(self, expires_in: Duration) -> Self {
        self.configure(|draft| draft.call.expires_in(expires_in))
    }

    /// Attaches a value to each of them.
    pub fn meta(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configure(|draft| draft.call.meta(key.into(), value.into()))
    }

    /// Takes the jobs for a part of that W3C trace: see
    /// [`Enqueue::trace_context`](super::Enqueue::trace_context).
    pub fn trace_context(self, traceparent: impl Into<String>, tracestate: Option<String>) -> Self {
        self.configure(|draft| draft.call.trace_context(traceparent.into(), tracestate))
    }

    /// Sends the args of each alone, as plain JSON: see [`Enqueue::raw`](super::Enqueue::raw).
    pub fn raw(self) -> Self {
        self.configure(|draft| draft.call.raw())
    }

    fn configure(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        self.lazy = self.lazy.configure(change);
        self
    }
}

impl Future for EnqueueAll {
    type Output = Result<Vec<JobId>, EnqueueAllError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.lazy.poll(cx, |draft| Box::pin(send_all(*draft)))
    }
}

impl fmt::Debug for EnqueueAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnqueueAll")
            .field("job", &self.job)
            .field("state", &self.lazy)
            .finish_non_exhaustive()
    }
}

/// Some of the jobs of an [`enqueue_all`](Client::enqueue_all) were not enqueued, or nobody knows
/// of them.
#[derive(Debug)]
pub struct EnqueueAllError {
    results: Vec<Result<JobId, EnqueueError>>,
}

impl EnqueueAllError {
    /// What became of each job, in their order.
    pub fn results(&self) -> &[Result<JobId, EnqueueError>] {
        &self.results
    }

    /// What became of each job, in their order.
    pub fn into_results(self) -> Vec<Result<JobId, EnqueueError>> {
        self.results
    }

    /// The errors among the results, in order; at least one.
    pub fn errors(&self) -> impl Iterator<Item = &EnqueueError> {
        self.results.iter().filter_map(|result| result.as_ref().err())
    }
}

impl fmt::Display for EnqueueAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, all) = (self.errors().count(), self.results.len());
        write!(f, "{failed} of {all} jobs failed to be enqueued")?;
        let unknown = self.errors().filter(|e| e.kind() == EnqueueErrorKind::Unknown).count();
        if unknown > 0 {
            write!(f, " ({unknown} of them may be on the queue all the same)")?;
        }
        match self.errors().next() {
            Some(first) => write!(f, "; the first: {first}"),
            None => Ok(()),
        }
    }
}

impl StdError for EnqueueAllError {
    /// The cause of the first error, whose own text is part of this one's.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.errors().next().and_then(StdError::source)
    }
}

/// What the requests of one call share.
struct Shared {
    client: Client,
    call: Call,
    plan: Plan,
    text: ArgsText,
    /// How many requests in a row have failed as a whole.
    failures: AtomicUsize,
}

async fn send_all(draft: Draft) -> Result<Vec<JobId>, EnqueueAllError> {
    let Draft { client, call, text, items } = draft;
    let queue = || call.queue_of(&client).ok();
    let span = spans::enqueue(call.job, None, items.len(), &**client.backend(), queue);
    let results: Vec<_> = match span.span().in_scope(|| call.plan(&client)) {
        Err(invalid) => {
            let queue = call.queue_of(&client).ok();
            client.meters().enqueued(queue.as_ref(), call.job, 0, items.len());
            let fail = |id| EnqueueError::new(id, call.job, queue.clone(), invalid.clone());
            items.into_iter().map(|(id, _)| Err(fail(id))).collect()
        }
        Ok(plan) => {
            let (queue, job, meters) = (plan.queue.clone(), call.job, client.clone());
            let capabilities = client.backend().capabilities();
            let chunk = capabilities.max_send.max(1);
            let limit = if capabilities.remote { IN_FLIGHT } else { 1 };
            let shared = Shared { client, call, plan, text, failures: AtomicUsize::new(0) };
            let requests = chunks(items, chunk).map(|items| shared.send(items));
            let requests = ordered(requests, limit).instrument(span.span().clone());
            let results: Vec<_> = requests.await.into_iter().flatten().collect();
            let failed = results.iter().filter(|result| result.is_err()).count();
            meters.meters().enqueued(Some(&queue), job, results.len() - failed, failed);
            results
        }
    };
    span.enqueued(results.iter().filter_map(|result| result.as_ref().err()));
    if results.iter().any(Result::is_err) {
        return Err(EnqueueAllError { results });
    }
    Ok(results.into_iter().flatten().collect())
}

fn chunks(items: Vec<Item>, size: usize) -> impl Iterator<Item = Vec<Item>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<_> = items.by_ref().take(size).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

impl Shared {
    /// Sends one request's worth.
    async fn send(&self, items: Vec<Item>) -> Vec<Result<JobId, EnqueueError>> {
        let hopeless = self.failures.load(Ordering::Relaxed) >= HOPELESS;
        let mut messages = Vec::with_capacity(items.len());
        let mut results = Vec::with_capacity(items.len());
        let mut sent = Vec::with_capacity(items.len());
        let mut pages = Pages::new(items.len());
        for (index, (id, args)) in items.into_iter().enumerate() {
            let args = self.text.of(args).map_err(Cause::from);
            let message = args.and_then(|args| self.call.message(&self.plan, id, args, &mut pages));
            results.push(match message {
                Ok(_) if hopeless => Err(self.error(id, Cause::NotTried)),
                Ok(message) => {
                    messages.push(message);
                    sent.push(index);
                    Ok(id)
                }
                Err(cause) => Err(self.error(id, cause)),
            });
        }
        if messages.is_empty() {
            return results;
        }

        let answers = self.client.send(&self.plan.queue, self.plan.seen, &messages).await;
        let mut all_failed = true;
        for (index, answer) in sent.into_iter().zip(answers) {
            match (answer, &results[index]) {
                (Err(error), Ok(id)) => {
                    // These say something about one message, and nothing about the next.
                    let own = [ErrorKind::TooLarge, ErrorKind::Invalid];
                    all_failed &= !own.contains(&error.error.kind());
                    results[index] = Err(self.error(*id, Cause::Send(error)));
                }
                _ => all_failed = false,
            }
        }
        if all_failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            self.failures.store(0, Ordering::Relaxed);
        }
        results
    }

    fn error(&self, id: JobId, cause: Cause) -> EnqueueError {
        EnqueueError::new(id, self.call.job, Some(self.plan.queue.clone()), cause)
    }
}
