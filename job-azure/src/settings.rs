//! What can be set about an [`AzureBackend`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::HttpClient;

use crate::account::Account;
use crate::encoding::Encoding;
use crate::retry::Limits;
use crate::{AccountError, AzureBackend};

/// Settings of an [`AzureBackend`]: made by [`AzureBackend::builder`].
#[derive(Clone)]
#[must_use = "call `build`"]
pub struct AzureBackendBuilder {
    pub(crate) account: Account,
    pub(crate) settings: Settings,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) encoding: Encoding,
    pub(crate) api_version: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) idle_connections: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) http: Option<Arc<dyn HttpClient>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encoding: Encoding::default(),
            api_version: None,
            connect_timeout: Duration::from_secs(3),
            limits: Limits { request: Duration::from_secs(5), operation: Duration::from_secs(12) },
            idle_connections: 256,
            idle_timeout: None,
            http: None,
        }
    }
}

/// Settings that cannot be.
///
/// `Debug` gives the text as well: that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The account is malformed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The API version is not a date.
    #[error("the API version is not a date like `2024-11-04`")]
    ApiVersion,
    /// A time limit is zero, or the one for a request longer than the one for an operation.
    #[error("time limits must be longer than zero, and a request's no longer than its operation's")]
    Timeout,
    /// HTTPS cannot be set up on this machine.
    #[error("this machine has no usable TLS set-up; are its root certificates installed?")]
    Tls,
}

impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl AzureBackendBuilder {
    pub(crate) fn new(account: Account) -> Self {
        Self { account, settings: Settings::default() }
    }

    /// How bodies are written into messages; base64 by default. Both are always read.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.settings.encoding = encoding;
        self
    }

    /// The version of the service's API, such as `2024-11-04`, for a service that does not know
    /// the SDK's.
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.settings.api_version = Some(version.into());
        self
    }

    /// How long a new connection may take; 3 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// How long one request may take, its connection and its answer included; 5 s by default.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.request = limit;
        self
    }

    /// How long an operation may take with all its repetitions; 12 s by default. Keep it below a
    /// quarter of the shortest lease.
    pub fn operation_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.operation = limit;
        self
    }

    /// How many idle connections are kept open; 256 by default.
    pub fn max_idle_connections(mut self, most: usize) -> Self {
        self.settings.idle_connections = most;
        self
    }

    /// How long an idle connection is kept; 60 s by default, 3 s on this machine, where emulators
    /// drop theirs after 5. Keep it below what the service or a firewall allows: a connection that
    /// is dropped just as it is used costs a request.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.idle_timeout = Some(limit);
        self
    }

    /// Sends requests with a client of your own: a proxy, other certificates, a fake for tests.
    /// Connection settings are then its affair, and the lease keeper shares it, on the worker's own
    /// runtime. It sees the credentials of every request.
    pub fn http_client(mut self, client: Arc<dyn HttpClient>) -> Self {
        self.settings.http = Some(client);
        self
    }

    /// Makes the backend. Nothing is sent yet.
    ///
    /// # Errors
    /// If a setting cannot be, or this machine has no TLS.
    pub fn build(self) -> Result<AzureBackend, SettingsError> {
        let Settings { limits, connect_timeout, api_version, .. } = &self.settings;
        let spans = [limits.request, limits.operation, *connect_timeout];
        if spans.contains(&Duration::ZERO) || limits.request > limits.operation {
            return Err(SettingsError::Timeout);
        }
        if api_version.as_ref().is_some_and(|version| !is_date(version)) {
            return Err(SettingsError::ApiVersion);
        }
        AzureBackend::with_settings(self.account, self.settings)
    }
}

fn is_date(text: &str) -> bool {
    let digit_or_dash = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(digit_or_dash)
}

impl Settings {
    /// A client with connections of its own.
    pub(crate) fn connect(&self, account: &Account) -> Result<Arc<dyn HttpClient>, SettingsError> {
        if let Some(http) = &self.http {
            return Ok(Arc::clone(http));
        }
        let idle_timeout = self.idle_timeout.unwrap_or(match account.is_local() {
            true => Duration::from_secs(3),
            false => Duration::from_secs(60),
        });
        let mut client = reqwest::Client::builder();
        if account.is_local() {
            // Nor may a proxy see what goes over plain http.
            client = client.no_proxy();
        }
        let client = client
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.idle_connections)
            .pool_idle_timeout(idle_timeout)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|_| SettingsError::Tls)?;
        Ok(Arc::new(client))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("encoding", &self.encoding)
            .field("api_version", &self.api_version)
            .field("connect_timeout", &self.connect_timeout)
            .field("limits", &self.limits)
            .field("idle_connections", &self.idle_connections)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AzureBackendBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureBackendBuilder")
            .field("account", &self.account)
            .field("settings", &self.settings)
            .finish()
    }
}
