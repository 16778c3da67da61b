//! One job in a poison queue.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use super::PoisonQueue;
use crate::backend::MessageId;
use crate::envelope::{DecodeError, Envelope, Event};
use crate::{JobId, PoisonReason, QueueName};

/// One job that could not succeed, or a message that is no job at all.
///
/// Its args are there for who asks for them ([`args`](Self::args)), and are not in its `Debug`.
#[derive(Clone)]
pub struct PoisonJob {
    id: JobId,
    name: Option<String>,
    reason: PoisonReason,
    error: Option<String>,
    attempts: u32,
    queue: QueueName,
    poisoned_at: SystemTime,
    enqueued_at: SystemTime,
    args: Option<String>,
    original: Option<Bytes>,
    body: Bytes,
}

impl PoisonJob {
    /// Makes what it can of a message: anybody may have posted it.
    pub(super) fn read(
        from: &PoisonQueue,
        message_id: &MessageId,
        inserted_at: SystemTime,
        body: Bytes,
    ) -> Self {
        match Envelope::decode(&body) {
            Ok(envelope) => Self::of_envelope(from, inserted_at, &envelope, body.clone()),
            Err(error) => {
                let event = Event::read(&body).ok().flatten();
                let (id, name) = match &event {
                    Some(event) => (event.id, Some(event.name.clone().into_owned())),
                    None => (JobId::for_message(from.name(), message_id), None),
                };
                Self {
                    id,
                    name,
                    reason: match error {
                        DecodeError::NewerFormat(_) => PoisonReason::NewerFormat,
                        _ if event.is_some() => PoisonReason::Other,
                        _ => PoisonReason::Undecodable,
                    },
                    error: event.is_none().then(|| error.to_string()),
                    attempts: 0,
                    queue: from.queue().clone(),
                    poisoned_at: inserted_at,
                    enqueued_at: inserted_at,
                    args: None,
                    original: Some(body.clone()),
                    body,
                }
            }
        }
    }

    fn of_envelope(
        from: &PoisonQueue,
        inserted_at: SystemTime,
        envelope: &Envelope<'_>,
        body: Bytes,
    ) -> Self {
        let Envelope { history, errors, poison, original, .. } = envelope;
        let last = errors.last().map(|last| last.error.clone());
        let settled = history.settled.as_ref().map_or(0, |mark| mark.count);
        let named = poison.as_ref().and_then(|poison| QueueName::new(&poison.queue).ok());
        Self {
            id: envelope.id,
            name: (!envelope.name.is_empty()).then(|| envelope.name.clone().into_owned()),
            reason: poison.as_ref().map_or(PoisonReason::Other, |poison| poison.reason),
            error: poison.as_ref().and_then(|poison| poison.error.clone()).or(last),
            attempts: match original {
                // Of a message that is not ours, deliveries are all that was counted.
                Some(_) => settled,
                None => history.failed.saturating_add(history.crashed),
            },
            queue: named.unwrap_or_else(|| from.queue().clone()),
            poisoned_at: poison.as_ref().map_or(inserted_at, |poison| poison.at),
            enqueued_at: envelope.enqueued_at,
            args: original.is_none().then(|| envelope.args.get().to_owned()),
            original: original.as_ref().and_then(|original| original.bytes()),
            body,
        }
    }

    /// The job's id: the one that its enqueue gave. For an event, one that all its copies share;
    /// for any other message that is no job, one that stays the same as long as the message does.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The job's name, which of an event is its type; `None` for a message that is no job.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Why it is here. [`PoisonReason::Other`] for a job that somebody put here without a reason.
    pub fn reason(&self) -> PoisonReason {
        self.reason
    }

    /// What the reason was in particular, else the error of its last attempt.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How often it was tried.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The queue it came from, and that a replay sends it to.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Since when it is out of the running, by the backend's clock.
    pub fn poisoned_at(&self) -> SystemTime {
        self.poisoned_at
    }

    /// When it was enqueued, by the clock of whoever did.
    pub fn enqueued_at(&self) -> SystemTime {
        self.enqueued_at
    }

    /// Its args, as the JSON text that they were sent as; `None` for a message that is no job.
    /// They may be private: think before you log them.
    pub fn args(&self) -> Option<&str> {
        self.args.as_deref()
    }

    /// The bytes of a message that is no job, as they were posted. They may be private too.
    pub fn original(&self) -> Option<Bytes> {
        self.original.clone()
    }

    /// What a replay sends: the job as if it had never been tried, or the original byte for byte.
    /// `None` if somebody has damaged it so that neither can be made.
    pub(super) fn revived(&self, max_body: usize) -> Option<Bytes> {
        match (&self.original, &self.args) {
            (Some(original), _) => Some(original.clone()),
            (None, None) => None,
            (None, Some(_)) => {
                let mut envelope = Envelope::decode(&self.body).ok()?;
                envelope.start_afresh();
                envelope.encode_within(max_body)
            }
        }
    }
}

impl fmt::Debug for PoisonJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoisonJob")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("reason", &self.reason)
            .field("attempts", &self.attempts)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
