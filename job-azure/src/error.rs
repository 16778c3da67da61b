//! The one place where the SDK's errors become the framework's.
//!
//! The SDK's hold whole responses, URLs with their signatures, and bodies that could not be parsed.
//! Of all that only the service's error code, status and request id are taken over, and of an
//! operating system's error its kind.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use azure_core::error::ErrorKind as SdkKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::{ERROR_CODE, HeaderName, Headers, RETRY_AFTER};
use azure_core::time::parse_rfc7231;
use job_core::backend::{BackendError, ErrorKind};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const RETRY_AFTER_MS: [HeaderName; 2] =
    [HeaderName::from_static("x-ms-retry-after-ms"), HeaderName::from_static("retry-after-ms")];

/// What the service said when it refused a request: the source of a [`BackendError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service answered {status} {code}, request id {request_id}")]
#[non_exhaustive]
pub struct ServiceError {
    /// The HTTP status.
    pub status: u16,
    /// The service's error code, such as `QueueBeingDeleted`; `unknown` if it gave none.
    pub code: String,
    /// The service's name for the request, for its support; `unknown` if it gave none.
    pub request_id: String,
}

/// What an SDK error says, as far as it may be told. The caller adds operation and queue.
pub(crate) fn convert(error: &azure_core::Error) -> BackendError {
    match error.kind() {
        SdkKind::HttpResponse { status, error_code, raw_response } => {
            let response = raw_response.as_deref();
            let said = ServiceError {
                status: u16::from(*status),
                code: code_of(error_code.as_deref(), response),
                request_id: response
                    .and_then(|response| response.headers().get_optional_str(&REQUEST_ID))
                    .map_or_else(|| "unknown".to_owned(), plain_word),
            };
            let mut error = BackendError::new(kind_of(said.status, &said.code));
            if let Some(hint) = hint(&said.code) {
                error = error.message(hint);
            }
            if let Some(after) = response.and_then(|r| retry_after(r.headers(), SystemTime::now()))
            {
                error = error.with_retry_after(after);
            }
            error.with_source(said)
        }
        SdkKind::Connection => BackendError::new(ErrorKind::Unavailable)
            .message(connection_failed(error))
            .with_outcome_unknown(false),
        SdkKind::Io => {
            let what = os_error(error).map_or_else(String::new, |kind| format!(": {kind}"));
            BackendError::new(ErrorKind::Unavailable).message(format!("the connection broke{what}"))
        }
        // An answer that is not the service's own: a proxy's page, or one cut short.
        SdkKind::DataConversion => BackendError::new(ErrorKind::Unavailable)
            .message("its answer could not be read; is there a proxy in between?"),
        SdkKind::Credential => BackendError::new(ErrorKind::Unavailable)
            .message("the credential gave no token; check the identity of this process")
            .with_outcome_unknown(false),
        SdkKind::Other => BackendError::new(ErrorKind::Other),
    }
}

/// The error code of a refusal. The SDK has it from a header, or else puts something in its place.
fn code_of(from_sdk: Option<&str>, response: Option<&RawResponse>) -> String {
    let header = response.and_then(|response| response.headers().get_optional_str(&ERROR_CODE));
    let body = || {
        let text = std::str::from_utf8(response?.body()).ok()?;
        let (_, rest) = text.split_once("<Code>")?;
        rest.split_once("</Code>").map(|(code, _)| code)
    };
    let code = header.or_else(body).or(from_sdk.filter(|code| !code.contains(' ')));
    code.map_or_else(|| "unknown".to_owned(), plain_word)
}

