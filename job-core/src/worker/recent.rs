//! What is known better than it stands in the messages: which should be gone, since their job is
//! finished but their delete failed; and which start did not end in a crash.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// Remembers the latest so many.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    known: HashSet<K>,
    order: VecDeque<K>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self { known: HashSet::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash> Recent<K> {
    const MOST: usize = 4096;

    pub(crate) fn remember(&mut self, key: K) {
        if !self.known.insert(key.clone()) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.known.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let mut recent = Recent::default();
        for n in 0..=Recent::<usize>::MOST {
            recent.remember(n);
            recent.remember(n);
        }
        assert!(!recent.contains(&0));
        assert!(recent.contains(&1) && recent.contains(&Recent::<usize>::MOST));
        assert_eq!(recent.known.len(), Recent::<usize>::MOST);
        assert_eq!(recent.order.len(), Recent::<usize>::MOST);
    }
}
