//! The [`Backend`]: each of its operations as a request.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::{
    ClientMethodOptions, ClientOptions, Context, RequestContent, RetryOptions, Transport, XmlFormat,
};
use azure_core::time::{OffsetDateTime, parse_rfc7231};
use azure_storage_queue::models::{
    QueueClientDeleteMessageOptions, QueueClientGetPropertiesResultHeaders,
    QueueClientPeekMessagesOptions, QueueClientReceiveMessagesOptions,
    QueueClientSendMessageOptions, QueueClientUpdateMessageOptions, QueueMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::{
    Backend, BackendError, Batch, Capabilities, Delivery, ErrorKind, ItemResult, MessageId,
    Outgoing, Peeked, QueueSpec, QueueStats, Receipt, ReceiveRequest,
};
use tokio::time::Instant;

use crate::account::{Account, Credentials};
use crate::encoding::{self, MAX_BODY, MAX_TEXT};
use crate::error;
use crate::retry::{Repeat, retry};
use crate::settings::{AzureBackendBuilder, Settings, SettingsError};
use crate::wire::{self, NEW_RECEIPT, NO_RECEIPT, PopReceipt};

/// The longest delay, lease and wait that the service knows.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most messages of one receive or peek.
const MOST: usize = 32;

const DATE: HeaderName = HeaderName::from_static("date");

/// What Functions and WebJobs keep for themselves begins so.
const HOST_QUEUES: &str = "azure-webjobs-";

/// A message that is never there. Asking to change it shows what the credentials allow.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const NOBODY_RECEIPT: &str = "AAAAAAAAAAA=";

/// Azure Queue Storage.
///
/// A clone is cheap and shares its connections. `Debug` shows no secret, no error and no log line
/// holds one.
///
/// ```no_run
/// use job_azure::{Account, AzureBackend, Encoding};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let account = Account::from_connection_string("UseDevelopmentStorage=true")?;
/// let backend = AzureBackend::builder(account).encoding(Encoding::Text).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AzureBackend {
    inner: Arc<Inner>,
}

struct Inner {
    account: Account,
    settings: Settings,
    capabilities: Capabilities,
    transport: Transport,
    /// A client each queue, made at first use.
    queues: RwLock<HashMap<QueueName, Arc<QueueClient>>>,
    clock: ServiceClock,
}

impl AzureBackend {
    /// The queue service of an account, with default settings.
    ///
    /// # Errors
    /// If this machine has no TLS.
    pub fn new(account: Account) -> Result<Self, SettingsError> {
        Self::builder(account).build()
    }

    /// The account of a connection string; see [`Account::from_connection_string`].
    ///
    /// # Errors
    /// If the string is malformed.
    pub fn from_connection_string(text: &str) -> Result<Self, SettingsError> {
        Self::new(Account::from_connection_string(text)?)
    }