/// Whatever a proxy may have put there, it is printed as one short word.
fn plain_word(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let word: String = text.chars().filter(plain).take(64).collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

/// What an error code means for the framework.
///
/// <https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes> and
/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>.
fn kind_of(status: u16, code: &str) -> ErrorKind {
    match code {
        // A stale receipt is documented as the first and seen as the second.
        "PopReceiptMismatch" | "MessageNotFound" => ErrorKind::LeaseLost,
        "QueueNotFound" => ErrorKind::QueueNotFound,
        "MessageTooLarge" | "RequestBodyTooLarge" => ErrorKind::TooLarge,
        "ServerBusy" | "TooManyRequests" | "AccountBeingCreated" => ErrorKind::Throttled,
        // For half a minute or more after a delete the name cannot be used.
        "QueueBeingDeleted" | "QueueDisabled" => ErrorKind::Throttled,
        "OperationTimedOut" => ErrorKind::Timeout,
        "InternalError" => ErrorKind::Unavailable,
        "AuthenticationFailed"
        | "AccountIsDisabled"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "AuthorizationProtocolMismatch"
        | "AuthorizationResourceTypeMismatch"
        | "AuthorizationServiceMismatch"
        | "AuthorizationSourceIPMismatch"
        | "InsufficientAccountPermissions"
        | "InvalidAuthenticationInfo"
        | "KeyBasedAuthenticationNotPermitted"
        | "NoAuthenticationInformation"
        | "PublicAccessNotPermitted" => ErrorKind::Unauthorized,
        _ => match status {
            401 | 403 => ErrorKind::Unauthorized,
            408 | 504 => ErrorKind::Timeout,
            413 => ErrorKind::TooLarge,
            429 => ErrorKind::Throttled,
            500.. => ErrorKind::Unavailable,
            400..500 => ErrorKind::Invalid,
            _ => ErrorKind::Other,
        },
    }
}

/// What to do about it, where the kind alone does not say.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => {
            "the key or signature is wrong or has expired, or this machine's clock is off"
        }
        "AuthorizationPermissionMismatch"
        | "AuthorizationFailure"
        | "InsufficientAccountPermissions" => {
            "the credentials do not allow this: a worker's identity needs the role Storage Queue \
             Data Contributor, a sender's Storage Queue Data Message Sender; a SAS needs `raup`"
        }
        "AuthorizationResourceTypeMismatch" | "AuthorizationServiceMismatch" => {
            "the shared access signature is for something else"
        }
        "AuthorizationProtocolMismatch" => "the shared access signature is for https only",
        "AuthorizationSourceIPMismatch" => "this machine's address is not allowed",
        "KeyBasedAuthenticationNotPermitted" => {
            "the account takes no keys; use an identity of Entra ID"
        }
        "NoAuthenticationInformation" | "PublicAccessNotPermitted" => "there are no credentials",
        "AccountIsDisabled" => "the storage account is disabled",
        "QueueBeingDeleted" => "the queue is being deleted; its name is free again in a minute",
        "QueueAlreadyExists" => "the queue is there with other metadata",
        "InvalidHeaderValue" => "does the service know the API version that is set?",
        "InvalidResourceName" => "the service refuses the queue's name",
        _ => return None,
    })
}

