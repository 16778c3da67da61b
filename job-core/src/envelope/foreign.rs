//! Messages from elsewhere: events that are taken for jobs, and what hosts add to plain JSON.
//!
//! An event, as CloudEvents 1.0 (structured JSON) or Event Grid's schema have it, is a job in
//! other words: its type is the name, its data are the args, its attributes are meta. An envelope
//! is never taken for an event, nor an event for an envelope: the one has a `format` that is a
//! number, the other must not have it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::{LONGEST, Text};
use super::{Envelope, Trace};
use crate::JobId;

/// What goes before an attribute's name to make its key in meta.
const PREFIX: &str = "ce-";

/// What the host of a Functions app adds to the JSON objects that its apps post.
const HOST_KEY: &str = "$AzureWebJobsParentId";

/// One event, read as a job.
#[derive(Clone)]
pub(crate) struct Event<'a> {
    /// The same for all copies of the event, since their source says that they are copies.
    pub(crate) id: JobId,
    pub(crate) name: Cow<'a, str>,
    pub(crate) args: Cow<'a, RawValue>,
    pub(crate) trace: Option<Trace>,
    pub(crate) meta: BTreeMap<String, String>,
}

/// Why an event is no job. Holds no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the message holds {0} events, and a message is one job: post them one by one")]
    Several(usize),
    #[error("the message is {0} whose `{1}` is missing, empty or no text")]
    Attribute(Kind, &'static str),
    #[error("the message is {0} with an attribute that is there twice")]
    Twice(Kind),
    #[error("the message is a CloudEvent, but not one of `specversion` 1.0")]
    Version,
    #[error("the message is a CloudEvent with both `data` and `data_base64`")]
    DataTwice,
    #[error("the message is a CloudEvent whose `data_base64` is not JSON in base64")]
    DataBase64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CloudEvent,
    EventGrid,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CloudEvent => "a CloudEvent",
            Self::EventGrid => "an Event Grid event",
        })
    }
}

impl<'a> Event<'a> {
    /// Reads a body; `None` if it is nothing like an event.
    pub(crate) fn read(body: &'a [u8]) -> Result<Option<Self>, EventError> {
        if body.len() > LONGEST {
            return Ok(None);
        }
        let Ok(json) = serde_json::from_slice::<&RawValue>(body) else {
            return Ok(None);
        };
        let Some((json, length)) = only_one(json.get()) else {
            return Ok(None);
        };
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(json) else {
            return Ok(None);
        };
        match Kind::of(&fields) {
            None => Ok(None),
            Some(_) if length > 1 => Err(EventError::Several(length)),
            Some(kind) => Self::of(kind, &fields).map(Some),
        }
    }

    fn of(kind: Kind, fields: &Fields<'a>) -> Result<Self, EventError> {
        if fields.twice {
            return Err(EventError::Twice(kind));
        }
        let there = |key| fields.text(key).ok_or(EventError::Attribute(kind, key));
        let full = |key| match there(key) {
            Ok(text) if text.is_empty() => Err(EventError::Attribute(kind, key)),
            result => result,
        };
        let (source, name) = match kind {
            Kind::CloudEvent => {
                if fields.text("specversion").as_deref() != Some("1.0") {
                    return Err(EventError::Version);
                }
                (full("source")?, full("type")?)
            }
            Kind::EventGrid => {
                let name = full("eventType")?;
                there("subject")?;
                there("eventTime")?;
                // The service puts it in; events that come by another way may lack it.
                (fields.text("topic").unwrap_or_default(), name)
            }
        };
        let id = JobId::for_event(&source, &full("id")?);
        let args = data(kind, fields)?;
        let trace = fields.text("traceparent").filter(|_| kind == Kind::CloudEvent).map(|parent| {
            let tracestate = fields.text("tracestate").map(Cow::into_owned);
            Trace { traceparent: parent.into_owned(), tracestate }
        });
        Ok(Self { id, name, args, trace, meta: meta(kind, fields) })
    }

    /// The job that it is, as if enqueued when it was put on the queue: what its producer says of
    /// time is about what has happened, and may be long ago.
    pub(super) fn into_envelope(self, inserted_at: SystemTime) -> Envelope<'a> {
        let Self { id, name, args, trace, meta } = self;
        let mut envelope = Envelope::bare(id, name, args, inserted_at);
        envelope.trace = trace;
        envelope.meta = meta;
        envelope.foreign = true;
        envelope
    }
}

/// Data and attributes are the user's: none of them is shown.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Kind {
    fn of(fields: &Fields<'_>) -> Option<Self> {
        if fields.is_number("format") {
            return None;
        }
        let has = |key| fields.map.contains_key(key);
        if has("specversion") {
            Some(Self::CloudEvent)
        } else if has("eventType") && (has("eventTime") || has("dataVersion")) {
            Some(Self::EventGrid)
        } else {
            None
        }
    }

    fn is_data(self, key: &str) -> bool {
        key == "data" || (self == Self::CloudEvent && key == "data_base64")
    }

    /// What CloudEvents call the attribute, where that is another name.
    fn renamed(self, key: &str) -> Option<&'static str> {
        if self == Self::CloudEvent {
            return None;
        }
        match key {
            "topic" => Some("source"),
            "eventType" => Some("type"),
            "eventTime" => Some("time"),
            "dataVersion" => Some("dataversion"),
            "metadataVersion" => Some("metadataversion"),
            _ => None,
        }
    }
}

