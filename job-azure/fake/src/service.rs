//! The account: its queues by name, and what each operation of the REST service does to them. Pure
//! as a queue is: every operation takes the time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::error::ServiceError;
use crate::queue::{Order, Queue, Seen, Serial, Unsettled};

const WEEK: i64 = 7 * 24 * 3600;
/// How long a receive hides what it takes, unless told otherwise.
const DEFAULT_LEASE: i64 = 30;
/// The most that a message's text may have, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// How long the name of a deleted queue cannot be used.
const DELETION: Duration = Duration::from_secs(30);

/// An operation and its parameters as they came. Seconds and counts are not yet judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    CreateQueue { metadata: Metadata },
    DeleteQueue,
    GetProperties,
    Send { text: Arc<str>, visibility: Option<i64>, ttl: Option<i64> },
    Receive { max: Option<i64>, visibility: Option<i64>, order: Order },
    Peek { max: Option<i64> },
    Update { message: u64, receipt: u64, text: Option<Arc<str>>, visibility: i64 },
    Delete { message: u64, receipt: u64 },
    Clear,
}

/// A queue's metadata: names in lowercase, and values.
pub(crate) type Metadata = BTreeMap<String, String>;

/// What an operation gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The queue is new.
    Created,
    /// The queue was there, with the same metadata.
    Existed,
    Properties {
        count: usize,
        metadata: Metadata,
    },
    Sent(Seen),
    Received(Vec<Seen>),
    Peeked(Vec<Seen>),
    Updated(Seen),
    /// Nothing more to say.
    Done,
}

/// The queues of one storage account.
#[derive(Default)]
pub(crate) struct Service {
    queues: BTreeMap<String, Entry>,
    /// Until when the names of deleted queues cannot be used.
    being_deleted: BTreeMap<String, Moment>,
    serial: Serial,
    /// What a stale receipt is answered with: `MessageNotFound` instead of `PopReceiptMismatch`.
    pub(crate) stale_is_not_found: bool,
}

struct Entry {
    queue: Queue,
    metadata: Metadata,
}

impl Service {
    pub(crate) fn apply(
        &mut self,
        now: Moment,
        name: &str,
        command: Command,
    ) -> Result<Outcome, ServiceError> {
        check_name(name)?;
        match command {
            Command::CreateQueue { metadata } => self.create(now, name, metadata),
            Command::DeleteQueue => {
                self.queues.remove(name).ok_or(ServiceError::QUEUE_NOT_FOUND)?;
                self.being_deleted.insert(name.to_owned(), now.after(DELETION));
                Ok(Outcome::Done)
            }
            Command::GetProperties => {
                let entry = self.queues.get_mut(name).ok_or(ServiceError::QUEUE_NOT_FOUND)?;
                let (count, metadata) = (entry.queue.len(now), entry.metadata.clone());
                Ok(Outcome::Properties { count, metadata })
            }
            Command::Send { text, visibility, ttl } => {
                check_text(&text)?;
                let delay = seconds(visibility.unwrap_or(0), 0..=WEEK)?;
                let ttl = match ttl.unwrap_or(WEEK) {
                    -1 => None,
                    ttl => Some(seconds(ttl, 1..=i64::MAX)?),
                };
                if ttl.is_some_and(|ttl| delay >= ttl) {
                    return Err(ServiceError::OUT_OF_RANGE_QUERY);
                }
                let (queue, serial) = self.queue(name)?;
                Ok(Outcome::Sent(queue.send(now, serial, text, delay, ttl)))
            }
            Command::Receive { max, visibility, order } => {
                let max = count(max)?;
                let lease = seconds(visibility.unwrap_or(DEFAULT_LEASE), 1..=WEEK)?;
                let (queue, serial) = self.queue(name)?;
                Ok(Outcome::Received(queue.receive(now, serial, max, lease, order)))
            }
            Command::Peek { max } => {
                let max = count(max)?;
                Ok(Outcome::Peeked(self.queue(name)?.0.peek(now, max)))
            }
            Command::Update { message, receipt, text, visibility } => {
                text.as_deref().map_or(Ok(()), check_text)?;
                let span = seconds(visibility, 0..=WEEK)?;
                let (queue, serial) = self.queue(name)?;
                let updated = queue.update(now, serial, (message, receipt), text, span);
                updated.map(Outcome::Updated).map_err(|why| self.unsettled(why))
            }
            Command::Delete { message, receipt } => {
                let deleted = self.queue(name)?.0.delete(now, (message, receipt));
                deleted.map(|()| Outcome::Done).map_err(|why| self.unsettled(why))
            }
            Command::Clear => {
                self.queue(name)?.0.clear(now);
                Ok(Outcome::Done)
            }
        }
    }

