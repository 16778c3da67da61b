//! What a request to the queue service is about.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::http::Message;
use crate::history::{Body, Mark, Op, Seen, Wire};

/// What the request alone tells.
pub(crate) fn request(request: &Message) -> Wire {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut parts = path.trim_start_matches('/').split('/').skip(1);
    let queue = parts.next().unwrap_or_default().to_owned();
    let messages = parts.next() == Some("messages");
    let id = parts.next().filter(|id| !id.is_empty()).map(str::to_owned);
    let value = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
        pair.and_then(|rest| rest.strip_prefix('='))
    };
    let op = match (&*request.method, messages, id.is_some()) {
        ("POST", true, false) => Op::Send,
        ("GET", true, false) if value("peekonly").is_none() => Op::Receive,
        ("PUT", true, true) => Op::Update,
        ("DELETE", true, true) => Op::Delete,
        _ => Op::Other,
    };
    let hidden = value("visibilitytimeout").and_then(|seconds| seconds.parse::<u64>().ok());
    let text = String::from_utf8_lossy(&request.body);
    let body = tag(&text, "MessageText").and_then(body);
    let about = matches!(op, Op::Send | Op::Update | Op::Delete);
    Wire {
        op,
        queue,
        hidden_ms: hidden.filter(|_| op == Op::Update).map(|seconds| seconds * 1_000),
        messages: about.then_some(Seen { id, count: None, body }).into_iter().collect(),
        ..Wire::default()
    }
}

/// What the service's answer adds.
pub(crate) fn answer(wire: &mut Wire, answer: &Message) {
    wire.status = Some(answer.status);
    if !wire.applied() {
        return;
    }
    let text = String::from_utf8_lossy(&answer.body);
    match wire.op {
        Op::Receive => {
            wire.messages = text
                .split("<QueueMessage>")
                .skip(1)
                .map(|message| Seen {
                    id: tag(message, "MessageId").map(str::to_owned),
                    count: tag(message, "DequeueCount").and_then(|count| count.parse().ok()),
                    body: tag(message, "MessageText").and_then(body),
                })
                .collect();
        }
        Op::Send => {
            if let Some(sent) = wire.messages.first_mut() {
                sent.id = tag(&text, "MessageId").map(str::to_owned);
            }
        }
        Op::Update | Op::Delete | Op::Other => {}
    }
}

/// The receipts in an answer: secrets, so to say.
pub(crate) fn receipts(answer: &Message) -> Vec<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let pieces = text.split("<QueueMessage>").skip(1);
    let listed = pieces.filter_map(|message| tag(message, "PopReceipt")).map(str::to_owned);
    listed.chain(answer.header("x-ms-popreceipt").map(str::to_owned)).collect()
}

fn tag<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn body(text: &str) -> Option<Body> {
    #[derive(Deserialize)]
    struct Envelope {
        id: String,
        #[serde(default)]
        history: History,
        poison: Option<Poison>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct History {
        failed: u32,
        crashed: u32,
        snoozed: u32,
        given_back: u32,
        put_back: u32,
        started: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Poison {
        state: String,
    }

    let envelope: Envelope = serde_json::from_slice(&BASE64_STANDARD.decode(text).ok()?).ok()?;
    let History { failed, crashed, snoozed, given_back, put_back, started } = envelope.history;
    let mark = match (&envelope.poison, started) {
        (Some(poison), _) if poison.state == "pending" => Mark::Fenced,
        (Some(_), _) => Mark::Poison,
        (None, Some(_)) => Mark::Started,
        (None, None) => Mark::None,
    };
    Some(Body { job: envelope.id, mark, failed, crashed, snoozed, given_back, put_back })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(target: &str, json: &str) -> Wire {
        let text = BASE64_STANDARD.encode(json);
        let xml = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        let message = Message {
            method: "PUT".into(),
            target: target.into(),
            body: xml.into(),
            ..Message::default()
        };
        request(&message)
    }

    #[test]
    fn an_update_says_what_becomes_of_a_job() {
        let target = "/account/chaos/messages/12-ab?popreceipt=AgAA%3D&visibilitytimeout=5";
        let json = r#"{"id":"j","history":{"failed":2,"started":{"message_id":"x","count":3}}}"#;
        let wire = put(target, json);
        assert_eq!((wire.op, &*wire.queue, wire.hidden_ms), (Op::Update, "chaos", Some(5_000)));
        assert_eq!(wire.messages[0].id.as_deref(), Some("12-ab"));
        let body = wire.messages[0].body.clone().unwrap();
        assert_eq!((&*body.job, body.mark, body.failed), ("j", Mark::Started, 2));
        let json = r#"{"id":"j","poison":{"state":"pending","reason":"crashed"}}"#;
        assert_eq!(put(target, json).messages[0].body.clone().unwrap().mark, Mark::Fenced);
    }

    #[test]
    fn an_answer_lists_messages() {
        let mut wire = Wire { op: Op::Receive, ..Wire::default() };
        let text = BASE64_STANDARD.encode(r#"{"id":"j"}"#);
        let one = format!(
            "<QueueMessage><MessageId>m</MessageId><PopReceipt>r=</PopReceipt>\
             <DequeueCount>2</DequeueCount><MessageText>{text}</MessageText></QueueMessage>"
        );
        let xml = format!("<QueueMessagesList>{one}{one}</QueueMessagesList>");
        let message = Message { status: 200, body: xml.into(), ..Message::default() };
        answer(&mut wire, &message);
        assert_eq!(wire.messages.len(), 2);
        assert_eq!(wire.messages[1].count, Some(2));
        assert_eq!(wire.messages[1].body.as_ref().unwrap().job, "j");
        assert_eq!(receipts(&message), ["r=", "r="]);
    }
}