fn data<'a>(kind: Kind, fields: &Fields<'a>) -> Result<Cow<'a, RawValue>, EventError> {
    let base64 = fields.map.get("data_base64").filter(|_| kind == Kind::CloudEvent);
    match (fields.map.get("data"), base64) {
        (Some(_), Some(_)) => Err(EventError::DataTwice),
        (Some(data), None) => Ok(Cow::Borrowed(data)),
        (None, Some(_)) => {
            let text = fields.text("data_base64").ok_or(EventError::DataBase64)?;
            let bytes = BASE64_STANDARD.decode(&*text).map_err(|_| EventError::DataBase64)?;
            serde_json::from_slice(&bytes).map(Cow::Owned).map_err(|_| EventError::DataBase64)
        }
        // The args of every job are a map, those of a job that takes none included.
        (None, None) => {
            Ok(Cow::Owned(RawValue::from_string("{}".into()).expect("an empty map is JSON")))
        }
    }
}

fn meta(kind: Kind, fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut meta = BTreeMap::new();
    for (key, value) in &fields.map {
        if kind.is_data(key) || value.get() == "null" {
            continue;
        }
        let value = as_text(value);
        match kind.renamed(key) {
            Some(name) => drop(meta.insert(format!("{PREFIX}{name}"), value)),
            None if key == HOST_KEY => drop(meta.insert(HOST_KEY.to_owned(), value)),
            // What has another name takes it from what should not be there.
            None => drop(meta.entry(format!("{PREFIX}{key}")).or_insert(value)),
        }
    }
    meta
}

/// A string without its quotes; anything else as it is written.
fn as_text(json: &RawValue) -> String {
    match serde_json::from_str::<String>(json.get()) {
        Ok(text) => text,
        Err(_) => json.get().to_owned(),
    }
}

/// A message of a raw queue, ready for the queue's job.
#[derive(Clone)]
pub(crate) struct Plain<'a> {
    /// That of the event, if it is one.
    pub(crate) id: Option<JobId>,
    pub(crate) args: Cow<'a, str>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) trace: Option<Trace>,
}

impl<'a> Plain<'a> {
    /// Plain JSON is the args; of an event whose type is a name of the job, its data are. Any
    /// other event is the args as a whole, for jobs that take the events themselves.
    pub(crate) fn read(body: &'a str, is_named: impl FnOnce(&str) -> bool) -> Self {
        // Most messages are neither, and are to be parsed once.
        if (body.contains("\"specversion\"") || body.contains("\"eventType\""))
            && let Ok(Some(event)) = Event::read(body.as_bytes())
            && is_named(&event.name)
        {
            let args = match event.args {
                Cow::Borrowed(args) => Cow::Borrowed(args.get()),
                Cow::Owned(args) => Cow::Owned(Box::<str>::from(args).into_string()),
            };
            return Self { id: Some(event.id), args, meta: event.meta, trace: event.trace };
        }
        let mut meta = BTreeMap::new();
        let mut args = Cow::Borrowed(body);
        if body.contains(HOST_KEY)
            && let Some((rest, value)) = without_host_key(body)
        {
            meta.insert(HOST_KEY.to_owned(), value);
            args = Cow::Owned(rest);
        }
        Self { id: None, args, meta, trace: None }
    }
}

/// Args and meta are the user's: none of them is shown.
impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The object without what the host added to it, and that; all else in it is as it was.
fn without_host_key(body: &str) -> Option<(String, String)> {
    let Entries(entries) = serde_json::from_str(body).ok()?;
    let mut value = None;
    let mut rest = String::with_capacity(body.len());
    for (key, json) in entries {
        if key == HOST_KEY {
            value = Some(as_text(json));
            continue;
        }
        rest.push(if rest.is_empty() { '{' } else { ',' });
        rest.push_str(&serde_json::to_string(&key).ok()?);
        rest.push(':');
        rest.push_str(json.get());
    }
    rest.push_str(if rest.is_empty() { "{}" } else { "}" });
    Some((rest, value?))
}

/// The object that a text is, or the first of the array that it is, and the array's length.
fn only_one(json: &str) -> Option<(&str, usize)> {
    match json.as_bytes().first()? {
        b'{' => Some((json, 1)),
        b'[' => {
            let Array { first, length } = serde_json::from_str(json).ok()?;
            Some((first?.get(), length))
        }
        _ => None,
    }
}

/// The fields of an object, none of them looked into.
struct Fields<'a> {
    map: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// Whether one of them was there twice.
    twice: bool,
}

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        let json = self.map.get(key)?;
        serde_json::from_str::<Text<'a>>(json.get()).ok().map(|Text(text)| text)
    }

    fn is_number(&self, key: &str) -> bool {
        let first = self.map.get(key).and_then(|json| json.get().bytes().next());
        first.is_some_and(|first| first == b'-' || first.is_ascii_digit())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Entries(entries) = Entries::deserialize(deserializer)?;
        let mut fields = Self { map: BTreeMap::new(), twice: false };
        for (key, json) in entries {
            match fields.map.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(json)),
                Entry::Occupied(_) => fields.twice = true,
            }
        }
        Ok(fields)
    }
}

/// The fields of an object, in order.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fill;

        impl<'de> Visitor<'de> for Fill {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), json)) = map.next_entry()? {
                    entries.push((key, json));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Fill)
    }
}

/// Of an array only the first is kept: a hostile one is long.
struct Array<'a> {
    first: Option<&'a RawValue>,
    length: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;

        impl<'de> Visitor<'de> for Count {
            type Value = Array<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let first = seq.next_element()?;
                let mut length = usize::from(first.is_some());
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                Ok(Array { first, length })
            }
        }

        deserializer.deserialize_seq(Count)
    }
}