    /// Posts a text as it is, whatever the service would say to it, for ever. Makes the queue.
    pub(crate) fn insert(&mut self, now: Moment, name: &str, text: &str) {
        let entry = self.queues.entry(name.to_owned()).or_insert_with(Entry::empty);
        entry.queue.send(now, &mut self.serial, text.into(), Duration::ZERO, None);
    }

    /// Makes the queue vanish, leaving its name free. Says whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.queues.remove(name).is_some()
    }

    /// The names of the queues.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    pub(crate) fn depth(&mut self, now: Moment, name: &str) -> usize {
        self.queues.get_mut(name).map_or(0, |entry| entry.queue.len(now))
    }

    pub(crate) fn texts(&mut self, now: Moment, name: &str) -> Vec<String> {
        self.queues.get_mut(name).map_or_else(Vec::new, |entry| entry.queue.texts(now))
    }

    fn create(
        &mut self,
        now: Moment,
        name: &str,
        metadata: Metadata,
    ) -> Result<Outcome, ServiceError> {
        if self.being_deleted.get(name).is_some_and(|until| now < *until) {
            return Err(ServiceError::QUEUE_BEING_DELETED);
        }
        match self.queues.get(name) {
            None => {
                let entry = Entry { metadata, ..Entry::empty() };
                self.queues.insert(name.to_owned(), entry);
                Ok(Outcome::Created)
            }
            Some(entry) if entry.metadata == metadata => Ok(Outcome::Existed),
            Some(_) => Err(ServiceError::QUEUE_ALREADY_EXISTS),
        }
    }

    fn queue(&mut self, name: &str) -> Result<(&mut Queue, &mut Serial), ServiceError> {
        let entry = self.queues.get_mut(name).ok_or(ServiceError::QUEUE_NOT_FOUND)?;
        Ok((&mut entry.queue, &mut self.serial))
    }

    fn unsettled(&self, why: Unsettled) -> ServiceError {
        match why {
            Unsettled::Gone => ServiceError::MESSAGE_NOT_FOUND,
            Unsettled::Stale if self.stale_is_not_found => ServiceError::MESSAGE_NOT_FOUND,
            Unsettled::Stale => ServiceError::POP_RECEIPT_MISMATCH,
            Unsettled::PastExpiry => ServiceError::OUT_OF_RANGE_QUERY,
        }
    }
}

impl Entry {
    fn empty() -> Self {
        Self { queue: Queue::new(), metadata: Metadata::new() }
    }
}

/// 3 to 63 lowercase letters, digits and single dashes, with none of these at either end.
fn check_name(name: &str) -> Result<(), ServiceError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        return Err(ServiceError::INVALID_RESOURCE_NAME);
    }
    if !name.chars().all(allowed) {
        return Err(ServiceError::INVALID_RESOURCE_NAME);
    }
    if (3..=63).contains(&name.len()) { Ok(()) } else { Err(ServiceError::OUT_OF_RANGE_INPUT) }
}

fn check_text(text: &str) -> Result<(), ServiceError> {
    if text.len() > MAX_TEXT { Err(ServiceError::BODY_TOO_LARGE) } else { Ok(()) }
}

fn seconds(given: i64, allowed: RangeInclusive<i64>) -> Result<Duration, ServiceError> {
    if !allowed.contains(&given) {
        return Err(ServiceError::OUT_OF_RANGE_QUERY);
    }
    u64::try_from(given).map(Duration::from_secs).map_err(|_| ServiceError::OUT_OF_RANGE_QUERY)
}

fn count(given: Option<i64>) -> Result<usize, ServiceError> {
    let given = given.unwrap_or(1);
    let count = usize::try_from(given).ok().filter(|count| (1..=32).contains(count));
    count.ok_or(ServiceError::OUT_OF_RANGE_QUERY)
}