/// How long the service asks to wait.
fn retry_after(headers: &Headers, now: SystemTime) -> Option<Duration> {
    let millis = RETRY_AFTER_MS.iter().find_map(|name| headers.get_optional_str(name));
    if let Some(millis) = millis.and_then(|text| text.trim().parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let text = headers.get_optional_str(&RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = SystemTime::from(parse_rfc7231(text).ok()?);
    Some(at.duration_since(now).unwrap_or_default())
}

fn connection_failed(error: &azure_core::Error) -> String {
    const ADVICE: &str = "check the account's name, DNS, firewall and whether it runs";
    match os_error(error) {
        Some(kind) => format!("no connection: {kind}; {ADVICE}"),
        None => format!("no connection; {ADVICE}"),
    }
}

/// The kind of the operating system's error at the bottom. Its text would be the system's own, but
/// nobody knows what others make an [`io::Error`] of.
fn os_error(error: &azure_core::Error) -> Option<io::ErrorKind> {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    let mut found = None;
    while let Some(error) = source {
        found = error.downcast_ref::<io::Error>().map(io::Error::kind).or(found);
        source = error.source();
    }
    found.filter(|kind| *kind != io::ErrorKind::Other)
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;

    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> BackendError {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.insert(*name, *value);
        }
        let status = StatusCode::from(status);
        let raw = RawResponse::from_bytes(status, all, body.to_owned());
        let kind =
            SdkKind::HttpResponse { status, error_code: None, raw_response: Some(Box::new(raw)) };
        convert(&azure_core::Error::with_message(kind, "canary"))
    }

    #[test]
    fn every_code_has_its_kind() {
        use ErrorKind::*;
        for (status, code, kind) in [
            (400, "PopReceiptMismatch", LeaseLost),
            (404, "MessageNotFound", LeaseLost),
            (404, "QueueNotFound", QueueNotFound),
            (409, "QueueAlreadyExists", Invalid),
            (409, "QueueBeingDeleted", Throttled),
            (409, "QueueDisabled", Throttled),
            (409, "QueueNotEmpty", Invalid),
            (400, "InvalidMarker", Invalid),
            (400, "MessageTooLarge", TooLarge),
            (413, "RequestBodyTooLarge", TooLarge),
            (413, "", TooLarge),
            (503, "ServerBusy", Throttled),
            (429, "TooManyRequests", Throttled),
            (429, "", Throttled),
            (500, "InternalError", Unavailable),
            (500, "OperationTimedOut", Timeout),
            (502, "", Unavailable),
            (503, "", Unavailable),
            (504, "", Timeout),
            (408, "", Timeout),
            (409, "AccountBeingCreated", Throttled),
            (403, "AccountIsDisabled", Unauthorized),
            (403, "AuthenticationFailed", Unauthorized),
            (403, "AuthorizationFailure", Unauthorized),
            (403, "AuthorizationPermissionMismatch", Unauthorized),
            (403, "AuthorizationProtocolMismatch", Unauthorized),
            (403, "AuthorizationResourceTypeMismatch", Unauthorized),
            (403, "AuthorizationServiceMismatch", Unauthorized),
            (403, "AuthorizationSourceIPMismatch", Unauthorized),
            (403, "InsufficientAccountPermissions", Unauthorized),
            (403, "KeyBasedAuthenticationNotPermitted", Unauthorized),
            (400, "InvalidAuthenticationInfo", Unauthorized),
            (401, "NoAuthenticationInformation", Unauthorized),
            (409, "PublicAccessNotPermitted", Unauthorized),
            (401, "", Unauthorized),
            (400, "InvalidQueryParameterValue", Invalid),
            (400, "OutOfRangeQueryParameterValue", Invalid),
            (400, "InvalidXmlDocument", Invalid),
            (400, "InvalidHeaderValue", Invalid),
            (400, "InvalidResourceName", Invalid),
            (405, "UnsupportedHttpVerb", Invalid),
            (411, "MissingContentLengthHeader", Invalid),
            (412, "ConditionNotMet", Invalid),
            (404, "ResourceNotFound", Invalid),
            (301, "", Other),
        ] {
            let shown = format!("{status} {code}");
            assert_eq!(kind_of(status, code), kind, "{shown}");
            let error = convert_code(status, code);
            assert_eq!(error.kind(), kind, "{shown}");
            let unknown = matches!(kind, Unavailable | Timeout);
            assert_eq!(error.outcome_unknown(), unknown, "{shown}");
        }
    }

    fn convert_code(status: u16, code: &str) -> BackendError {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        refusal(status, &[], &body)
    }

    #[test]
    fn the_source_says_code_status_and_request() {
        let headers = [("x-ms-error-code", "ServerBusy"), ("x-ms-request-id", "4a-5b")];
        let error = refusal(503, &headers, "<Error><Code>canary</Code></Error>");
        let source = error.source().unwrap().to_string();
        assert_eq!(source, "the service answered 503 ServerBusy, request id 4a-5b");
    }

    #[test]
    fn what_a_proxy_says_is_not_repeated_at_length() {
        let error = refusal(502, &[("x-ms-request-id", "\u{1b}[31m<>")], "<html>canary</html>");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary") && !shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn retry_after_comes_in_three_forms() {
        let after = |name, value| refusal(503, &[(name, value)], "").retry_after();
        assert_eq!(after("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(after("x-ms-retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(after("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(after("retry-after", "Thu, 01 Jan 1970 00:00:10 GMT"), Some(Duration::ZERO));
        assert_eq!(after("retry-after", "soon"), None);

        let mut headers = Headers::new();
        headers.insert(RETRY_AFTER, "Thu, 01 Jan 1970 00:00:10 GMT");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(4);
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(6)));
    }

    #[test]
    fn nothing_of_the_sdks_texts_is_taken_over() {
        let io = || io::Error::new(io::ErrorKind::ConnectionReset, "canary");
        for (kind, expected) in [
            (SdkKind::Io, "the connection broke: connection reset"),
            (SdkKind::Connection, "no connection: connection reset"),
            (SdkKind::DataConversion, "could not be read"),
            (SdkKind::Credential, "no token"),
            (SdkKind::Other, "failed"),
        ] {
            let error = convert(&azure_core::Error::with_error(kind, io(), "canary"));
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected) && !shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn a_request_that_was_never_sent_changed_nothing() {
        let of = |kind| convert(&azure_core::Error::with_message(kind, "")).outcome_unknown();
        assert!(of(SdkKind::Io) && of(SdkKind::DataConversion));
        assert!(!of(SdkKind::Connection) && !of(SdkKind::Credential));
    }
}
