//! The message on the wire, format 1: JSON, one message a job.
//!
//! An envelope knows how to be written, read, and made to fit. What happens to a job is decided
//! elsewhere ([`decide`](crate::decide)). `schema/envelope-1.json` describes the format, and the
//! files in `tests/golden` hold it still: a change that they do not survive is format 2.

#[cfg(test)]
pub(crate) mod arbitrary;
mod decode;
mod encode;
mod foreign;
mod history;
mod short_cut;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use self::decode::DecodeError;
pub(crate) use self::encode::{NewJob, Pages};
pub(crate) use self::foreign::{Event, Plain};
pub(crate) use self::history::{AttemptError, History, Mark, Poison, PoisonState};
pub(crate) use self::short_cut::Fresh;
use crate::decide::Message;
use crate::{JobId, QueueName};

/// The format that this version writes.
pub(crate) const FORMAT: u32 = 1;

/// How much of a queue's longest body is kept free at enqueue for what retries add.
pub(crate) const ROOM: usize = 4 * 1024;

/// The most bytes of one error's text that travel with a job.
const MAX_ERROR: usize = 1024;

/// The most errors that travel with a job.
const MAX_ERRORS: usize = 5;

/// One job as it travels. Borrows from the body that it was read from.
#[derive(Clone)]
pub(crate) struct Envelope<'a> {
    pub(crate) id: JobId,
    pub(crate) name: Cow<'a, str>,
    pub(crate) args: Cow<'a, RawValue>,
    pub(crate) args_version: u32,
    /// By the clock of whoever enqueued it.
    pub(crate) enqueued_at: SystemTime,
    pub(crate) options: Overrides,
    /// When it was to run first, by the backend's clock, if that was later than at once. Nothing
    /// but figures goes by it.
    pub(crate) due_at: Option<SystemTime>,
    /// What is left of a delay longer than the backend's longest.
    pub(crate) delay_left: Duration,
    pub(crate) trace: Option<Trace>,
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) history: History,
    pub(crate) errors: Vec<AttemptError>,
    pub(crate) poison: Option<Poison>,
    /// The original of a message that was not an envelope. Only in poison queues.
    pub(crate) original: Option<Original>,
    /// Fields that this version does not know, kept as they came.
    pub(crate) extra: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
    /// Its message is an event still: the first rewrite makes an envelope of it.
    pub(crate) foreign: bool,
}

/// What the call that enqueued it set, before job, queue and worker are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<u32>,
    #[serde(
        default,
        rename = "expires_in_ms",
        with = "millis::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) expires_in: Option<Duration>,
}

/// W3C trace context of whoever enqueued it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trace {
    pub(crate) traceparent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tracestate: Option<String>,
}

/// The bytes of a message that was not an envelope.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Original {
    /// They were UTF-8.
    Text(String),
    /// They were not.
    Base64(String),
}

impl Original {
    fn of(body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(body)),
        }
    }

    /// The bytes as they were; `None` if somebody tampered with the base64.
    pub(crate) fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Self::Base64(text) => BASE64_STANDARD.decode(text).ok().map(Bytes::from),
        }
    }
}

impl Envelope<'static> {
    /// A new job.
    #[cfg(test)]
    pub(crate) fn new(
        id: JobId,
        name: &'static str,
        args: Box<RawValue>,
        enqueued_at: SystemTime,
    ) -> Self {
        Self::bare(id, Cow::Borrowed(name), Cow::Owned(args), enqueued_at)
    }

    /// An envelope around a message that is none, for the poison queue.
    pub(crate) fn around(message: &Message, queue: &QueueName) -> Self {
        let id = JobId::for_message(queue, &message.message_id);
        Self::wrapping(id, "", &message.body, message.inserted_at)
    }

    /// The same, of a message that has an id and names a job.
    pub(crate) fn wrapping(id: JobId, name: &str, body: &[u8], inserted_at: SystemTime) -> Self {
        let null = RawValue::from_string("null".into()).expect("null is JSON");
        let name = Cow::Owned(name.to_owned());
        let mut envelope = Self::bare(id, name, Cow::Owned(null), inserted_at);
        envelope.original = Some(Original::of(body));
        envelope
    }
}

