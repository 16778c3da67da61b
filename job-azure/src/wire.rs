//! The last step of every request: secrets are put in, and it is sent.
//!
//! The SDK logs URLs, receipts included, and keeps them in its errors. So it never gets to see any:
//! it is given placeholders, and this policy, which stands where its transport would, puts the
//! receipt, the signature or the key's proof into a copy that it alone holds. Tokens of Entra ID
//! are the SDK's own affair; it does not log them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, MS_DATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, HttpClient, Request, Transport};
use azure_core::time::to_rfc7231;

use crate::account::Credentials;
use crate::shared_key::Signed;

/// What the SDK is given instead of a receipt.
pub(crate) const NO_RECEIPT: &str = "-";

/// Where an update's new receipt is found. The service's own name for it is one that the SDK logs.
pub(crate) const NEW_RECEIPT: HeaderName = HeaderName::from_static("job-receipt");

const POP_RECEIPT: HeaderName = HeaderName::from_static("x-ms-popreceipt");

/// The receipt of a call, in its context.
pub(crate) struct PopReceipt(pub(crate) Arc<str>);

/// Sends requests with the credentials of an account.
pub(crate) fn transport(credentials: &Credentials, http: Arc<dyn HttpClient>) -> Transport {
    Transport::with_policy(Arc::new(Wire { credentials: credentials.clone(), http }))
}

struct Wire {
    credentials: Credentials,
    http: Arc<dyn HttpClient>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

#[async_trait]
#[allow(elided_lifetimes_in_paths, reason = "the trait's lifetimes are early-bound")]
impl Policy for Wire {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        _: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        let mut request = request.clone();
        if let Some(PopReceipt(receipt)) = context.value() {
            put_receipt(&mut request, receipt);
        }
        match &self.credentials {
            Credentials::SharedKey(key) => {
                request.insert_header(MS_DATE, to_rfc7231(&SystemTime::now().into()));
                let signature = key.authorization(&signed(&request));
                request.insert_header(AUTHORIZATION, signature);
            }
            Credentials::Sas(sas) => {
                let query = match request.url().query() {
                    Some(own) if !own.is_empty() => format!("{own}&{}", sas.query()),
                    _ => sas.query().to_owned(),
                };
                request.url_mut().set_query(Some(&query));
            }
            Credentials::Token(_) => {}
        }
        let response = self.http.execute_request(&request).await?;
        // To ask for a header that is not there makes an error, with a backtrace if those are on.
        if !response.headers().iter().any(|(name, _)| *name == POP_RECEIPT) {
            return Ok(response);
        }
        let (status, mut headers, body) = response.deconstruct();
        if let Some(receipt) = headers.remove(POP_RECEIPT) {
            headers.insert(NEW_RECEIPT, receipt);
        }
        // An answer with a receipt has no body.
        Ok(AsyncRawResponse::from_bytes(status, headers, body.collect().await?))
    }
}

/// Puts the receipt where the SDK has written the placeholder.
fn put_receipt(request: &mut Request, receipt: &str) {
    let Some(query) = request.url().query() else { return };
    let mut own = String::with_capacity(query.len() + 3 * receipt.len());
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            own.push('&');
        }
        match pair.strip_suffix(NO_RECEIPT) {
            Some("popreceipt=") => push_encoded(&mut own, "popreceipt=", receipt),
            _ => own.push_str(pair),
        }
    }
    request.url_mut().set_query(Some(&own));
}

/// As a query has it: all that could mean something there is written as its code.
fn push_encoded(query: &mut String, name: &str, value: &str) {
    query.push_str(name);
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => query.push(byte.into()),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
                query.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

fn signed(request: &Request) -> Signed<'_> {
    Signed {
        method: request.method().as_str(),
        url: request.url(),
        headers: request.headers().iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        body_len: request.body().len().unwrap_or_default(),
    }
}
