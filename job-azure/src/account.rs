//! A storage account: where it is, and what opens it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::Url;
use job_core::QueueName;

use crate::sas::Sas;
use crate::shared_key::SigningKey;
use crate::{connection_string, endpoint};

/// The queue service of a storage account, and credentials for it.
///
/// Nothing is sent when one is made: whether the credentials open anything shows with the first
/// request. `Debug` shows where it is and what kind of credentials it has.
///
/// ```
/// use job_azure::Account;
///
/// let azurite = Account::from_connection_string("UseDevelopmentStorage=true")?;
/// assert_eq!(azurite.endpoint(), "http://127.0.0.1:10001/devstoreaccount1");
/// # Ok::<(), job_azure::AccountError>(())
/// ```
#[derive(Clone)]
pub struct Account {
    endpoint: Url,
    credentials: Credentials,
    /// The only queue that the credentials are for.
    only: Option<QueueName>,
}

/// What opens an account.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// Requests are signed with the account's key.
    SharedKey(SigningKey),
    /// A signature is part of each URL.
    Sas(Sas),
    /// Tokens from Entra ID.
    Token(Arc<dyn TokenCredential>),
}

impl Credentials {
    pub(crate) fn shared_key(account: &str, key: Secret) -> Result<Self, AccountError> {
        let wrong = "is not base64; copy the whole key, its `=` signs included";
        let key = SigningKey::new(account, &key);
        key.map(Self::SharedKey).ok_or(AccountError::Part { part: "AccountKey", wrong })
    }
}

/// The variable with a connection string.
const CONNECTION_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";
/// The variable with the URL of a queue service.
const QUEUE_ENDPOINT: &str = "AZURE_STORAGE_QUEUE_ENDPOINT";

impl Account {
    /// Reads a connection string: with an account key or a shared access signature, or
    /// `UseDevelopmentStorage=true` for Azurite at its usual port. The parts may come in any order
    /// and case; those of other services are passed over.
    ///
    /// # Errors
    /// [`AccountError`] names the part that is missing, there twice or malformed. It repeats none
    /// of the string.
    pub fn from_connection_string(text: &str) -> Result<Self, AccountError> {
        let (endpoint, credentials) = connection_string::parse(text)?;
        Self::new(endpoint, credentials)
    }

    /// Reads a URL that ends in a shared access signature:
    /// `https://<account>.queue.core.windows.net/?sv=…&sig=…`. If it names a queue, it opens that
    /// queue alone; a worker needs two, so it wants one for the account.
    ///
    /// # Errors
    /// If it is no such URL, or its signature has expired or is for other services.
    pub fn from_sas_url(url: &str) -> Result<Self, AccountError> {
        let mut endpoint = endpoint::parse(url, "SAS URL")?;
        endpoint::require_tls(&endpoint)?;
        let sas = Sas::parse(endpoint.query().unwrap_or_default())?;
        endpoint.set_query(None);
        let only = take_queue(&mut endpoint)?;
        let account = Self::new(endpoint, Credentials::Sas(sas))?;
        Ok(Self { only, ..account })
    }

    /// Uses a credential of Entra ID, at `https://<account>.queue.core.windows.net`.
    ///
    /// # Errors
    /// If the endpoint is no https URL.
    pub fn from_credential(
        endpoint: &str,
        credential: Arc<dyn TokenCredential>,
    ) -> Result<Self, AccountError> {
        let endpoint = endpoint::parse(endpoint, "endpoint")?;
        if endpoint.scheme() != "https" {
            return Err(AccountError::Insecure);
        }
        Self::new(endpoint, Credentials::Token(credential))
    }

    /// Uses whatever identity this process finds itself with, in this order: the workload identity
    /// of a pod, a managed identity, the developer's own tools (`az login`, `azd auth login`).
    ///
    /// # Errors
    /// If the endpoint is no https URL. Whether there is an identity shows with the first request.
    #[cfg(feature = "identity")]
    pub fn from_identity(endpoint: &str) -> Result<Self, AccountError> {
        Self::from_credential(endpoint, Arc::new(crate::identity::DefaultCredential::new()))
    }

