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
            // Nearly no send needs the room for it.
            Box::pin(self.send_again(queue, seen, messages, missing, &mut results)).await;
        }
        self.after(queue, seen, messages, &results);
        results
    }

    /// Makes the queue that some of the messages did not find, and sends those once more.
    async fn send_again(
        &self,
        queue: &QueueName,
        seen: bool,
        messages: &[Outgoing],
        missing: Vec<usize>,
        results: &mut [Result<(), SendError>],
    ) {
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

    fn after(
        &self,
        queue: &QueueName,
        seen: bool,
        messages: &[Outgoing],
        results: &[Result<(), SendError>],
    ) {
        let mut visible = 0;
        let mut any = false;
        for (message, result) in messages.iter().zip(results) {
            any |= result.is_ok();
            visible += usize::from(result.is_ok() && message.delay.is_zero());
        }
        if any && !seen {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::futures::Notified;

    use super::*;
    use crate::backend::ReceiveRequest;
    use crate::backend::{Backend, Batch, Capabilities, Peeked, QueueStats, Receipt};
    use crate::{Job, JobId};

    /// Takes everything.
    #[derive(Debug)]
    struct Sink(Capabilities);

    #[async_trait::async_trait]
    impl Backend for Sink {
        fn system(&self) -> &'static str {
            "sink"
        }
        fn capabilities(&self) -> &Capabilities {
            &self.0
        }
        async fn create_queue(&self, _: &QueueName, _: &QueueSpec) -> Result<(), BackendError> {
            Ok(())
        }
        async fn send(&self, _: &QueueName, sent: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
            sent.iter().map(|_| Ok(1.into())).collect()
        }
        async fn receive(&self, _: ReceiveRequest) -> Result<Batch, BackendError> {
            Err(ErrorKind::Unsupported.into())
        }
        async fn renew(&self, _: &[Receipt], _: Duration) -> Vec<ItemResult<Receipt>> {
            Vec::new()
        }
        async fn release(&self, _: &Receipt, _: Duration) -> Result<(), BackendError> {
            Err(ErrorKind::Unsupported.into())
        }
        async fn replace(
            &self,
            _: &Receipt,
            _: bytes::Bytes,
            _: Duration,
        ) -> Result<Receipt, BackendError> {
            Err(ErrorKind::Unsupported.into())
        }
        async fn delete(&self, _: &[Receipt]) -> Vec<ItemResult<()>> {
            Vec::new()
        }
        async fn peek(&self, _: &QueueName, _: usize) -> Result<Vec<Peeked>, BackendError> {
            Err(ErrorKind::Unsupported.into())
        }
        async fn stats(&self, _: &QueueName) -> Result<QueueStats, BackendError> {
            Err(ErrorKind::Unsupported.into())
        }
        async fn purge(&self, _: &QueueName) -> Result<Option<u64>, BackendError> {
            Err(ErrorKind::Unsupported.into())
        }
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nop;

    impl Job for Nop {
        const NAME: &'static str = "nop";
    }

    fn is_rung(bell: &tokio::sync::Notify) -> bool {
        let mut notified: std::pin::Pin<Box<Notified<'_>>> = Box::pin(bell.notified());
        notified.as_mut().enable()
    }

    #[tokio::test]
    async fn only_what_is_visible_at_once_wakes_workers() {
        let client = Client::new(Sink(Capabilities::minimal()));
        let bell = client.wakers().subscribe(client.default_queue());
        let other = client.wakers().subscribe(&QueueName::new("other").unwrap());
        client.clone().enqueue(Nop).await.unwrap();
        assert!(is_rung(&bell) && !is_rung(&other));

        client.enqueue(Nop).delay(Duration::from_secs(1)).await.unwrap();
        let _unsent = client.enqueue(Nop);
        assert!(!is_rung(&bell));

        let moved = client.clone().with_default_queue("other").unwrap();
        let ids: Vec<JobId> = moved.enqueue_all([Nop, Nop]).await.unwrap();
        assert_eq!(ids.len(), 2);
        assert!(is_rung(&other) && !is_rung(&bell));
    }
}
