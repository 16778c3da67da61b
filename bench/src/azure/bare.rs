//! What one would write by hand on the SDK: receive as many as one receive brings, run them, and
//! delete them all at once.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
use azure_storage_queue::models::{
    QueueClientReceiveMessagesOptions, QueueMessage, ReceivedMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use futures_util::future::try_join_all;

use super::MOST;
use super::traffic::Traffic;
use crate::finish::Tasks;
use crate::job::Args;

/// How long it waits when it finds nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// A client of one queue, which counts what it does.
#[derive(Clone)]
pub(super) struct Bare {
    client: Arc<QueueClient>,
    traffic: Arc<Traffic>,
}

impl Bare {
    /// Of the queue at that URL; over the SDK's own connections where there is no transport.
    pub(super) fn new(
        url: Url,
        transport: Option<Transport>,
        traffic: Arc<Traffic>,
    ) -> anyhow::Result<Self> {
        let retry = RetryOptions::none();
        let client_options = ClientOptions { transport, retry, ..Default::default() };
        let options = QueueClientOptions { client_options, ..Default::default() };
        Ok(Self { client: Arc::new(QueueClient::new(url, None, Some(options))?), traffic })
    }

    pub(super) async fn create_queue(&self) -> anyhow::Result<()> {
        self.client.create(None).await?;
        Ok(())
    }

    /// Sends the job with that number.
    pub(super) async fn send(&self, number: u64) -> anyhow::Result<()> {
        let text = serde_json::to_string(&Args::numbered(number))?;
        let message = QueueMessage { message_text: Some(text) };
        self.traffic.requested(1);
        self.client.send_message(message.try_into()?, None).await?;
        Ok(())
    }

    /// As many loops as it takes to have so many jobs at a time.
    pub(super) fn work(&self, concurrency: usize, tasks: &mut Tasks) {
        for _ in 0..concurrency.div_ceil(MOST) {
            let bare = self.clone();
            tasks.spawn(async move { bare.receive_and_delete(concurrency.min(MOST)).await });
        }
    }

    async fn receive_and_delete(&self, most: usize) -> anyhow::Result<()> {
        loop {
            let options = QueueClientReceiveMessagesOptions {
                number_of_messages: Some(i32::try_from(most)?),
                visibility_timeout: Some(60),
                ..Default::default()
            };
            self.traffic.requested(1);
            let received = self.client.receive_messages(Some(options)).await?.into_model()?;
            let messages = received.items.unwrap_or_default();
            if messages.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            try_join_all(messages.into_iter().map(|message| self.run_and_delete(message))).await?;
        }
    }

    async fn run_and_delete(&self, message: ReceivedMessage) -> anyhow::Result<()> {
        let args: Args = serde_json::from_str(&message.message_text.unwrap_or_default())?;
        args.run();
        let id = message.message_id.unwrap_or_default();
        let receipt = message.pop_receipt.unwrap_or_default();
        self.traffic.requested(1);
        self.client.delete_message(&id, &receipt, None).await?;
        self.traffic.deleted(1);
        Ok(())
    }
}
