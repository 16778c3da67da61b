//! Which operation a request means, and with what.

use std::net::IpAddr;
use std::sync::Arc;

use azure_core::http::{Body, Method, Request, Url};

use super::{ids, xml};
use crate::call::Operation;
use crate::error::ServiceError;
use crate::queue::Order;
use crate::service::{Command, Metadata};

/// The operation and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) queue: String,
    /// As it is in the path; the service may never have given such an id.
    pub(crate) message_id: Option<String>,
}

/// Finds the operation by method, path and query.
pub(crate) fn route(request: &Request) -> Result<Route, ServiceError> {
    let url = request.url();
    let segments = segments(url);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let comp = parameter(url, "comp");
    let operation = match (request.method(), &segments[..], comp.as_deref()) {
        (Method::Put, [_], None) => Operation::CreateQueue,
        (Method::Delete, [_], None) => Operation::DeleteQueue,
        (Method::Get | Method::Head, [_], Some("metadata")) => Operation::GetProperties,
        (Method::Post, [_, "messages"], None) => Operation::Send,
        (Method::Get, [_, "messages"], None) if peeks(url) => Operation::Peek,
        (Method::Get, [_, "messages"], None) => Operation::Receive,
        (Method::Delete, [_, "messages"], None) => Operation::Clear,
        (Method::Put, [_, "messages", _], None) => Operation::Update,
        (Method::Delete, [_, "messages", _], None) => Operation::Delete,
        _ => return Err(ServiceError::NOT_IMPLEMENTED),
    };
    let message_id = segments.get(2).map(|id| (*id).to_owned());
    Ok(Route { operation, queue: segments[0].to_owned(), message_id })
}

/// The operation's parameters, from the query, the headers and the body.
pub(crate) fn command(route: &Route, request: &Request) -> Result<Command, ServiceError> {
    let url = request.url();
    let visibility = || seconds(url, "visibilitytimeout");
    let max = || seconds(url, "numofmessages");
    Ok(match route.operation {
        Operation::CreateQueue => Command::CreateQueue { metadata: metadata(request) },
        Operation::DeleteQueue => Command::DeleteQueue,
        Operation::GetProperties => Command::GetProperties,
        Operation::Send => Command::Send {
            text: text(request)?,
            visibility: visibility()?,
            ttl: seconds(url, "messagettl")?,
        },
        Operation::Receive => {
            Command::Receive { max: max()?, visibility: visibility()?, order: Order::OldestFirst }
        }
        Operation::Peek => Command::Peek { max: max()? },
        Operation::Update => Command::Update {
            message: message(route)?,
            receipt: receipt(url)?,
            text: if is_empty(request) { None } else { Some(text(request)?) },
            visibility: visibility()?.ok_or(ServiceError::MISSING_QUERY)?,
        },
        Operation::Delete => Command::Delete { message: message(route)?, receipt: receipt(url)? },
        Operation::Clear => Command::Clear,
    })
}

/// The path below the account. With an address for a host, the account is the path's first part;
/// otherwise it is the host's.
fn segments(url: &Url) -> Vec<String> {
    let segments = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty());
    let in_path = url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<IpAddr>().is_ok()
    });
    segments.skip(usize::from(in_path)).map(decode).collect()
}

/// A path's part without its percent signs; what they do not mean stays as it is.
fn decode(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (b'%', Some(byte)) = (first, byte) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn peeks(url: &Url) -> bool {
    parameter(url, "peekonly").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn seconds(url: &Url, name: &str) -> Result<Option<i64>, ServiceError> {
    let value = parameter(url, name).map(|value| value.parse());
    value.transpose().map_err(|_| ServiceError::INVALID_QUERY)
}

fn message(route: &Route) -> Result<u64, ServiceError> {
    let number = route.message_id.as_deref().and_then(ids::number);
    number.ok_or(ServiceError::MESSAGE_NOT_FOUND)
}

fn receipt(url: &Url) -> Result<u64, ServiceError> {
    let receipt = parameter(url, "popreceipt").ok_or(ServiceError::MISSING_QUERY)?;
    ids::receipt_number(&receipt).ok_or(ServiceError::INVALID_QUERY)
}

fn metadata(request: &Request) -> Metadata {
    let headers = request.headers().iter();
    let metadata = headers.filter_map(|(name, value)| {
        let name = name.as_str().to_ascii_lowercase();
        Some((name.strip_prefix("x-ms-meta-")?.to_owned(), value.as_str().to_owned()))
    });
    metadata.collect()
}

fn is_empty(request: &Request) -> bool {
    matches!(request.body(), Body::Bytes(bytes) if bytes.is_empty())
}

fn text(request: &Request) -> Result<Arc<str>, ServiceError> {
    match request.body() {
        Body::Bytes(bytes) => Ok(xml::message_text(bytes)?.into()),
        Body::SeekableStream(_) => Err(ServiceError::NOT_IMPLEMENTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: Method, url: &str) -> Result<Route, ServiceError> {
        route(&Request::new(Url::parse(url).expect("a URL"), method))
    }

    #[test]
    fn the_account_is_in_the_host_or_in_the_path() {
        for base in [
            "https://account.queue.core.windows.net/mail",
            "http://127.0.0.1:10001/account/mail",
            "http://localhost:10001/account/mail",
            "http://[::1]:10001/account/mail/",
        ] {
            let route = routed(Method::Delete, &format!("{base}/messages/a%2Db?x=y")).unwrap();
            assert_eq!(route.operation, Operation::Delete);
            assert_eq!(route.queue, "mail");
            assert_eq!(route.message_id.as_deref(), Some("a-b"));
        }
    }

    #[test]
    fn method_path_and_query_make_the_operation() {
        let cases = [
            (Method::Put, "", Operation::CreateQueue),
            (Method::Delete, "?timeout=30", Operation::DeleteQueue),
            (Method::Get, "?comp=metadata", Operation::GetProperties),
            (Method::Head, "?comp=metadata", Operation::GetProperties),
            (Method::Post, "/messages", Operation::Send),
            (Method::Get, "/messages?numofmessages=2", Operation::Receive),
            (Method::Get, "/messages?peekonly=true", Operation::Peek),
            (Method::Delete, "/messages", Operation::Clear),
            (Method::Put, "/messages/id?popreceipt=x", Operation::Update),
            (Method::Delete, "/messages/id", Operation::Delete),
        ];
        for (method, rest, operation) in cases {
            let url = format!("https://account.queue.core.windows.net/mail{rest}");
            assert_eq!(routed(method, &url).unwrap().operation, operation, "{method:?} {rest}");
        }
        for (method, rest) in [(Method::Get, "?comp=acl"), (Method::Patch, ""), (Method::Get, "")] {
            let url = format!("https://account.queue.core.windows.net/mail{rest}");
            assert_eq!(routed(method, &url), Err(ServiceError::NOT_IMPLEMENTED));
        }
    }

    #[test]
    fn a_lone_percent_sign_is_itself() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%41"), "%zzA");
    }
}