    /// The account that the environment names; see [`Account::from_env`].
    ///
    /// # Errors
    /// If it names none, or what it says is malformed.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::new(Account::from_env()?)
    }

    /// Settings to change before it is made.
    pub fn builder(account: Account) -> AzureBackendBuilder {
        AzureBackendBuilder::new(account)
    }

    pub(crate) fn with_settings(
        account: Account,
        settings: Settings,
    ) -> Result<Self, SettingsError> {
        let transport = wire::transport(account.credentials(), settings.connect(&account)?);
        Ok(Self {
            inner: Arc::new(Inner {
                account,
                settings,
                capabilities: capabilities(),
                transport,
                queues: RwLock::default(),
                clock: ServiceClock::default(),
            }),
        })
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.inner.account
    }

    fn client(&self, queue: &QueueName) -> Result<Arc<QueueClient>, BackendError> {
        // The map is whole at every moment, whoever panicked.
        let queues = &self.inner.queues;
        if let Some(client) = queues.read().unwrap_or_else(PoisonError::into_inner).get(queue) {
            return Ok(Arc::clone(client));
        }
        if self.inner.account.only().is_some_and(|only| only != queue) {
            return Err(BackendError::new(ErrorKind::Unauthorized)
                .message("the SAS URL is for another queue; make one for the account"));
        }
        if queue.as_str().starts_with(HOST_QUEUES) {
            return Err(invalid("the queue belongs to the host of a Functions app; use another"));
        }
        let client = Arc::new(self.make_client(queue).map_err(|error| error::convert(&error))?);
        let mut queues = queues.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(queues.entry(queue.clone()).or_insert(client)))
    }

    fn make_client(&self, queue: &QueueName) -> azure_core::Result<QueueClient> {
        let Inner { account, settings, transport, .. } = &*self.inner;
        let mut options = QueueClientOptions {
            client_options: ClientOptions {
                // Ours knows what a lost answer means.
                retry: RetryOptions::none(),
                transport: Some(transport.clone()),
                ..Default::default()
            },
            ..Default::default()
        };
        if let Some(version) = &settings.api_version {
            options.version.clone_from(version);
        }
        let token = match account.credentials() {
            Credentials::Token(credential) => Some(Arc::clone(credential)),
            Credentials::SharedKey(_) | Credentials::Sas(_) => None,
        };
        QueueClient::new(account.queue_url(queue), token, Some(options))
    }

    /// Carries an operation out, with repetitions, and names it in its error.
    async fn run<T, F, Fut>(
        &self,
        operation: &'static str,
        queue: &QueueName,
        repeat: Repeat,
        request: F,
    ) -> Result<T, BackendError>
    where
        F: Fn(Arc<QueueClient>) -> Fut,
        Fut: Future<Output = azure_core::Result<T>>,
    {
        let result = match self.client(queue) {
            Err(error) => Err(error),
            Ok(client) => {
                let once = || {
                    // The SDK's futures are of several kilobytes, and would be moved from hand to
                    // hand on their way in here.
                    let request = Box::pin(request(Arc::clone(&client)));
                    async { request.await.map_err(|error| error::convert(&error)) }
                };
                retry(self.inner.settings.limits, repeat, once).await
            }
        };
        result.map_err(|error| error.operation(operation).queue(queue))
    }

    async fn send_one(
        &self,
        queue: &QueueName,
        message: &Outgoing,
    ) -> Result<MessageId, BackendError> {
        let named = |error: BackendError| error.operation("send").queue(queue);
        let text = self.encode(&message.body).map_err(named)?;
        let delay = delay_seconds(message.delay).map_err(named)?;
        let options = QueueClientSendMessageOptions {
            visibility_timeout: (delay > 0).then_some(delay),
            // The service's default is to drop it after a week.
            message_time_to_live: Some(message.ttl.map_or(-1, |ttl| seconds(ttl).max(1))),
            ..Default::default()
        };
        let content = content(text).map_err(named)?;
        let sent = self.run("send", queue, Repeat::Harmless, |client| {
            let (content, options) = (content.clone(), options.clone());
            async move {
                let response = client.send_message(content, Some(options)).await?;
                self.inner.clock.set(response.headers());
                response.into_model()
            }
        });
        let sent = sent.await?.items.unwrap_or_default().pop();
        sent.and_then(|sent| sent.message_id)
            .map(MessageId::from)
            .ok_or_else(|| named(unreadable("it names no message")))
    }

    /// Hides a message for `seconds` from now, with another body if there is one.
    async fn update(
        &self,
        operation: &'static str,
        receipt: &Receipt,
        text: Option<String>,
        seconds: i32,
    ) -> Result<Receipt, BackendError> {
        let queue = receipt.queue();
        let named = |error: BackendError| error.operation(operation).queue(queue);
        let (id, held) = parts(receipt).map_err(named)?;
        let content = text.map(content).transpose().map_err(named)?;
        let updated = self.run(operation, queue, Repeat::Harmless, |client| {
            let options = QueueClientUpdateMessageOptions {
                method_options: with_receipt(&held),
                queue_message: content.clone(),
                ..Default::default()
            };
            let id = &id;
            async move {
                let updated = client.update_message(id, NO_RECEIPT, seconds, Some(options)).await?;
                self.inner.clock.set(updated.headers());
                Ok(updated.headers().get_optional_string(&NEW_RECEIPT))
            }
        });
        let token = updated.await?.ok_or_else(|| named(unreadable("it holds no receipt")))?;
        Ok(Receipt::new(queue.clone(), receipt.message_id().clone(), token))
    }

    async fn delete_one(&self, receipt: &Receipt) -> Result<(), BackendError> {
        let queue = receipt.queue();
        let named = |error: BackendError| error.operation("delete").queue(queue);
        let (id, held) = parts(receipt).map_err(named)?;
        self.run("delete", queue, Repeat::Harmless, |client| {
            let options = QueueClientDeleteMessageOptions {
                method_options: with_receipt(&held),
                ..Default::default()
            };
            let id = &id;
            async move { client.delete_message(id, NO_RECEIPT, Some(options)).await.map(drop) }
        })
        .await
    }

    fn encode(&self, body: &[u8]) -> Result<String, BackendError> {
        encoding::encode(body, self.inner.settings.encoding).map_err(|too_long| {
            BackendError::new(ErrorKind::TooLarge).message(format!(
                "{} bytes as encoded, at most {MAX_TEXT}; keep the data elsewhere, send its key",
                too_long.0
            ))
        })
    }
}

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::minimal();
    capabilities.max_delay = LONGEST;
    capabilities.granularity = Duration::from_secs(1);
    capabilities.min_lease = Duration::from_secs(1);
    capabilities.max_lease = LONGEST;
    capabilities.max_body = MAX_BODY;
    capabilities.max_receive = MOST;
    capabilities.max_peek = MOST;
    capabilities.replace = true;
    capabilities.counts = true;
    capabilities.ttl = true;
    capabilities.remote = true;
    capabilities
}

