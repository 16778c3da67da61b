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
        &self,
        scopes: &[&str],
    ) -> azure_core::Result<(Arc<dyn TokenCredential>, AccessToken)> {
        for (name, source) in sources() {
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
        let (source, token) = self.find(scopes).await?;
        // Two that search at once find the same.
        let _ = self.found.set(source);
        Ok(token)
    }
}
