//! What this worker knows better than the messages: which should be gone, since their job is
//! finished but their delete failed; and which start did not end in a crash.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use crate::backend::MessageId;

/// Remembers the latest so many messages of one queue whose delete failed, so that their
/// redelivery is deleted and not run again.
#[derive(Debug, Default)]
pub(crate) struct VainDeletes {
    known: HashSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl VainDeletes {
    const MOST: usize = 4096;

    pub(crate) fn remember(&mut self, message: MessageId) {
        if !self.known.insert(message.clone()) {
            return;
        }
        self.order.push_back(message);
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, message: &MessageId) -> bool {
        // Nearly always empty, and asked for every message.
        !self.known.is_empty() && self.known.contains(message)
    }
}

/// Remembers the starts of this worker that were marked in their messages and did not end in a
/// crash, although nothing could be written to say so. Bounded, too.
#[derive(Debug)]
pub(crate) struct Survived<K = MessageId> {
    counts: HashMap<K, u32>,
    order: VecDeque<K>,
}

impl<K> Default for Survived<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash> Survived<K> {
    /// The start in the delivery of that count was survived.
    pub(crate) fn remember(&mut self, message: &K, count: Option<u32>) {
        self.order.retain(|known| known != message);
        self.counts.insert(message.clone(), count.unwrap_or(0));
        self.order.push_back(message.clone());
        if self.order.len() > VainDeletes::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
    }

    /// The delivery whose start was survived, if that is known.
    pub(crate) fn get(&self, message: &K) -> Option<u32> {
        self.counts.get(message).copied()
    }

    /// The same. It is forgotten then.
    pub(crate) fn take(&mut self, message: &K) -> Option<u32> {
        if self.counts.is_empty() { None } else { self.counts.remove(message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_oldest() {
        let mut vain = VainDeletes::default();
        for n in 0..=VainDeletes::MOST as u64 {
            vain.remember(n.into());
            vain.remember(n.into());
        }
        assert!(!vain.contains(&0.into()));
        assert!(vain.contains(&1.into()) && vain.contains(&(VainDeletes::MOST as u64).into()));
        assert_eq!(vain.known.len(), VainDeletes::MOST);
    }
    #[test]
    fn a_survived_start_is_remembered_once() {
        let mut survived = Survived::<MessageId>::default();
        assert_eq!(survived.take(&1.into()), None);
        survived.remember(&1.into(), Some(7));
        survived.remember(&2.into(), None);
        assert_eq!(survived.take(&1.into()), Some(7));
        assert_eq!(survived.take(&1.into()), None);
        for n in 0..2 * VainDeletes::MOST as u64 {
            survived.remember(&n.into(), Some(1));
        }
        assert!(survived.counts.len() <= VainDeletes::MOST);
        assert!(survived.order.len() <= VainDeletes::MOST);
    }
}
