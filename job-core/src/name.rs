//! Queue names, job names and job ids.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// What is appended to a queue's name for its poison queue.
const POISON_SUFFIX: &str = "-poison";

/// The name of a queue, checked to be one that every backend takes.
///
/// 3 to 63 characters: lowercase letters, digits and single dashes, starting and ending with a
/// letter or digit. A queue that jobs run from is at most 56 characters long, so that the name of
/// its poison queue fits too. These are the rules of Azure Queue Storage; holding to them
/// everywhere is what lets a backend be swapped.
///
/// ```
/// use job_core::QueueName;
///
/// let queue = QueueName::new("mail")?;
/// assert_eq!(queue.poison()?.as_str(), "mail-poison");
/// assert!(QueueName::new("Mail").is_err());
/// # Ok::<(), job_core::InvalidQueueName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Checks the name.
    ///
    /// # Errors
    /// [`InvalidQueueName`] says which rule it breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidQueueName> {
        let name = name.as_ref();
        match broken_rule(name) {
            None => Ok(Self(name.into())),
            Some(rule) => Err(InvalidQueueName { name: shorten(name), rule }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The queue that takes what cannot succeed on this one: `<name>-poison`.
    ///
    /// # Errors
    /// If this name leaves no room for the suffix.
    pub fn poison(&self) -> Result<Self, InvalidQueueName> {
        if self.0.len() + POISON_SUFFIX.len() > 63 {
            return Err(InvalidQueueName {
                name: self.0.to_string(),
                rule: "is longer than 56 characters, which leaves no room for `-poison`",
            });
        }
        Self::new(format!("{self}{POISON_SUFFIX}"))
    }

    /// Whether this is the name of a poison queue.
    pub fn is_poison(&self) -> bool {
        self.0.ends_with(POISON_SUFFIX)
    }

    /// The queue that this is the poison queue of, or the queue itself.
    pub(crate) fn healthy(&self) -> Result<Self, InvalidQueueName> {
        match self.0.strip_suffix(POISON_SUFFIX) {
            Some(name) => Self::new(name),
            None => Ok(self.clone()),
        }
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() < 3 {
        Some("is shorter than 3 characters")
    } else if name.len() > 63 {
        Some("is longer than 63 characters")
    } else if !name.chars().all(|c| ok(c) || c == '-') {
        Some("may hold only lowercase letters, digits and dashes")
    } else if !name.starts_with(ok) || !name.ends_with(ok) {
        Some("must start and end with a letter or digit")
    } else if name.contains("--") {
        Some("must not hold two dashes in a row")
    } else {
        None
    }
}

/// A hostile name must not fill a log.
fn shorten(name: &str) -> String {
    const MOST: usize = 80;
    match name.char_indices().nth(MOST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for QueueName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = InvalidQueueName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for QueueName {
    type Error = InvalidQueueName;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

/// A name that no queue can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "queue name `{name}` {rule}; use 3 to 56 lowercase letters, digits and single dashes, such as `mail-out`"
)]
pub struct InvalidQueueName {
    name: String,
    rule: &'static str,
}

/// The identity of a job: a UUIDv7 made when it is enqueued. It stays the same over retries,
/// moves to the poison queue and replays.
///
/// A job that no client enqueued has a UUIDv5: of its source and id if it is an
/// [event](crate#messages-from-elsewhere), so that copies of the event have one id, else of its
/// message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Uuid);

impl JobId {
    /// A new id, ordered by the time of its making.
    #[expect(clippy::new_without_default, reason = "two defaults would differ")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// The id of an event: its source gives all copies of it the same.
    pub(crate) fn for_event(source: &str, id: &str) -> Self {
        /// The namespace of such ids: an arbitrary UUID, fixed for ever.
        const NAMESPACE: Uuid = Uuid::from_u128(0x1f3b_7d52_90c6_4e0b_a8f4_35d1_c27e_6a99);
        // With its length, the source ends where it ends.
        Self(Uuid::new_v5(&NAMESPACE, format!("{}:{source}{id}", source.len()).as_bytes()))
    }

    /// The id of a message that carries none: always the same for the same message, so that
    /// copies of it can be told to be copies.
    pub(crate) fn for_message(queue: &QueueName, message: impl fmt::Display) -> Self {
        /// The namespace of such ids: an arbitrary UUID, fixed for ever.
        const NAMESPACE: Uuid = Uuid::from_u128(0x6d1c_9f0e_2b7a_4c58_9e13_a0d4_77f2_58b6);
        Self(Uuid::new_v5(&NAMESPACE, format!("{queue}/{message}").as_bytes()))
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_every_service_takes() {
        for good in ["abc", "mail", "mail-out", "a1b", "1-2-3", &"x".repeat(63)] {
            assert!(QueueName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Mail", "mail_out", "-mail", "mail-", "a--b", "mäil", &"x".repeat(64)]
        {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn poison_needs_room() {
        let long = QueueName::new("x".repeat(56)).unwrap();
        assert_eq!(long.poison().unwrap().as_str().len(), 63);
        let error = QueueName::new("x".repeat(57)).unwrap().poison().unwrap_err();
        assert!(error.to_string().contains("no room for `-poison`"), "{error}");
    }

    #[test]
    fn a_bad_name_is_explained_and_cut() {
        let error = QueueName::new("Ä".repeat(5000)).unwrap_err().to_string();
        assert!(error.len() < 400, "{error}");
        let error = QueueName::new("My Queue").unwrap_err();
        assert_eq!(
            error.to_string(),
            "queue name `My Queue` may hold only lowercase letters, digits and dashes; \
             use 3 to 56 lowercase letters, digits and single dashes, such as `mail-out`"
        );
    }

    #[test]
    fn the_id_of_an_event_is_that_of_its_source_and_id() {
        let id = JobId::for_event("/orders", "7");
        assert_eq!(id.to_string(), "6d84898f-880a-51ec-a375-defd626e2d9c");
        assert_ne!(JobId::for_event("/order", "s7"), id);
        assert_ne!(JobId::for_event("", "/orders7"), id);
    }

    #[test]
    fn the_id_of_a_bare_message_is_stable() {
        let queue = QueueName::new("mail").unwrap();
        assert_eq!(JobId::for_message(&queue, 7), JobId::for_message(&queue, "7"));
        assert_ne!(JobId::for_message(&queue, 7), JobId::for_message(&queue, 8));
    }
}
