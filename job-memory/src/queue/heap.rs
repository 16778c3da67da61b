//! A binary heap that knows where each message is, so that any can be taken out exactly.

use crate::clock::Moment;

/// A message and the moment it is due. Ties go to the older message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Moment,
    pub(super) id: u64,
    pub(super) slot: u32,
}

/// The earliest first. Whoever owns the heap keeps each message's position: every change of one
/// is reported to `moved(slot, position)`.
#[derive(Default)]
pub(super) struct Heap {
    entries: Vec<Due>,
}

impl Heap {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first(&self) -> Option<Due> {
        self.entries.first().copied()
    }

    pub(super) fn insert(&mut self, due: Due, mut moved: impl FnMut(u32, u32)) {
        self.entries.push(due);
        self.rise(self.entries.len() - 1, &mut moved);
    }

    /// Takes out the message at that position.
    pub(super) fn remove(&mut self, position: u32, mut moved: impl FnMut(u32, u32)) {
        let position = position as usize;
        self.entries.swap_remove(position);
        if position < self.entries.len() {
            // What came from the end may belong above or below; only one of the two moves it.
            let position = self.rise(position, &mut moved);
            self.sink(position, &mut moved);
        }
    }

    fn rise(&mut self, mut position: usize, moved: &mut impl FnMut(u32, u32)) -> usize {
        let due = self.entries[position];
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.entries[parent] <= due {
                break;
            }
            self.put(position, self.entries[parent], moved);
            position = parent;
        }
        self.put(position, due, moved);
        position
    }

    fn sink(&mut self, mut position: usize, moved: &mut impl FnMut(u32, u32)) {
        let due = self.entries[position];
        loop {
            let left = 2 * position + 1;
            let right = left + 1;
            if left >= self.entries.len() {
                break;
            }
            let child = if right < self.entries.len() && self.entries[right] < self.entries[left] {
                right
            } else {
                left
            };
            if due <= self.entries[child] {
                break;
            }
            self.put(position, self.entries[child], moved);
            position = child;
        }
        self.put(position, due, moved);
    }

    fn put(&mut self, position: usize, due: Due, moved: &mut impl FnMut(u32, u32)) {
        self.entries[position] = due;
        // Slots are 32 bits wide and each is here at most once.
        moved(due.slot, position as u32);
    }
}
