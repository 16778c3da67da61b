//! A doubly linked list through the messages themselves.

use std::marker::PhantomData;

use super::message::{Message, Messages};

/// No slot: the end of a list.
const END: u32 = u32::MAX;

/// The neighbours of a message in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    /// In no list.
    pub(super) const NONE: Self = Self { prev: END, next: END };
}

/// Which of a message's links a list runs through.
pub(super) trait Chain {
    fn links(message: &mut Message) -> &mut Links;
    fn next(message: &Message) -> u32;
}

/// The links for the list that the message's place names.
pub(super) struct ByPlace;

/// The links for the list of all messages.
pub(super) struct ByAge;

impl Chain for ByPlace {
    fn links(message: &mut Message) -> &mut Links {
        &mut message.links
    }

    fn next(message: &Message) -> u32 {
        message.links.next
    }
}

impl Chain for ByAge {
    fn links(message: &mut Message) -> &mut Links {
        &mut message.age
    }

    fn next(message: &Message) -> u32 {
        message.age.next
    }
}

/// A list of messages: push at the back, remove anywhere, both in constant time.
pub(super) struct List<C> {
    first: u32,
    last: u32,
    len: usize,
    chain: PhantomData<C>,
}

impl<C: Chain> List<C> {
    pub(super) fn new() -> Self {
        Self { first: END, last: END, len: 0, chain: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn first(&self) -> Option<u32> {
        slot(self.first)
    }

    pub(super) fn last(&self) -> Option<u32> {
        slot(self.last)
    }

    /// The slots from front to back.
    pub(super) fn iter<'a>(
        &self,
        messages: &'a Messages,
    ) -> impl Iterator<Item = u32> + use<'a, C> {
        std::iter::successors(slot(self.first), |&at| slot(C::next(&messages[at as usize])))
    }

    pub(super) fn push_back(&mut self, messages: &mut Messages, at: u32) {
        *C::links(&mut messages[at as usize]) = Links { prev: self.last, next: END };
        match slot(self.last) {
            Some(last) => C::links(&mut messages[last as usize]).next = at,
            None => self.first = at,
        }
        self.last = at;
        self.len += 1;
    }

    /// Takes out a message that is in this list.
    pub(super) fn remove(&mut self, messages: &mut Messages, at: u32) {
        let Links { prev, next } =
            std::mem::replace(C::links(&mut messages[at as usize]), Links::NONE);
        match slot(prev) {
            Some(prev) => C::links(&mut messages[prev as usize]).next = next,
            None => self.first = next,
        }
        match slot(next) {
            Some(next) => C::links(&mut messages[next as usize]).prev = prev,
            None => self.last = prev,
        }
        self.len -= 1;
    }
}

fn slot(link: u32) -> Option<u32> {
    (link != END).then_some(link)
}
