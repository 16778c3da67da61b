//! Reading an envelope: strict about what it knows, silent about values, keeping what it does not
//! know.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::foreign::{Event, EventError};
use super::{Envelope, FORMAT, Fresh, History, Overrides, millis};
use crate::decide::Message;

/// Nothing longer than this is even looked at: no backend carries longer messages.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;

/// Why a body is not an envelope that can be run. Holds no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the message is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the message is not JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("the message is JSON but not a job envelope (line {line}, column {column})")]
    NotAnEnvelope { line: usize, column: usize },
    #[error("the message has format {0}, which is newer than format {FORMAT}")]
    NewerFormat(u64),
    #[error(transparent)]
    Event(#[from] EventError),
}

impl<'a> Envelope<'a> {
    /// Reads a message: an envelope, or an event of somebody else's that can be taken for one.
    pub(crate) fn of(message: &'a Message) -> Result<Self, DecodeError> {
        match Self::decode(&message.body) {
            Err(error @ DecodeError::NotAnEnvelope { .. }) => match Event::read(&message.body)? {
                Some(event) => Ok(event.into_envelope(message.inserted_at)),
                None => Err(error),
            },
            decoded => decoded,
        }
    }

    /// Reads a body.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        if body.len() > LONGEST {
            return Err(DecodeError::TooLong);
        }
        match Fresh::read(body) {
            Some(fresh) => Ok(fresh.into_envelope()),
            None => read_any(body),
        }
    }
}

/// Reads a body in whatever order and with whatever spaces its fields are.
pub(super) fn read_any(body: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    match serde_json::from_slice::<Read<'_>>(body) {
        Ok(Read { format, envelope }) if format == u64::from(FORMAT) => Ok(envelope),
        Ok(Read { format, .. }) => Err(DecodeError::NewerFormat(format)),
        Err(error) => Err(explain(body, &error)),
    }
}

/// A newer format may differ in everything but `format` itself, and in being an object.
fn explain(body: &[u8], error: &serde_json::Error) -> DecodeError {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    // Of some values serde_json says that they are no JSON when they are just not what it wants.
    let json = match serde_json::from_slice::<&RawValue>(body) {
        Ok(json) => json.get(),
        Err(error) => return DecodeError::NotJson { line: error.line(), column: error.column() },
    };
    match serde_json::from_str::<Head>(json) {
        // Serde also reads a struct from an array.
        Ok(Head { format }) if format > u64::from(FORMAT) && json.starts_with('{') => {
            DecodeError::NewerFormat(format)
        }
        _ => DecodeError::NotAnEnvelope { line: error.line(), column: error.column() },
    }
}

struct Read<'a> {
    format: u64,
    envelope: Envelope<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Read<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadVisitor)
    }
}

struct ReadVisitor;

/// A string that is borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'de> Visitor<'de> for ReadVisitor {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut format = None;
        let mut id = None;
        let mut name = None;
        let mut args = None;
        let mut args_version = None;
        let mut enqueued_at = None;
        let mut options = None;
        let mut due_at = None;
        let mut delay_left = None;
        let mut trace = None;
        let mut meta = None;
        let mut history = None;
        let mut errors = None;
        let mut poison = None;
        let mut original = None;
        let mut extra = Vec::new();

        macro_rules! take {
            ($slot:ident) => {{
                if $slot.is_some() {
                    return Err(A::Error::custom("a field is there twice"));
                }
                $slot = Some(map.next_value()?);
            }};
        }
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "format" => take!(format),
                "id" => take!(id),
                "name" => take!(name),
                "args" => take!(args),
                "args_version" => take!(args_version),
                "enqueued_at" => take!(enqueued_at),
                "options" => take!(options),
                "due_at" => take!(due_at),
                "delay_left_ms" => take!(delay_left),
                "trace" => take!(trace),
                "meta" => take!(meta),
                "history" => take!(history),
                "errors" => take!(errors),
                "poison" => take!(poison),
                "original" => take!(original),
                _ => extra.push((key, Cow::Borrowed(map.next_value::<&RawValue>()?))),
            }
        }

        let missing = A::Error::missing_field;
        let format: u64 = format.ok_or_else(|| missing("format"))?;
        if format == 0 {
            return Err(A::Error::custom("there is no format 0"));
        }
        let id: Text<'_> = id.ok_or_else(|| missing("id"))?;
        let id = Uuid::parse_str(&id.0).map_err(|_| A::Error::custom("the id is not a UUID"))?;
        let Text(name) = name.ok_or_else(|| missing("name"))?;
        let args: &RawValue = args.ok_or_else(|| missing("args"))?;
        let options: Option<Overrides> = options;
        let history: Option<History> = history;
        let envelope = Envelope {
            id: id.into(),
            name,
            args: Cow::Borrowed(args),
            args_version: args_version.unwrap_or(1),
            enqueued_at: enqueued_at.map_or(SystemTime::UNIX_EPOCH, millis::to_time),
            options: options.unwrap_or_default(),
            due_at: due_at.map(millis::to_time),
            delay_left: delay_left.map_or(Duration::ZERO, Duration::from_millis),
            trace,
            meta: meta.unwrap_or_default(),
            history: history.unwrap_or_default(),
            errors: errors.unwrap_or_default(),
            poison,
            original,
            extra,
            foreign: false,
        };
        Ok(Read { format, envelope })
    }
}