    /// Uses `AZURE_STORAGE_CONNECTION_STRING`, else `AZURE_STORAGE_QUEUE_ENDPOINT`: a SAS URL, or
    /// an endpoint for the identity of this process (feature `identity`).
    ///
    /// # Errors
    /// If neither is set, or what is set is malformed.
    pub fn from_env() -> Result<Self, AccountError> {
        Self::from_vars(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, AccountError> {
        let from =
            |variable| move |error| AccountError::Variable { variable, error: Box::new(error) };
        if let Some(text) = var(CONNECTION_STRING) {
            return Self::from_connection_string(&text).map_err(from(CONNECTION_STRING));
        }
        let endpoint = var(QUEUE_ENDPOINT).ok_or(AccountError::NoVariable)?;
        if endpoint.contains("sig=") {
            return Self::from_sas_url(&endpoint).map_err(from(QUEUE_ENDPOINT));
        }
        Self::by_identity(&endpoint).map_err(from(QUEUE_ENDPOINT))
    }

    #[cfg(feature = "identity")]
    fn by_identity(endpoint: &str) -> Result<Self, AccountError> {
        Self::from_identity(endpoint)
    }

    #[cfg(not(feature = "identity"))]
    fn by_identity(_: &str) -> Result<Self, AccountError> {
        Err(AccountError::NoIdentityFeature)
    }

    fn new(mut endpoint: Url, credentials: Credentials) -> Result<Self, AccountError> {
        if let Credentials::Sas(sas) = &credentials {
            sas.check(SystemTime::now())?;
        }
        endpoint.set_query(None);
        endpoint.set_fragment(None);
        Ok(Self { endpoint, credentials, only: None })
    }

    /// Where the queue service is.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    /// The URL of a queue.
    pub(crate) fn queue_url(&self, queue: &QueueName) -> Url {
        let mut url = self.endpoint.clone();
        // Only URLs that cannot be a base have no segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(queue.as_str());
        }
        url
    }

    /// Whether the service is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        endpoint::is_loopback(&self.endpoint)
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The only queue that the credentials are for.
    pub(crate) fn only(&self) -> Option<&QueueName> {
        self.only.as_ref()
    }
}

/// Takes the queue's name off the path of a SAS URL, if there is one.
fn take_queue(endpoint: &mut Url) -> Result<Option<QueueName>, AccountError> {
    let account = usize::from(endpoint::is_path_style(endpoint));
    let segments: Vec<_> = endpoint.path().split('/').filter(|s| !s.is_empty()).collect();
    let queue = match segments.len().saturating_sub(account) {
        0 => return Ok(None),
        1 => QueueName::new(segments[account]).ok(),
        _ => None,
    };
    let wrong = "has a path that is no queue's name";
    let queue = queue.ok_or(AccountError::Part { part: "SAS URL", wrong })?;
    let rest = segments[..account].join("/");
    endpoint.set_path(&rest);
    Ok(Some(queue))
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("endpoint", &self.endpoint.as_str())
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// Which kind, and nothing more: a credential of the user's may show more of itself than it should.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedKey(_) => "SharedKey",
            Self::Sas(_) => "Sas",
            Self::Token(_) => "Token",
        })
    }
}

/// Why an [`Account`] cannot be made of what was given. It repeats none of it.
///
/// `Debug` gives the text as well: that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The connection string is empty.
    #[error("the connection string is empty; copy it from the storage account's access keys")]
    Empty,
    /// The connection string is in quotes.
    #[error("the connection string is in quotes; remove them")]
    Quoted,
    /// There is a URL in place of a connection string.
    #[error(
        "this is a URL and no connection string; put it into AZURE_STORAGE_QUEUE_ENDPOINT, or use \
         `Account::from_sas_url`"
    )]
    IsUrl,
    /// A part of the connection string is no `Name=Value`.
    #[error(
        "the connection string's part {position} has no `=`; parts are `Name=Value`, with `;` between them"
    )]
    NoEquals {
        /// Which part, counted from 1.
        position: usize,
    },
    /// A part is missing.
    #[error("`{0}` is missing; copy the whole connection string")]
    Missing(&'static str),
    /// A part is there more than once.
    #[error("`{0}` is there twice; keep one")]
    Duplicate(&'static str),
    /// A part is malformed.
    #[error("`{part}` {wrong}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// Something that should be a URL is none.
    #[error("`{part}` is not a URL like `https://<account>.queue.core.windows.net`")]
    NotAUrl {
        /// Which part.
        part: &'static str,
    },
    /// There are neither a key nor a signature.
    #[error(
        "there is neither `AccountKey` nor `SharedAccessSignature`; copy the whole connection string"
    )]
    NoCredentials,
    /// There are both a key and a signature.
    #[error("there are both `AccountKey` and `SharedAccessSignature`; keep one")]
    TwoCredentials,
    /// Nothing says where the service is.
    #[error("nothing says where the queues are; add `QueueEndpoint` or `AccountName`")]
    NoEndpoint,
    /// The endpoint is not https.
    #[error("use https: http is for emulators on this machine only, and never for Entra ID")]
    Insecure,
    /// The shared access signature has expired.
    #[error("the shared access signature expired at {at}; make a new one")]
    SasExpired {
        /// When.
        at: String,
    },
    /// The shared access signature is for something else.
    #[error("the shared access signature is not for {0}; make a new one")]
    SasForOthers(&'static str),
    /// No variable says which account.
    #[error(
        "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_QUEUE_ENDPOINT to the URL of the queue service"
    )]
    NoVariable,
    /// A variable is malformed.
    #[error("{variable}: {error}")]
    Variable {
        /// Which.
        variable: &'static str,
        /// Why.
        error: Box<AccountError>,
    },
    /// The endpoint alone needs an identity.
    #[error(
        "an endpoint without a signature needs an identity; turn on job-azure's feature `identity`"
    )]
    NoIdentityFeature,
}