#[async_trait]
impl Backend for AzureBackend {
    fn system(&self) -> &'static str {
        "azure_queue_storage"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    fn now(&self) -> SystemTime {
        self.inner.clock.now()
    }

    fn independent(&self) -> Option<Arc<dyn Backend>> {
        let Inner { account, settings, .. } = &*self.inner;
        if settings.http.is_some() {
            // The user's client has the connections, and the runtime that they live on.
            return None;
        }
        let own = Self::with_settings(account.clone(), settings.clone()).ok()?;
        Some(Arc::new(own))
    }

    async fn create_queue(&self, queue: &QueueName, _: &QueueSpec) -> Result<(), BackendError> {
        let created = self.run("create queue", queue, Repeat::Harmless, |client| async move {
            client.create(None).await.map(drop)
        });
        match created.await {
            // It is there, with metadata of somebody's.
            Err(error) if said(&error, "QueueAlreadyExists") => Ok(()),
            created => created,
        }
    }

    async fn check_access(&self, queue: &QueueName) -> Result<(), BackendError> {
        let named = |error: BackendError| error.operation("check access").queue(queue);
        if let Some(only) = self.inner.account.only() {
            let message = format!(
                "the SAS URL is for the queue `{only}` alone, and a worker also needs `{queue}-poison`; \
                 make one for the account"
            );
            return Err(named(BackendError::new(ErrorKind::Unauthorized).message(message)));
        }
        if let Credentials::Sas(sas) = self.inner.account.credentials()
            && let Some(lacking) = sas.lacks()
        {
            let message =
                format!("the SAS lacks the permission `{lacking}`; a worker needs `raup`");
            return Err(named(BackendError::new(ErrorKind::Unauthorized).message(message)));
        }
        // Whether it may is judged before whether there is such a message.
        let nobody = Receipt::new(queue.clone(), NOBODY, NOBODY_RECEIPT);
        for result in [self.delete_one(&nobody).await, self.release(&nobody, Duration::ZERO).await]
        {
            match result {
                Err(error) if error.kind() == ErrorKind::LeaseLost => {}
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                Err(error) => return Err(named(error)),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Vec<ItemResult<MessageId>> {
        match messages {
            [] => Vec::new(),
            [message] => vec![self.send_one(queue, message).await],
            _ => refuse("send", messages.len()),
        }
    }

    async fn receive(&self, request: ReceiveRequest) -> Result<Batch, BackendError> {
        let queue = &request.queue;
        let named = |error: BackendError| error.operation("receive").queue(queue);
        if request.max == 0 {
            return Err(named(invalid("a receive of no messages")));
        }
        let lease = lease_seconds(request.lease).map_err(named)?;
        let number = request.max.min(MOST) as i32;
        let received = self.run("receive", queue, Repeat::Harmful, |client| async move {
            let options = QueueClientReceiveMessagesOptions {
                number_of_messages: Some(number),
                visibility_timeout: Some(lease),
                ..Default::default()
            };
            let response = client.receive_messages(Some(options)).await?;
            self.inner.clock.set(response.headers());
            Ok((response.into_model()?, self.inner.clock.now()))
        });
        let (messages, now) = received.await?;
        let deliveries = messages.items.unwrap_or_default().into_iter().map(|message| {
            let id = message.message_id.ok_or("a message has no id")?;
            let token = message.pop_receipt.ok_or("a message has no receipt")?;
            let receipt = Receipt::new(queue.clone(), id, token);
            let body = encoding::decode(message.message_text.unwrap_or_default());
            let delivery = Delivery::new(receipt, instant(message.insertion_time, now), body);
            Ok(match count(message.dequeue_count) {
                Some(count) => delivery.count(count),
                None => delivery,
            })
        });
        let deliveries = deliveries.collect::<Result<_, &str>>();
        Ok(Batch::new(deliveries.map_err(|what| named(unreadable(what)))?, now))
    }

    async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Vec<ItemResult<Receipt>> {
        let [receipt] = receipts else { return refuse("renew", receipts.len()) };
        let named = |error: BackendError| error.operation("renew").queue(receipt.queue());
        vec![match lease_seconds(lease) {
            Ok(lease) => self.update("renew", receipt, None, lease).await,
            Err(error) => Err(named(error)),
        }]
    }

    async fn release(&self, receipt: &Receipt, delay: Duration) -> Result<(), BackendError> {
        let named = |error: BackendError| error.operation("release").queue(receipt.queue());
        let delay = delay_seconds(delay).map_err(named)?;
        self.update("release", receipt, None, delay).await.map(drop)
    }

    async fn replace(
        &self,
        receipt: &Receipt,
        body: Bytes,
        delay: Duration,
    ) -> Result<Receipt, BackendError> {
        let named = |error: BackendError| error.operation("replace").queue(receipt.queue());
        let text = self.encode(&body).map_err(named)?;
        let delay = delay_seconds(delay).map_err(named)?;
        self.update("replace", receipt, Some(text), delay).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<ItemResult<()>> {
        match receipts {
            [] => Vec::new(),
            [receipt] => vec![self.delete_one(receipt).await],
            _ => refuse("delete", receipts.len()),
        }
    }

    async fn peek(&self, queue: &QueueName, max: usize) -> Result<Vec<Peeked>, BackendError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let number = max.min(MOST) as i32;
        let peeked = self.run("peek", queue, Repeat::Harmless, |client| async move {
            let options = QueueClientPeekMessagesOptions {
                number_of_messages: Some(number),
                ..Default::default()
            };
            let response = client.peek_messages(Some(options)).await?;
            self.inner.clock.set(response.headers());
            response.into_model()
        });
        let now = self.now();
        let messages = peeked.await?.items.unwrap_or_default().into_iter();
        let peeked = messages.filter_map(|message| {
            let body = encoding::decode(message.message_text.unwrap_or_default());
            let inserted_at = instant(message.insertion_time, now);
            let peeked = Peeked::new(message.message_id?.into(), inserted_at, body);
            Some(match count(message.dequeue_count) {
                Some(count) => peeked.count(count),
                None => peeked,
            })
        });
        Ok(peeked.collect())
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BackendError> {
        let counted = self.run("stats", queue, Repeat::Harmless, |client| async move {
            client.get_properties(None).await?.approximate_messages_count()
        });
        let total = counted.await?.and_then(|count| u64::try_from(count).ok());
        Ok(QueueStats::new(total.unwrap_or_default()))
    }

    async fn purge(&self, queue: &QueueName) -> Result<Option<u64>, BackendError> {
        let purged = self.run("purge", queue, Repeat::Harmless, |client| async move {
            client.clear(None).await.map(drop)
        });
        purged.await.map(|()| None)
    }
}

/// What the service's clock says, as far as its answers told.
#[derive(Default)]
struct ServiceClock {
    /// The date of the last answer, and when it came.
    seen: Mutex<Option<(SystemTime, Instant)>>,
}

impl ServiceClock {
    fn set(&self, headers: &Headers) {
        let date = headers.get_optional_str(&DATE).and_then(|text| parse_rfc7231(text).ok());
        if let Some(date) = date {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Some((date.into(), Instant::now()));
        }
    }

    fn now(&self) -> SystemTime {
        match *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((date, at)) => date + at.elapsed(),
            None => SystemTime::now(),
        }
    }
}

fn with_receipt(receipt: &Arc<str>) -> ClientMethodOptions<'static> {
    ClientMethodOptions { context: Context::new().with_value(PopReceipt(Arc::clone(receipt))) }
}

/// The two parts of a receipt as the service knows them.
fn parts(receipt: &Receipt) -> Result<(String, Arc<str>), BackendError> {
    let foreign = || invalid("the receipt is of another backend");
    let token = receipt.token().as_text().ok_or_else(foreign)?;
    let id = receipt.message_id().to_string();
    // It becomes part of a path.
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain { Ok((id, token.into())) } else { Err(foreign()) }
}

fn content(text: String) -> Result<RequestContent<QueueMessage, XmlFormat>, BackendError> {
    let message = QueueMessage { message_text: Some(text) };
    message.try_into().map_err(|_| invalid("the body cannot be written as XML"))
}

fn count(dequeued: Option<i64>) -> Option<u32> {
    dequeued.map(|count| u32::try_from(count).unwrap_or(if count < 0 { 0 } else { u32::MAX }))
}

fn instant(time: Option<OffsetDateTime>, now: SystemTime) -> SystemTime {
    time.map_or(now, SystemTime::from)
}

/// Rounded up to what the service counts in.
fn seconds(span: Duration) -> i32 {
    let whole = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

fn delay_seconds(delay: Duration) -> Result<i32, BackendError> {
    if delay > LONGEST {
        let message =
            format!("a delay of {delay:?}, at most {LONGEST:?}; make longer ones of hops");
        return Err(invalid(message));
    }
    Ok(seconds(delay))
}

fn lease_seconds(lease: Duration) -> Result<i32, BackendError> {
    let shortest = Duration::from_secs(1);
    if lease < shortest || lease > LONGEST {
        return Err(invalid(format!(
            "a lease of {lease:?}, not within {shortest:?} to {LONGEST:?}"
        )));
    }
    Ok(seconds(lease))
}

fn said(error: &BackendError, code: &str) -> bool {
    let source = std::error::Error::source(error);
    let said = source.and_then(|source| source.downcast_ref::<error::ServiceError>());
    said.is_some_and(|said| said.code == code)
}

/// The answer to a request of more or fewer items than the one that the service takes.
fn refuse<T>(operation: &'static str, count: usize) -> Vec<ItemResult<T>> {
    let error = || invalid(format!("{count} items, at most 1 at once")).operation(operation);
    (0..count).map(|_| Err(error())).collect()
}

fn invalid(message: impl Into<String>) -> BackendError {
    BackendError::new(ErrorKind::Invalid).message(message)
}

/// An answer that is not what the service gives. It may have done what it was asked.
fn unreadable(what: &str) -> BackendError {
    BackendError::new(ErrorKind::Unavailable)
        .message(format!("its answer cannot be understood: {what}"))
}

impl fmt::Debug for AzureBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureBackend")
            .field("account", &self.inner.account)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_up_to_seconds() {
        let of = |millis| delay_seconds(Duration::from_millis(millis)).unwrap();
        assert_eq!([0, 1, 1000, 1001, 1999].map(of), [0, 1, 1, 2, 2]);
        let of = |millis| lease_seconds(Duration::from_millis(millis)).unwrap();
        assert_eq!([1000, 1001, 60_000].map(of), [1, 2, 60]);
    }

    #[test]
    fn a_receipt_cannot_lead_elsewhere() {
        let of = |id: &str| {
            let receipt = Receipt::new(QueueName::new("mail").unwrap(), id, "token");
            parts(&receipt).map(|(id, _)| id).map_err(|error| error.kind())
        };
        assert_eq!(of(NOBODY), Ok(NOBODY.to_owned()));
        for id in ["", "..", "a/b", "a?b", "a%2fb", "a b"] {
            assert_eq!(of(id), Err(ErrorKind::Invalid), "{id:?}");
        }
    }

    #[test]
    fn spans_beyond_the_service_are_refused() {
        let week = 7 * 24 * 3600;
        assert_eq!(delay_seconds(LONGEST).unwrap(), week);
        assert_eq!(lease_seconds(LONGEST).unwrap(), week);
        let more = LONGEST + Duration::from_nanos(1);
        assert_eq!(delay_seconds(more).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(lease_seconds(more).unwrap_err().kind(), ErrorKind::Invalid);
        let less = Duration::from_millis(999);
        assert_eq!(lease_seconds(less).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
