//! The hidden messages, by when they become visible.
//!
//! Most of them come in order: with one lease for a whole worker each lease ends after all that
//! were given before it. Such a message joins the end of a sorted list, in constant time, and
//! leaves it in constant time. Only what comes out of order goes to a heap.

use super::heap::{Due, Heap};
use super::list::{ByPlace, List};
use super::message::{Messages, Place};

pub(super) struct Hidden {
    /// Sorted by [`due`].
    run: List<ByPlace>,
    heap: Heap,
}

impl Hidden {
    pub(super) fn new() -> Self {
        Self { run: List::new(), heap: Heap::default() }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.run.len() + self.heap.len()
    }

    /// The message that becomes visible next.
    pub(super) fn first(&self, messages: &Messages) -> Option<Due> {
        let run = self.run.first().map(|slot| due(messages, slot));
        match (run, self.heap.first()) {
            (Some(run), Some(heap)) => Some(run.min(heap)),
            (run, heap) => run.or(heap),
        }
    }

    /// Takes in a message, to become visible at its `visible_at`.
    pub(super) fn insert(&mut self, messages: &mut Messages, slot: u32) {
        let entry = due(messages, slot);
        if self.run.last().is_none_or(|last| due(messages, last) < entry) {
            messages[slot as usize].place = Place::Run;
            self.run.push_back(messages, slot);
        } else {
            self.heap.insert(entry, |slot, at| messages[slot as usize].place = Place::Heap(at));
        }
    }

    /// Takes out a message that is in the list.
    pub(super) fn remove_from_run(&mut self, messages: &mut Messages, slot: u32) {
        self.run.remove(messages, slot);
    }

    /// Takes out the message at that position of the heap.
    pub(super) fn remove_from_heap(&mut self, messages: &mut Messages, position: u32) {
        self.heap.remove(position, |slot, at| messages[slot as usize].place = Place::Heap(at));
    }
}

fn due(messages: &Messages, slot: u32) -> Due {
    let message = &messages[slot as usize];
    Due { at: message.visible_at, id: message.id, slot }
}
