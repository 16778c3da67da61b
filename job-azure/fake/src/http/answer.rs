//! What goes back: status, headers, XML.

use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::{AsyncRawResponse, StatusCode};
use bytes::Bytes;

use super::ids;
use super::xml::Document;
use crate::clock::{Clock, Moment};
use crate::error::ServiceError;
use crate::queue::Seen;
use crate::service::Outcome;

/// What an answer says beside its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) now: Moment,
    /// The number of the request.
    pub(crate) number: u64,
    /// The version that the request asked for.
    pub(crate) version: Option<String>,
    pub(crate) client_request_id: Option<String>,
}

/// An answer, before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// The version that the service speaks with those that ask for none.
const DEFAULT_VERSION: &str = "2026-04-06";

impl Answer {
    pub(crate) fn new(result: &Result<Outcome, ServiceError>, context: &Context) -> Self {
        let mut answer = Self { status: 200, headers: Vec::new(), body: Bytes::new() };
        answer.header("date", context.clock.date(context.now));
        answer.header("server", "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0");
        answer.header("x-ms-request-id", ids::uuid(context.number));
        answer.header("x-ms-version", context.version.as_deref().unwrap_or(DEFAULT_VERSION));
        if let Some(id) = &context.client_request_id {
            answer.header("x-ms-client-request-id", id);
        }
        match result {
            Ok(outcome) => answer.outcome(outcome, context),
            Err(error) => answer.error(error, context),
        }
        answer
    }

    /// The same answer with a body that is no XML.
    pub(crate) fn garbage(mut self) -> Self {
        self.body = Bytes::from_static(b"\x00\x9f\x92 <!doctype html><p>Bad gateway");
        self
    }

    /// The same answer, its XML cut in the middle.
    pub(crate) fn truncated(mut self) -> Self {
        self.body.truncate(self.body.len() / 2);
        self
    }

    pub(crate) fn into_response(self) -> AsyncRawResponse {
        let mut headers = Headers::new();
        for (name, value) in self.headers {
            headers.insert(HeaderName::from(name), value);
        }
        AsyncRawResponse::from_bytes(StatusCode::from(self.status), headers, self.body)
    }

    fn outcome(&mut self, outcome: &Outcome, context: &Context) {
        let date = |moment| context.clock.date(moment);
        match outcome {
            Outcome::Created => self.status = 201,
            Outcome::Existed | Outcome::Done => self.status = 204,
            Outcome::Properties { count, metadata } => {
                self.header("x-ms-approximate-messages-count", count.to_string());
                for (name, value) in metadata {
                    self.header(format!("x-ms-meta-{name}"), value);
                }
            }
            Outcome::Sent(message) => {
                self.status = 201;
                self.messages(std::slice::from_ref(message), |document, message| {
                    about(document, message, date);
                    held(document, message, date);
                });
            }
            Outcome::Received(messages) => self.messages(messages, |document, message| {
                about(document, message, date);
                held(document, message, date);
                content(document, message);
            }),
            Outcome::Peeked(messages) => self.messages(messages, |document, message| {
                about(document, message, date);
                content(document, message);
            }),
            Outcome::Updated(message) => {
                self.status = 204;
                self.header("x-ms-popreceipt", ids::receipt(message.receipt));
                self.header("x-ms-time-next-visible", date(message.visible_at));
            }
        }
    }

    fn error(&mut self, error: &ServiceError, context: &Context) {
        self.status = error.status;
        self.header("x-ms-error-code", error.code);
        if let Some(after) = error.retry_after {
            self.header("retry-after", after.as_millis().div_ceil(1000).to_string());
        }
        if error.status == 401 {
            self.header("www-authenticate", "Bearer resource_id=https://storage.azure.com");
        }
        let request = ids::uuid(context.number);
        let time = context.clock.date(context.now);
        let message = format!("{}\nRequestId:{request}\nTime:{time}", error.message);
        let mut document = Document::new();
        document.element("Error", |document| {
            document.text("Code", error.code);
            document.text("Message", &message);
        });
        self.xml(document);
    }

    fn messages(&mut self, messages: &[Seen], each: impl Fn(&mut Document, &Seen)) {
        let mut document = Document::new();
        document.element("QueueMessagesList", |document| {
            for message in messages {
                document.element("QueueMessage", |document| each(document, message));
            }
        });
        self.xml(document);
    }

    fn xml(&mut self, document: Document) {
        self.header("content-type", "application/xml");
        self.body = Bytes::from(document.into_string());
    }

    fn header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.headers.push((name.into(), value.into()));
    }
}

fn about(document: &mut Document, message: &Seen, date: impl Fn(Moment) -> String) {
    document.text("MessageId", &ids::uuid(message.id));
    document.text("InsertionTime", &date(message.inserted_at));
    document.text("ExpirationTime", &date(message.expires_at));
}

fn held(document: &mut Document, message: &Seen, date: impl Fn(Moment) -> String) {
    document.text("PopReceipt", &ids::receipt(message.receipt));
    document.text("TimeNextVisible", &date(message.visible_at));
}

fn content(document: &mut Document, message: &Seen) {
    document.number("DequeueCount", message.dequeue_count);
    document.text("MessageText", &message.text);
}
