//! Every message there is, as the requests that went by tell it: a pure record that takes the time.
//!
//! A queue service shows neither what is hidden nor what is gone. All requests of a test's client
//! and worker go through the kit, so it can tell, whatever the service.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use job_core::QueueName;
use job_core::backend::MessageId;

use super::wire::Wire;

/// The messages of all queues, in the order in which they were sent.
#[derive(Debug)]
pub(super) struct Book {
    /// What the service rounds delays and leases up to.
    grain: Duration,
    entries: BTreeMap<u64, Entry>,
    by_message: HashMap<(QueueName, MessageId), u64>,
    /// What was finished and is on no queue any more.
    past: Vec<Past>,
    sent: u64,
}

/// One message that is on a queue.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) queue: QueueName,
    pub(super) wire: Wire,
    /// The delay that it was last sent or put off with.
    pub(super) delay: Duration,
    /// When it is, or was, visible.
    pub(super) due: SystemTime,
    /// A worker has it, or had it when it was killed.
    pub(super) held: bool,
}

/// One job that is on no queue any more.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) queue: QueueName,
    pub(super) wire: Wire,
    pub(super) how: &'static str,
}

impl Book {
    pub(super) fn new(grain: Duration) -> Self {
        let (entries, by_message, past, sent) = Default::default();
        Self { grain, entries, by_message, past, sent }
    }

    /// A message was sent.
    pub(super) fn sent(
        &mut self,
        queue: &QueueName,
        message: MessageId,
        body: &Bytes,
        delay: Duration,
        now: SystemTime,
    ) {
        self.sent += 1;
        let wire = Wire::read(body);
        let whole = delay + Duration::from_millis(wire.delay_left);
        let (queue, held) = (queue.clone(), false);
        self.by_message.insert((queue.clone(), message), self.sent);
        let entry = Entry { queue, wire, delay: whole, due: now + self.kept(delay), held };
        self.entries.insert(self.sent, entry);
    }

    /// A worker took it, or went on holding it, for as long as that lease.
    pub(super) fn held(
        &mut self,
        queue: &QueueName,
        message: &MessageId,
        lease: Duration,
        now: SystemTime,
    ) {
        let lease = self.kept(lease);
        if let Some(entry) = self.entry(queue, message) {
            entry.held = true;
            entry.due = now + lease;
        }
    }

    /// It was put back, to be visible after that delay.
    pub(super) fn put_off(
        &mut self,
        queue: &QueueName,
        message: &MessageId,
        delay: Duration,
        now: SystemTime,
    ) {
        let kept = self.kept(delay);
        if let Some(entry) = self.entry(queue, message) {
            entry.held = false;
            entry.delay = delay + Duration::from_millis(entry.wire.delay_left);
            entry.due = now + kept;
        }
    }

    /// It was rewritten.
    pub(super) fn rewritten(&mut self, queue: &QueueName, message: &MessageId, body: &Bytes) {
        if let Some(entry) = self.entry(queue, message) {
            entry.wire = Wire::read(body);
        }
    }

    /// It is gone: `how`, if that is worth remembering.
    pub(super) fn gone(
        &mut self,
        queue: &QueueName,
        message: &MessageId,
        how: Option<&'static str>,
    ) {
        let Some(number) = self.by_message.remove(&(queue.clone(), message.clone())) else {
            return;
        };
        if let Some(Entry { queue, wire, .. }) = self.entries.remove(&number)
            && let Some(how) = how
        {
            self.past.push(Past { queue, wire, how });
        }
    }

    /// A job was run at its enqueue, and was on no queue at all.
    pub(super) fn passed_by(&mut self, queue: &QueueName, wire: Wire, how: &'static str) {
        self.past.push(Past { queue: queue.clone(), wire, how });
    }

    /// All messages of a queue are gone.
    pub(super) fn purged(&mut self, queue: &QueueName) {
        self.entries.retain(|_, entry| entry.queue != *queue);
        self.by_message.retain(|(of, _), _| of != queue);
    }

    /// Every message on a queue, in the order in which they were sent.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Every job that is on no queue any more.
    pub(super) fn past(&self) -> impl Iterator<Item = &Past> {
        self.past.iter()
    }

