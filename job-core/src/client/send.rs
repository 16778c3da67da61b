//! The one way to a queue: sends, and makes the queue at first use.

use super::Client;
use super::error::{About, SendError};
use crate::QueueName;
use crate::backend::{BackendError, ErrorKind, ItemResult, MessageId, Outgoing, QueueSpec};

impl Client {
    /// Sends messages, no more than the backend takes at once, and wakes local workers. `seen`
    /// is whether the queue was known to exist before any of a call's requests.
    pub(super) async fn send(
        &self,
        queue: &QueueName,
        seen: bool,
        messages: &[Outgoing],
    ) -> Vec<Result<(), SendError>> {
        let results = self.send_once(queue, messages).await;
        let missing: Vec<_> = positions(&results, is_missing);
        let mut results: Vec<_> = results.into_iter().map(|r| judge(r, About::Message)).collect();
        if !missing.is_empty() {
            match self.make(queue, seen).await {
                Ok(()) => {
                    let again: Vec<_> = missing.iter().map(|i| messages[*i].clone()).collect();
                    let sent = self.send_once(queue, &again).await;
                    for (index, result) in missing.into_iter().zip(sent) {
                        results[index] = judge(result, About::Message);
                    }
                }
                Err((about, cause)) => {
                    if let Some(error) = cause {
                        results[missing[0]] = Err(SendError { error, about });
                    }
                    for index in missing {
                        if let Err(error) = &mut results[index] {
                            error.about = about;
                        }
                    }
                }
            }
        }
        self.after(queue, messages, &results);
        results
    }

    /// Makes a queue that a send did not find, unless it was there before.
    async fn make(
        &self,
        queue: &QueueName,
        seen: bool,
    ) -> Result<(), (About, Option<BackendError>)> {
        if seen {
            return Err((About::Vanished, None));
        }
        match self.backend().create_queue(queue, &QueueSpec::default()).await {
            Ok(()) => {
                self.known().insert(queue);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                Err((About::MayNotCreate, None))
            }
            Err(error) => Err((About::CreateFailed, Some(error))),
        }
    }

    /// As many results as messages, whatever the backend does.
    async fn send_once(
        &self,
        queue: &QueueName,
        messages: &[Outgoing],
    ) -> Vec<ItemResult<MessageId>> {
        let mut results = self.backend().send(queue, messages).await;
        results.truncate(messages.len());
        results.resize_with(messages.len(), || {
            Err(BackendError::new(ErrorKind::Other)
                .operation("send")
                .queue(queue)
                .message("the backend gave no result for this message")
                .with_outcome_unknown(true))
        });
        results
    }

    fn after(&self, queue: &QueueName, messages: &[Outgoing], results: &[Result<(), SendError>]) {
        let mut visible = 0;
        let mut any = false;
        for (message, result) in messages.iter().zip(results) {
            any |= result.is_ok();
            visible += usize::from(result.is_ok() && message.delay.is_zero());
        }
        if any {
            self.known().insert(queue);
        }
        if visible > 0 {
            self.wakers().wake(queue, visible);
        }
    }
}

fn is_missing(result: &ItemResult<MessageId>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::QueueNotFound)
}

fn positions<T>(items: &[T], wanted: impl Fn(&T) -> bool) -> Vec<usize> {
    items.iter().enumerate().filter(|(_, item)| wanted(item)).map(|(index, _)| index).collect()
}

fn judge(result: ItemResult<MessageId>, about: About) -> Result<(), SendError> {
    result.map(drop).map_err(|error| SendError { error, about })
}
