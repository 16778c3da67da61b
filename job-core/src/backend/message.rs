//! What a backend hands out: deliveries, receipts, peeked messages, figures.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::QueueName;

/// The service's own name for a message. It stays the same from send to delete, also over
/// deliveries and rewrites; a copy has another one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageId(Text);

/// The secret part of a [`Receipt`]: whatever the backend needs to act on one lease.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Text);

/// A number or a text, so that a backend in memory need not allocate one for each message.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    Number(u64),
    Text(Arc<str>),
}

impl MessageId {
    /// The longest id that the framework can keep in a message, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The number, if it was made from one.
    pub fn as_number(&self) -> Option<u64> {
        self.0.as_number()
    }

    /// Whether `text` is how this id is written.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        match &self.0 {
            Text::Text(own) => **own == *text,
            Text::Number(own) => text.parse() == Ok(*own),
        }
    }
}

impl Token {
    /// The number, if it was made from one.
    pub fn as_number(&self) -> Option<u64> {
        self.0.as_number()
    }

    /// The text, if it was made from one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Text::Text(text) => Some(text),
            Text::Number(_) => None,
        }
    }
}

impl Text {
    fn as_number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }
}

macro_rules! from_text {
    ($($name:ident),*) => {$(
        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(Text::Number(number))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Text::Text(text.into()))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Text::Text(text.into()))
            }
        }
    )*};
}
from_text!(MessageId, Token);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Text::Number(number) => write!(f, "{number}"),
            Text::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A token is a key to somebody's message; it is never printed.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

/// The right to renew, release, replace or delete one delivery. Opaque to all but its backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    queue: QueueName,
    message_id: MessageId,
    token: Token,
}

impl Receipt {
    /// For backends: a receipt for that message of that queue.
    pub fn new(
        queue: QueueName,
        message_id: impl Into<MessageId>,
        token: impl Into<Token>,
    ) -> Self {
        Self { queue, message_id: message_id.into(), token: token.into() }
    }

    /// The queue that the message is on.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// The message.
    pub fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// For backends: the secret part.
    pub fn token(&self) -> &Token {
        &self.token
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("queue", &self.queue)
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

/// What one receive gave.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The messages, each under a lease of its own.
    pub deliveries: Vec<Delivery>,
    /// The service's time when it answered.
    pub server_now: SystemTime,
}

impl Batch {
    /// A batch as of `server_now`.
    pub fn new(deliveries: Vec<Delivery>, server_now: SystemTime) -> Self {
        Self { deliveries, server_now }
    }
}

/// One message under a lease.
#[non_exhaustive]
pub struct Delivery {
    /// The service's name for the message.
    pub message_id: MessageId,
    /// The right to settle this delivery.
    pub receipt: Receipt,
    /// How often the message was delivered, this time included; `None` where the service does
    /// not count.
    pub count: Option<u32>,
    /// When the message was sent, by the service's clock.
    pub inserted_at: SystemTime,
    /// The body, byte for byte as it was sent or last replaced.
    pub body: Bytes,
}

impl Delivery {
    /// A delivery of `body` under `receipt`, sent at `inserted_at`, without a count.
    pub fn new(receipt: Receipt, inserted_at: SystemTime, body: Bytes) -> Self {
        Self { message_id: receipt.message_id.clone(), receipt, count: None, inserted_at, body }
    }

    /// Sets how often the message was delivered, this time included.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}

/// Bodies hold job args, so only their length is shown.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message_id", &self.message_id)
            .field("count", &self.count)
            .field("inserted_at", &self.inserted_at)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A message looked at without taking it.
#[non_exhaustive]
pub struct Peeked {
    /// The service's name for the message.
    pub message_id: MessageId,
    /// How often the message was delivered so far; `None` where the service does not count.
    pub count: Option<u32>,
    /// When the message was sent, by the service's clock.
    pub inserted_at: SystemTime,
    /// The body.
    pub body: Bytes,
}

impl Peeked {
    /// A message with that id and body, sent at `inserted_at`, without a count.
    pub fn new(message_id: MessageId, inserted_at: SystemTime, body: Bytes) -> Self {
        Self { message_id, count: None, inserted_at, body }
    }

    /// Sets how often the message was delivered.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}

impl fmt::Debug for Peeked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked")
            .field("message_id", &self.message_id)
            .field("count", &self.count)
            .field("inserted_at", &self.inserted_at)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// All messages: visible, delayed and leased.
    pub total: u64,
    /// Those a receive could return now, where the service tells.
    pub visible: Option<u64>,
    /// When the oldest message was sent, by the service's clock, where the service tells.
    pub oldest: Option<SystemTime>,
}

impl QueueStats {
    /// Statistics with that total and nothing else.
    pub fn new(total: u64) -> Self {
        Self { total, visible: None, oldest: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_token_nor_body_reaches_debug() {
        let queue = QueueName::new("mail").unwrap();
        let receipt = Receipt::new(queue, 7, "canary-token");
        let delivery =
            Delivery::new(receipt, SystemTime::UNIX_EPOCH, Bytes::from_static(b"canary-body"));
        let shown = format!("{delivery:?} {:?} {:?}", delivery.receipt, delivery.receipt.token());
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("body_len: 11"), "{shown}");
    }

    #[test]
    fn a_message_id_knows_how_it_is_written() {
        assert!(MessageId::from(7).is_written("7"));
        assert!(!MessageId::from(7).is_written("8"));
        assert!(MessageId::from("a-b").is_written("a-b"));
    }
}
