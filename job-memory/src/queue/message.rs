//! One message and its places in the indexes.

use bytes::Bytes;
use slab::Slab;

use super::list::Links;
use crate::clock::Moment;

/// All messages of a queue, by slot. Slots are reused, ids are not.
pub(super) type Messages = Slab<Message>;

/// A message, with its links into the indexes held in place: an index adds no allocation of its
/// own, and a message can be taken out of each without a search.
pub(super) struct Message {
    pub(super) body: Bytes,
    /// Its number in the queue, never given again.
    pub(super) id: u64,
    pub(super) inserted_at: Moment,
    pub(super) visible_at: Moment,
    /// The end of its TTL, or [`Moment::NEVER`].
    pub(super) expires_at: Moment,
    /// How often it was delivered.
    pub(super) count: u32,
    /// Raised whenever its earlier receipts are to become stale.
    pub(super) generation: u32,
    pub(super) place: Place,
    /// Its neighbours in the list that `place` names.
    pub(super) links: Links,
    /// Its neighbours in the list of all messages by age.
    pub(super) age: Links,
    /// Its position in the heap of TTLs, if it has one.
    pub(super) expiry: u32,
}

/// Which index a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The list of visible messages.
    Ready,
    /// The list of hidden messages.
    Run,
    /// The heap of hidden messages, at that position.
    Heap(u32),
}
