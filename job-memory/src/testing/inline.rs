//! Jobs that run at their enqueue: nothing of them is ever on a queue.

use std::future::IntoFuture;
use std::sync::{Arc, Weak};
use std::time::Duration;

use job_core::backend::{BackendError, ErrorKind, ItemResult, MessageId, Outgoing};
use job_core::{BoxError, Outcome, PerformError, QueueName, Worker};

use super::builder::SetUp;
use super::stage::Stage;
use super::text::chain;
use super::wire::Wire;

/// What becomes of a message that is sent.
pub(super) enum Fate {
    /// It was run, and this is the answer.
    Ran(ItemResult<MessageId>),
    /// It goes to its queue, with that delay.
    Queue(Duration),
}

/// How deep jobs may run within the enqueues of others: each is on the stack of the one before.
const DEEP: usize = 20;

tokio::task_local! {
    /// How many jobs this one runs within, itself included.
    static DEPTH: usize;
}

/// What runs jobs at their enqueue. The worker holds what holds this.
#[derive(Debug)]
pub(super) struct Inline {
    worker: Weak<Worker>,
    set_up: Weak<SetUp>,
}

impl Inline {
    pub(super) fn new(worker: &Arc<Worker>, set_up: &Arc<SetUp>) -> Self {
        Self { worker: Arc::downgrade(worker), set_up: Arc::downgrade(set_up) }
    }
}

/// Runs the message if jobs run inline and it is due.
pub(super) async fn run(stage: &Arc<Stage>, queue: &QueueName, message: &Outgoing) -> Fate {
    let later = Fate::Queue(message.delay);
    let inline = stage.inline().and_then(|it| Some((it.worker.upgrade()?, it.set_up.upgrade()?)));
    let Some((worker, set_up)) = inline else { return later };
    if !message.delay.is_zero() || queue.is_poison() {
        return later;
    }
    let fails = |what: &str, error: BoxError| {
        let failed = BackendError::new(ErrorKind::Other).operation("inline run").queue(queue);
        Fate::Ran(Err(failed.message(format!("{what}: {error}")).with_source(error)))
    };
    let cannot = |why: BoxError| fails("the job cannot run inline", why);
    let failed = |error: BoxError| fails("the job ran inline and failed", error);

    let wire = Wire::read(&message.body);
    let known = wire.name.as_deref().is_none_or(|name| set_up.runs(name));
    if !known && set_up.leaves_jobs_to_others() {
        return later;
    }
    let problem = wire.name.as_deref().filter(|_| !known).and_then(|name| set_up.why_not(name));
    if let Some(problem) = problem {
        return cannot(format!("{problem} to the builder of `TestJobs`").into());
    }
    if !stage.served().contains(queue) {
        return cannot(PerformError::NotServed { queue: queue.clone() }.into());
    }
    let depth = DEPTH.try_with(|depth| *depth).unwrap_or(0);
    if depth >= DEEP {
        return cannot(format!("jobs enqueue jobs more than {DEEP} deep; use `drain`").into());
    }
    // A queue that is not there yet is made by the client, as ever: something may go to it later.
    if !stage.is_created(queue) {
        return later;
    }
    let run = worker.perform_message(queue, message.body.clone()).into_future();
    let how = match DEPTH.scope(depth + 1, run).await {
        Ok(Outcome::Done) => "completed",
        Ok(Outcome::Discard { .. }) => "discarded",
        Ok(Outcome::Retry { error, .. } | Outcome::Permanent { error }) => return failed(error),
        Ok(Outcome::Snooze { delay }) => return Fate::Queue(delay),
        // A layer does not want it now, or it came too late.
        Ok(_) => return later,
        Err(PerformError::Refused { .. }) if known => return later,
        Err(error) => return cannot(chain(&error).into()),
    };
    let id = wire.id.map_or_else(|| "inline".to_owned(), |id| id.to_string());
    stage.book().passed_by(queue, wire, how);
    Fate::Ran(Ok(id.into()))
}
