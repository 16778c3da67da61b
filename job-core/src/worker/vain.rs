//! Messages that should be gone: their job is finished, but their delete failed.

use std::collections::{HashSet, VecDeque};

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
