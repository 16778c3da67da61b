//! What this worker knows better than the messages: which should be gone, since their job is
//! finished but their delete failed; and which start did not end in a crash.

use std::collections::{HashMap, HashSet, VecDeque};

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
#[derive(Debug, Default)]
pub(crate) struct Survived {
    counts: HashMap<MessageId, u32>,
    order: VecDeque<MessageId>,
}

impl Survived {
    /// The start in the delivery of that count was survived.
    pub(crate) fn remember(&mut self, message: &MessageId, count: Option<u32>) {
        self.counts.insert(message.clone(), count.unwrap_or(0));
        self.order.push_back(message.clone());
        if self.order.len() > VainDeletes::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
    }

    /// The delivery whose start was survived, if that is known. It is forgotten then.
    pub(crate) fn take(&mut self, message: &MessageId) -> Option<u32> {
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
}