    /// The queue of the message that has been due for the longest, or for the shortest if the
    /// order is turned round.
    pub(super) fn due(
        &self,
        queues: &BTreeSet<QueueName>,
        now: SystemTime,
        turned: bool,
    ) -> Option<QueueName> {
        let due = self.entries.iter().filter(|(_, entry)| entry.is_due(queues, now));
        let key = |(number, entry): &(&u64, &Entry)| (entry.due, **number);
        let entry = if turned { due.max_by_key(key) } else { due.min_by_key(key) };
        entry.map(|(_, entry)| entry.queue.clone())
    }

    /// Whether a message of that queue is due.
    pub(super) fn is_due(&self, queue: &QueueName, now: SystemTime) -> bool {
        self.entries.values().any(|entry| entry.queue == *queue && entry.due <= now)
    }

    /// When the next message of those queues is due, or was.
    pub(super) fn next_due(&self, queues: &BTreeSet<QueueName>) -> Option<SystemTime> {
        let of_queues = self.entries.values().filter(|entry| queues.contains(&entry.queue));
        of_queues.map(|entry| entry.due).min()
    }

    /// How many times a message was sent.
    pub(super) fn count(&self) -> u64 {
        self.sent
    }

    /// A delay or lease as the service keeps it.
    fn kept(&self, span: Duration) -> Duration {
        let grain = self.grain.as_nanos().max(1);
        let kept = span.as_nanos().div_ceil(grain).saturating_mul(grain);
        u64::try_from(kept).map_or(span, Duration::from_nanos)
    }

    fn entry(&mut self, queue: &QueueName, message: &MessageId) -> Option<&mut Entry> {
        let number = self.by_message.get(&(queue.clone(), message.clone()))?;
        self.entries.get_mut(number)
    }
}

impl Entry {
    fn is_due(&self, queues: &BTreeSet<QueueName>, now: SystemTime) -> bool {
        self.due <= now && queues.contains(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(queue: &str) -> QueueName {
        QueueName::new(queue).unwrap()
    }

    fn book() -> (Book, BTreeSet<QueueName>, SystemTime) {
        let (mut book, now) = (Book::new(SECOND), SystemTime::UNIX_EPOCH);
        for (number, queue, delay) in [(1, "mail", 5), (2, "mail", 0), (3, "pay", 0)] {
            book.sent(&name(queue), number.into(), &"{}".into(), delay * SECOND, now);
        }
        (book, BTreeSet::from([name("mail"), name("pay")]), now)
    }

    #[test]
    fn what_is_due_for_the_longest_is_first() {
        let (mut book, both, now) = book();
        assert_eq!(book.due(&both, now, false), Some(name("mail")));
        assert_eq!(book.due(&both, now, true), Some(name("pay")));
        assert_eq!(book.due(&BTreeSet::from([name("other")]), now, false), None);
        book.gone(&name("mail"), &2.into(), Some("completed"));
        book.held(&name("pay"), &3.into(), 60 * SECOND, now);
        assert_eq!(book.due(&both, now, false), None);
        assert_eq!(book.next_due(&both), Some(now + 5 * SECOND));
        assert_eq!(book.past().count(), 1);
    }

    #[test]
    fn what_the_service_rounds_up_is_rounded_up_here() {
        let (mut book, both, now) = book();
        book.sent(&name("pay"), 4.into(), &"{}".into(), SECOND / 2, now);
        book.put_off(&name("pay"), &3.into(), SECOND / 3, now);
        book.gone(&name("mail"), &2.into(), None);
        assert_eq!(book.next_due(&both), Some(now + SECOND));
        assert_eq!(book.entries().last().map(|entry| entry.delay), Some(SECOND / 2));
    }

    #[test]
    fn what_was_put_off_is_due_again_later() {
        let (mut book, both, now) = book();
        book.put_off(&name("mail"), &2.into(), 7 * SECOND, now);
        assert_eq!(book.due(&both, now, false), Some(name("pay")));
        assert!(book.is_due(&name("mail"), now + 5 * SECOND));
        book.purged(&name("pay"));
        assert_eq!(book.due(&both, now, false), None);
        assert_eq!(book.entries().map(|entry| entry.delay.as_secs()).collect::<Vec<_>>(), [5, 7]);
    }
}
