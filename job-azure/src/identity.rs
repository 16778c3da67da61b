//! The identity that a process finds itself with.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::log;

/// How long a managed identity may take to answer for the first time. Off Azure nobody answers.
const PROBE: Duration = Duration::from_secs(5);

/// Workload identity, managed identity, developer tools: the first that gives a token is kept to.
#[derive(Debug)]
pub(crate) struct DefaultCredential {
    sources: fn() -> Vec<(&'static str, Source)>,
    found: OnceLock<Arc<dyn TokenCredential>>,
    /// The search, which may take longer than a request: it goes on when that has given up, and
    /// the next one waits for the rest of it. Never more than one.
    search: Mutex<JoinSet<azure_core::Result<Found>>>,
}

type Source = azure_core::Result<Arc<dyn TokenCredential>>;
type Found = (Arc<dyn TokenCredential>, AccessToken);

impl DefaultCredential {
    pub(crate) fn new() -> Self {
        Self::of(sources)
    }

    fn of(sources: fn() -> Vec<(&'static str, Source)>) -> Self {
        Self { sources, found: OnceLock::new(), search: Mutex::default() }
    }

    /// Tries each source once. Their errors name what they looked for and hold no secret.
    async fn find(
        sources: Vec<(&'static str, Source)>,
        scopes: &[&str],
    ) -> azure_core::Result<Found> {
        for (name, source) in sources {
            let source = match source {
                Ok(source) => source,
                Err(error) => {
                    log::identity_not_here(name, &error);
                    continue;
                }
            };
            match timeout(PROBE, source.get_token(scopes, None)).await {
                Ok(Ok(token)) => {
                    log::identity_found(name);
                    return Ok((source, token));
                }
                Ok(Err(error)) => log::identity_refused(name, &error),
                Err(_) => log::identity_late(name, PROBE),
            }
        }
        Err(nothing_found())
    }
}

fn nothing_found() -> azure_core::Error {
    azure_core::Error::with_message(ErrorKind::Credential, "no identity gave a token")
}

fn sources() -> Vec<(&'static str, Source)> {
    let user_assigned = std::env::var("AZURE_CLIENT_ID").ok().filter(|id| !id.is_empty());
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id: user_assigned.map(UserAssignedId::ClientId),
        ..Default::default()
    };
    vec![
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
        let mut search = self.search.lock().await;
        if let Some(found) = self.found.get() {
            drop(search);
            return found.get_token(scopes, options).await;
        }
        if search.is_empty() {
            let (sources, scopes) = ((self.sources)(), scopes.iter().map(|s| s.to_string()));
            let scopes: Vec<_> = scopes.collect();
            search.spawn(async move {
                let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
                Self::find(sources, &scopes).await
            });
        }
        // Its task fails where its runtime has ended.
        let found = search.join_next().await.and_then(Result::ok);
        let (source, token) = found.unwrap_or_else(|| Err(nothing_found()))?;
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
        let sources = stubs.into_iter().map(|stub| ("stub", source(stub))).collect();
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

    #[tokio::test(start_paused = true)]
    async fn a_search_outlasts_the_request_that_began_it() {
        let credential = DefaultCredential::of(|| {
            [Stub::Hangs, Stub::Gives("b")].map(|stub| ("stub", Ok(Arc::new(stub) as _))).into()
        });
        // As where nobody answers for a managed identity.
        let ask = || timeout(PROBE, credential.get_token(&["scope"], None));
        assert!(ask().await.is_err());
        let token = ask().await.expect("the rest of the search is short").unwrap();
        assert_eq!(token.token.secret(), "b");
        assert_eq!(ask().await.unwrap().unwrap().token.secret(), "b", "and it is kept to");
    }
}