impl<'a> Envelope<'a> {
    /// A job of which nothing more is known.
    fn bare(
        id: JobId,
        name: Cow<'a, str>,
        args: Cow<'a, RawValue>,
        enqueued_at: SystemTime,
    ) -> Self {
        Self {
            id,
            name,
            args,
            args_version: 1,
            enqueued_at,
            options: Overrides::default(),
            due_at: None,
            delay_left: Duration::ZERO,
            trace: None,
            meta: BTreeMap::new(),
            history: History::default(),
            errors: Vec::new(),
            poison: None,
            original: None,
            extra: Vec::new(),
            foreign: false,
        }
    }
}

impl Envelope<'_> {
    /// The body to send.
    pub(crate) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        encode::encode(self)
    }

    /// The body to send, its oldest errors given up where it would be longer than `limit`;
    /// `None` if that is not enough.
    pub(crate) fn encode_within(&mut self, limit: usize) -> Option<Bytes> {
        loop {
            let body = self.encode().ok()?;
            if body.len() <= limit {
                return Some(body);
            }
            if !self.errors.is_empty() {
                self.errors.remove(0);
            } else if let Some(error) = self.poison.as_mut().and_then(|p| p.error.as_mut()) {
                if error.len() < 16 {
                    self.poison.as_mut()?.error = None;
                } else {
                    *error = cut(error, error.len() / 2);
                }
            } else {
                return None;
            }
        }
    }

    /// Adds the error of an attempt, at the cost of the oldest.
    pub(crate) fn push_error(&mut self, attempt: u32, at: SystemTime, error: String) {
        let surplus = (self.errors.len() + 1).saturating_sub(MAX_ERRORS);
        self.errors.drain(..surplus);
        self.errors.push(AttemptError { attempt, at, error });
    }

    /// Makes it a job that was never tried: for a replay.
    pub(crate) fn start_afresh(&mut self) {
        self.history = History::default();
        self.due_at = None;
        self.delay_left = Duration::ZERO;
        self.poison = None;
    }
}

/// Args, meta and errors are the user's: none of them is shown.
impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("history", &self.history)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

/// An error with its causes in one line, cut to what may travel with a job.
pub(crate) fn error_text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Many errors repeat their cause in their own text.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
        if text.len() > MAX_ERROR {
            break;
        }
    }
    cut(&text, MAX_ERROR)
}

/// The beginning of `text`, at most `most` bytes long, ending in `…` if something is missing.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub('…'.len_utf8()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Times and durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::{Duration, SystemTime};

    /// Saturates; a time before 1970 is 1970.
    pub(crate) fn since_epoch(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, of)
    }

    /// Saturates.
    pub(crate) fn of(duration: Duration) -> u64 {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }

    /// A time too far away for the system becomes the farthest that is not: 9999-12-31.
    pub(crate) fn to_time(millis: u64) -> SystemTime {
        const FARTHEST: u64 = 253_402_300_799_000;
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(FARTHEST))
    }

    pub(crate) mod time {
        use std::time::SystemTime;

        use serde::{Deserialize, Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(time: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
            s.serialize_u64(super::since_epoch(*time))
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SystemTime, D::Error> {
            u64::deserialize(d).map(super::to_time)
        }
    }

    pub(crate) mod option_time {
        use std::time::SystemTime;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            time: &Option<SystemTime>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            time.map(super::since_epoch).serialize(s)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            Ok(Option::<u64>::deserialize(d)?.map(super::to_time))
        }
    }

    pub(crate) mod option {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            duration: &Option<Duration>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            duration.map(super::of).serialize(s)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<u64>::deserialize(d)?.map(Duration::from_millis))
        }
    }
}
