//! The requests that a service has seen.

use std::fmt;

/// An operation of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Makes a queue.
    CreateQueue,
    /// Deletes a queue and what is in it.
    DeleteQueue,
    /// Gives a queue's metadata and how many messages it has.
    GetProperties,
    /// Posts a message.
    Send,
    /// Leases messages.
    Receive,
    /// Looks at messages.
    Peek,
    /// Renews or gives back a lease, and rewrites the message if it has a body.
    Update,
    /// Deletes a message.
    Delete,
    /// Deletes all messages of a queue.
    Clear,
}

/// A request that has arrived, as a fault is decided for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// What is to be done.
    pub operation: Operation,
    /// To which queue.
    pub queue: String,
    /// To which message, for [`Operation::Update`] and [`Operation::Delete`].
    pub message_id: Option<String>,
    /// Which request it is of all, from 1.
    pub number: u64,
    /// Which request it is of those with its operation, from 1.
    pub nth_of_operation: u64,
}

/// How many requests there were, by operation. Those that a fault struck count too.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; Operation::ALL.len()]);

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 9] = [
        Self::CreateQueue,
        Self::DeleteQueue,
        Self::GetProperties,
        Self::Send,
        Self::Receive,
        Self::Peek,
        Self::Update,
        Self::Delete,
        Self::Clear,
    ];
}

impl Counts {
    /// How many had this operation.
    pub fn of(&self, operation: Operation) -> u64 {
        self.0[operation as usize]
    }

    /// How many there were of any operation.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, operation: Operation) {
        self.0[operation as usize] += 1;
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Operation::ALL.map(|operation| (operation, self.of(operation)));
        f.debug_map().entries(counts.into_iter().filter(|(_, count)| *count > 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_count_of_its_own() {
        let mut counts = Counts::default();
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, at);
            counts.add(operation);
        }
        counts.add(Operation::Send);
        assert_eq!(counts.of(Operation::Send), 2);
        assert_eq!(counts.total(), 10);
    }
}
