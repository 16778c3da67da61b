//! Jobs that run at their enqueue: nothing of them is ever on a queue.

use std::sync::Arc;
use std::time::Duration;

use job_core::backend::{BackendError, ErrorKind, ItemResult, MessageId, Outgoing};
use job_core::{BoxError, Outcome, PerformError, QueueName};

use super::stage::Stage;
use super::wire::Wire;

/// What becomes of a message that is sent.
pub(super) enum Fate {
    /// It was run, and this is the answer.
    Ran(ItemResult<MessageId>),
    /// It goes to its queue, with that delay.
    Queue(Duration),
}

/// Runs the message if jobs run inline and it is due.
pub(super) async fn run(stage: &Arc<Stage>, queue: &QueueName, message: &Outgoing) -> Fate {
    let later = Fate::Queue(message.delay);
    let Some(worker) = stage.inline_worker() else { return later };
    // A queue that is not there yet is made by the client, as ever: something may go to it later.
    let is_due = message.delay.is_zero() && stage.served().contains(queue);
    if !is_due || !stage.is_created(queue) {
        return later;
    }
    let failed = |error: BoxError| {
        let message = format!("the job ran inline and failed: {error}");
        let failed = BackendError::new(ErrorKind::Other).operation("inline run").queue(queue);
        Fate::Ran(Err(failed.message(message).with_source(error)))
    };
    let how = match worker.perform_message(queue, message.body.clone()).await {
        Ok(Outcome::Done) => "completed",
        Ok(Outcome::Discard { .. }) => "discarded",
        Ok(Outcome::Retry { error, .. } | Outcome::Permanent { error }) => return failed(error),
        Ok(Outcome::Snooze { delay }) => return Fate::Queue(delay),
        // It is for another worker, or a layer does not want it now.
        Ok(_) | Err(PerformError::Refused { .. }) => return later,
        Err(error) => return failed(error.into()),
    };
    let wire = Wire::read(&message.body);
    let id = wire.id.map_or_else(|| "inline".to_owned(), |id| id.to_string());
    stage.book().passed_by(queue, wire, how);
    Fate::Ran(Ok(id.into()))
}