impl fmt::Debug for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sas_url(url: &str) -> Result<(String, Option<String>), String> {
        let account = Account::from_sas_url(url).map_err(|error| error.to_string())?;
        Ok((account.endpoint().to_owned(), account.only().map(ToString::to_string)))
    }

    #[test]
    fn a_sas_url_may_be_for_an_account_or_a_queue() {
        let (root, mail) = ("https://shop.queue.core.windows.net/", Some("mail".to_owned()));
        assert_eq!(sas_url(&format!("{root}?sv=1&sig=canary")), Ok((root.to_owned(), None)));
        assert_eq!(
            sas_url(&format!("{root}mail?sv=1&sig=canary")),
            Ok((root.to_owned(), mail.clone()))
        );
        let azurite = "http://127.0.0.1:10001/devstoreaccount1";
        assert_eq!(sas_url(&format!("{azurite}?sig=canary")), Ok((azurite.to_owned(), None)));
        assert_eq!(sas_url(&format!("{azurite}/mail?sig=canary")), Ok((azurite.to_owned(), mail)));
    }

    #[test]
    fn a_wrong_sas_url_is_not_repeated() {
        for (url, expected) in [
            ("canary", "not a URL"),
            ("ftp://canary.example.com?sig=1", "not a URL"),
            ("https://shop.queue.core.windows.net/", "no `sig`"),
            ("https://shop.queue.core.windows.net/mail/canary?sig=1", "no queue's name"),
            ("http://shop.queue.core.windows.net/?sig=canary", "use https"),
            ("https://canary:canary@shop.queue.core.windows.net/?sig=1", "user name"),
            (
                "https://shop.queue.core.windows.net/?sig=canary&se=2020-01-01",
                "expired at 2020-01-01",
            ),
        ] {
            let error = Account::from_sas_url(url).unwrap_err();
            assert!(error.to_string().contains(expected), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn the_environment_is_asked_in_order() {
        let of = |vars: &[(&str, &str)]| {
            let vars: Vec<_> = vars.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let var = move |name: &str| {
                vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            };
            let account = Account::from_vars(var).map_err(|error| error.to_string())?;
            Ok::<_, String>(account.endpoint().to_owned())
        };
        let development = "UseDevelopmentStorage=true";
        let azurite = "http://127.0.0.1:10001/devstoreaccount1";
        let sas = "https://shop.queue.core.windows.net/?sig=canary";
        assert_eq!(
            of(&[(CONNECTION_STRING, development), (QUEUE_ENDPOINT, sas)]),
            Ok(azurite.into())
        );
        assert_eq!(of(&[(QUEUE_ENDPOINT, sas)]), Ok("https://shop.queue.core.windows.net/".into()));
        assert!(of(&[]).unwrap_err().contains("set AZURE_STORAGE_CONNECTION_STRING"));
        let error = of(&[(CONNECTION_STRING, "AccountName=canary")]).unwrap_err();
        assert!(error.starts_with("AZURE_STORAGE_CONNECTION_STRING: "), "{error}");
    }

    #[test]
    fn a_main_that_returns_an_error_prints_what_to_do() {
        let error = Account::from_vars(|_| None).map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("set AZURE_STORAGE_CONNECTION_STRING, or "), "{text}");
        assert_eq!(format!("{error:?}"), text);
        assert_eq!(format!("{:?}", crate::SettingsError::from(error)), text);
    }

    #[test]
    fn debug_shows_where_and_what_kind() {
        let account = Account::from_sas_url("https://shop.queue.core.windows.net/?sig=canary");
        let shown = format!("{:?}", account.unwrap());
        assert!(shown.contains("shop.queue.core.windows.net") && shown.contains("Sas"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
