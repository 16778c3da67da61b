//! The identity that a process finds itself with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential,
};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tracing::{debug, warn};

/// How long a managed identity may take to answer for the first time. Off Azure nobody answers.
const PROBE: Duration = Duration::from_secs(5);

/// Workload identity, managed identity, developer tools: the first that gives a token is kept to.
#[derive(Debug)]
pub(crate) struct DefaultCredential {
    found: OnceCell<Arc<dyn TokenCredential>>,
}

impl DefaultCredential {
    pub(crate) fn new() -> Self {
        Self { found: OnceCell::new() }
    }

    /// Tries each source once. Their errors name what they looked for and hold no secret.
    async fn find(
        sources: impl IntoIterator<Item = (&'static str, Source)>,
        scopes: &[&str],
    ) -> azure_core::Result<(Arc<dyn TokenCredential>, AccessToken)> {
        for (name, source) in sources {
            let source = match source {
                Ok(source) => source,
                Err(error) => {
                    debug!(source = name, %error, "no identity here");
                    continue;
                }
            };
            match timeout(PROBE, source.get_token(scopes, None)).await {
                Ok(Ok(token)) => {
                    debug!(source = name, "found an identity");
                    return Ok((source, token));
                }
                Ok(Err(error)) => warn!(source = name, %error, "no token from this identity"),
                Err(_) => {
                    warn!(source = name, limit = ?PROBE, "no token from this identity in time")
                }
            }
        }
        Err(azure_core::Error::with_message(ErrorKind::Credential, "no identity gave a token"))
    }
}

type Source = azure_core::Result<Arc<dyn TokenCredential>>;

fn sources() -> [(&'static str, Source); 3] {
    let user_assigned = std::env::var("AZURE_CLIENT_ID").ok().filter(|id| !id.is_empty());
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: user_assigned.map(UserAssignedId::ClientId),
        ..Default::default()
    };
    [
        ("workload identity", WorkloadIdentityCredential::new(None).map(|c| c as _)),
        ("managed identity", ManagedIdentityCredential::new(Some(options)).map(|c| c as _)),
        ("developer tools", DeveloperToolsCredential::new(None).map(|c| c as _)),
    ]
}

#[async_trait]
impl TokenCredential for DefaultCredential {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if let Some(found) = self.found.get() {
            return found.get_token(scopes, options).await;
        }
        let (source, token) = Self::find(sources(), scopes).await?;
        // Two that search at once find the same.
        let _ = self.found.set(source);
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use azure_core::time::OffsetDateTime;

    use super::*;

    /// Gives a token of that name, fails, or never answers.
    #[derive(Debug)]
    enum Stub {
        Gives(&'static str),
        Fails,
        Hangs,
    }

    #[async_trait]
    impl TokenCredential for Stub {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            match self {
                Self::Gives(token) => Ok(AccessToken::new(*token, OffsetDateTime::now_utc())),
                Self::Fails => Err(no_token()),
                Self::Hangs => std::future::pending().await,
            }
        }
    }

    fn no_token() -> azure_core::Error {
        azure_core::Error::with_message(ErrorKind::Credential, "no")
    }

    async fn found(stubs: Vec<Option<Stub>>) -> Option<String> {
        let source = |stub: Option<Stub>| -> Source {
            stub.map(|stub| Arc::new(stub) as _).ok_or_else(no_token)
        };
        let sources = stubs.into_iter().map(|stub| ("stub", source(stub)));
        let (found, token) = DefaultCredential::find(sources, &["scope"]).await.ok()?;
        let again = found.get_token(&["scope"], None).await.unwrap();
        assert_eq!(again.token.secret(), token.token.secret(), "it is the one that gave it");
        Some(token.token.secret().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_gives_a_token_is_taken() {
        use Stub::*;
        let of = async |stubs| found(stubs).await;
        assert_eq!(of(vec![Some(Gives("a")), Some(Gives("b"))]).await.as_deref(), Some("a"));
        assert_eq!(of(vec![None, Some(Fails), Some(Gives("c"))]).await.as_deref(), Some("c"));
        assert_eq!(of(vec![Some(Hangs), Some(Gives("b"))]).await.as_deref(), Some("b"));
        assert_eq!(of(vec![None, Some(Fails), Some(Hangs)]).await, None);
    }
}
