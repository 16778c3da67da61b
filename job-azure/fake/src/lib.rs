//! Azure Queue Storage in the process, with faults on request, for tests.
//!
//! A [`FakeService`] is an `HttpClient` of the Azure SDK: whatever sends its requests through the
//! SDK reaches it instead of the network, with the SDK's own URLs, headers and XML. It does what
//! the REST service is documented to do with messages: leases, receipts, delays, TTLs, limits,
//! error codes. It knows no access policies, changes of metadata, lists of queues nor properties of
//! the account.
//!
//! Time is tokio's. Under a paused clock (`#[tokio::test(start_paused = true)]`) leases and delays
//! of hours pass in no time, and a request that is never answered costs no more than the timeout
//! of whoever waits for it.
//!
//! ```
//! use std::sync::Arc;
//!
//! use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
//! use azure_storage_queue::models::QueueMessage;
//! use azure_storage_queue::{QueueClient, QueueClientOptions};
//! use job_azure_fake::{FakeService, Fault, Operation};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = FakeService::new();
//! let options = QueueClientOptions {
//!     client_options: ClientOptions {
//!         transport: Some(Transport::new(Arc::new(fake.clone()))),
//!         retry: RetryOptions::none(),
//!         ..Default::default()
//!     },
//!     ..Default::default()
//! };
//! let url = Url::parse("https://account.queue.core.windows.net/mail")?;
//! let mail = QueueClient::new(url, None, Some(options))?;
//! mail.create(None).await?;
//!
//! // The message is posted, and its sender does not know.
//! fake.fail_next(Operation::Send, Fault::LoseResponse);
//! let hello = QueueMessage { message_text: Some("hello".into()) };
//! assert!(mail.send_message(hello.try_into()?, None).await.is_err());
//! assert_eq!(fake.texts("mail"), ["hello"]);
//! assert_eq!(fake.calls().of(Operation::Send), 1);
//! # Ok(())
//! # }
//! ```
//!
//! | what goes wrong | is asked for by |
//! |---|---|
//! | any request, by a rule that sees each [`Call`] | [`faults`](FakeService::faults) |
//! | the next ones of an operation | [`fail_next`](FakeService::fail_next), [`fail_times`](FakeService::fail_times) |
//! | too many requests a second: 503 | [`ceiling`](FakeService::ceiling) |
//! | wrong credentials: 401 or 403 | [`require`](FakeService::require) |

mod access;
mod call;
mod ceiling;
mod clock;
mod error;
mod fake;
mod fault;
mod http;
mod queue;
mod service;
mod state;

pub use self::access::Refusal;
pub use self::call::{Call, Counts, Operation};
pub use self::fake::FakeService;
pub use self::fault::Fault;
