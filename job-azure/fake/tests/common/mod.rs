//! A queue of a fake service, through the SDK's own client.

#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
use azure_core::{Error, Result};
use azure_storage_queue::models::{
    PeekedMessage, QueueClientPeekMessagesOptions, QueueClientReceiveMessagesOptions,
    QueueClientSendMessageOptions, QueueClientUpdateMessageOptions, QueueMessage, ReceivedMessage,
    SentMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use job_azure_fake::FakeService;

pub struct Sdk {
    pub fake: FakeService,
    pub client: QueueClient,
}

/// What a refused request says: status and code.
pub type Code = (u16, String);

pub fn client(fake: &FakeService, url: &str) -> QueueClient {
    let options = QueueClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(fake.clone()))),
            retry: RetryOptions::none(),
            ..Default::default()
        },
        ..Default::default()
    };
    QueueClient::new(Url::parse(url).unwrap(), None, Some(options)).unwrap()
}

pub fn queue(fake: &FakeService, name: &str) -> QueueClient {
    client(fake, &format!("https://account.queue.core.windows.net/{name}"))
}

/// A service with an empty queue `mail`.
pub async fn mail() -> Sdk {
    let sdk = Sdk::without_queue();
    sdk.client.create(None).await.unwrap();
    sdk
}

impl Sdk {
    pub fn without_queue() -> Self {
        let fake = FakeService::new();
        let client = queue(&fake, "mail");
        Self { fake, client }
    }

    pub async fn send(&self, text: &str) -> Result<SentMessage> {
        self.send_with(text, None, None).await
    }

    pub async fn send_with(
        &self,
        text: &str,
        delay: Option<i32>,
        ttl: Option<i32>,
    ) -> Result<SentMessage> {
        let options = QueueClientSendMessageOptions {
            visibility_timeout: delay,
            message_time_to_live: ttl,
            ..Default::default()
        };
        let sent = self.client.send_message(message(text).try_into()?, Some(options)).await?;
        sent.into_model()?.into_message()
    }

    pub async fn receive(&self, max: i32, lease: i32) -> Result<Vec<ReceivedMessage>> {
        self.receive_with(Some(max), Some(lease)).await
    }

    pub async fn receive_with(
        &self,
        max: Option<i32>,
        lease: Option<i32>,
    ) -> Result<Vec<ReceivedMessage>> {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: max,
            visibility_timeout: lease,
            ..Default::default()
        };
        let received = self.client.receive_messages(Some(options)).await?.into_model()?;
        Ok(received.items.unwrap_or_default())
    }

    /// The only message there is to receive.
    pub async fn receive_one(&self, lease: i32) -> ReceivedMessage {
        let mut received = self.receive(32, lease).await.unwrap();
        assert_eq!(received.len(), 1);
        received.remove(0)
    }

    pub async fn peek(&self, max: i32) -> Result<Vec<PeekedMessage>> {
        let options =
            QueueClientPeekMessagesOptions { number_of_messages: Some(max), ..Default::default() };
        let peeked = self.client.peek_messages(Some(options)).await?.into_model()?;
        Ok(peeked.items.unwrap_or_default())
    }

    /// Gives the new receipt.
    pub async fn update(
        &self,
        (id, receipt): (&str, &str),
        text: Option<&str>,
        lease: i32,
    ) -> Result<String> {
        let queue_message = text.map(|text| message(text).try_into()).transpose()?;
        let options = QueueClientUpdateMessageOptions { queue_message, ..Default::default() };
        let updated = self.client.update_message(id, receipt, lease, Some(options)).await?;
        let headers = updated.headers();
        assert!(headers.get_optional_string(&"x-ms-time-next-visible".into()).is_some());
        Ok(headers.get_str(&"x-ms-popreceipt".into())?.to_owned())
    }

    pub async fn delete(&self, (id, receipt): (&str, &str)) -> Result<()> {
        self.client.delete_message(id, receipt, None).await.map(drop)
    }

    /// The approximate count.
    pub async fn count(&self) -> Result<usize> {
        let properties = self.client.get_properties(None).await?;
        let count = "x-ms-approximate-messages-count".into();
        Ok(properties.headers().get_str(&count)?.parse().unwrap())
    }
}

pub fn message(text: &str) -> QueueMessage {
    QueueMessage { message_text: Some(text.to_owned()) }
}

/// A message's id and receipt.
pub fn held(message: &ReceivedMessage) -> (&str, &str) {
    (message.message_id.as_deref().unwrap(), message.pop_receipt.as_deref().unwrap())
}

pub fn text(message: &ReceivedMessage) -> &str {
    message.message_text.as_deref().unwrap_or_default()
}

pub fn texts(messages: &[ReceivedMessage]) -> Vec<&str> {
    messages.iter().map(text).collect()
}

#[track_caller]
pub fn code<T>(result: Result<T>) -> Code {
    let error = failure(result);
    match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            (u16::from(*status), error_code.clone().unwrap_or_default())
        }
        other => panic!("no answer of the service: {other:?}"),
    }
}

#[track_caller]
pub fn failure<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error,
    }
}

#[track_caller]
pub fn refused<T>(result: Result<T>, status: u16, expected: &str) {
    assert_eq!(code(result), (status, expected.to_owned()));
}
