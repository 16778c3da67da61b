//! Azure Queue Storage for background jobs.
//!
//! [`AzureBackend`] is a [`Backend`](job_core::backend::Backend): give it to a client, and the
//! same code that runs on `job-memory` runs on a storage account or on Azurite.
//!
//! ```no_run
//! use job_azure::AzureBackend;
//! use job_core::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_QUEUE_ENDPOINT.
//! let client = Client::new(AzureBackend::from_env()?);
//! # Ok(())
//! # }
//! ```
//!
//! The SDK underneath logs each request that fails under the target `typespec_client_core` at
//! `info`, retried or not, and each one at `debug`. It knows no secrets, but it talks:
//! `RUST_LOG=info,typespec_client_core=warn` leaves it to this crate to say what matters. Its own
//! log lines, under the target `job_azure`, beside those of [`job_core::telemetry`]:
//!
#![doc = include_str!("log.md")]

mod account;
mod backend;
mod connection_string;
mod encoding;
mod endpoint;
mod error;
#[cfg(feature = "identity")]
mod identity;
mod log;
mod retry;
mod sas;
mod settings;
mod shared_key;
mod wire;

pub use azure_core::credentials::TokenCredential;
pub use azure_core::http::HttpClient;

pub use self::account::{Account, AccountError};
pub use self::backend::AzureBackend;
pub use self::encoding::Encoding;
pub use self::error::ServiceError;
pub use self::settings::{AzureBackendBuilder, SettingsError};

#[cfg(doctest)]
mod guide;
