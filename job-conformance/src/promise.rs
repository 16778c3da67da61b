//! The sentences of the contract, and how a case says which one is broken.

use std::error::Error;
use std::fmt;

use job_core::backend::{BackendError, ErrorKind};

pub(crate) const AS_MANY_RESULTS: &str = "The result has exactly as many items as the request; an empty request is answered with an \
     empty result.";
pub(crate) const AT_ONCE: &str = "A receive returns at once if any message is visible.";
pub(crate) const AT_MOST_WAIT: &str =
    "A receive on an empty queue returns after at most its wait, with an empty batch.";
pub(crate) const BODY_KEPT: &str = "A body arrives byte for byte as it was sent or last replaced.";
pub(crate) const BY_ITSELF: &str =
    "A hidden message becomes visible by itself when its moment comes, and not before.";
pub(crate) const COUNT_RISES: &str =
    "With `counts`, every delivery carries a count that rises by one with each delivery.";
pub(crate) const HONOURS_WAIT: &str =
    "With `long_poll`, a receive waits for a first message and returns once there is one.";
pub(crate) const IN_ORDER: &str =
    "Requests of several items are answered item by item, in the order of the request.";
pub(crate) const ITEMS_APART: &str = "One item that fails does not hide the fate of another.";
pub(crate) const LEASE_ENDS: &str = "A message is visible again when its lease has ended.";
pub(crate) const LEASE_HIDES: &str = "Until the lease ends no other receive returns the message.";
pub(crate) const LEASE_LIMITS: &str =
    "A lease shorter than `min_lease` or longer than `max_lease` is `Invalid`.";
pub(crate) const ID_KEPT: &str =
    "A message's id stays the same from send to delete, also over deliveries and rewrites.";
pub(crate) const MAX_DELAY: &str =
    "A delay of up to `max_delay` is accepted; a longer one is `Invalid`.";
pub(crate) const MOST: &str =
    "A receive gives at most `max` messages, and never more than `max_receive`.";
pub(crate) const NO_QUEUE: &str =
    "`QueueNotFound`: there is no such queue. Only `create_queue` makes one.";
pub(crate) const NO_SECRETS: &str =
    "Errors never hold credentials, receipts or bodies, in Display, Debug or their sources.";
pub(crate) const ONE_CLOCK: &str = "`inserted_at` and `server_now` come from one clock.";
pub(crate) const OVER_LIMIT: &str =
    "A request of more items than the capability allows is answered with `Invalid` for each item.";
pub(crate) const PEEK: &str =
    "A peek shows visible messages without a lease and without counting a delivery.";
pub(crate) const PURGE: &str = "A purge removes every message of the queue, hidden and leased ones too; receipts of what was \
     there are stale afterwards.";
pub(crate) const RELEASE: &str =
    "A release makes a message visible again after the delay, its body as it was.";
pub(crate) const RENEW: &str = "A renew extends the lease to the given time from now and gives the receipt valid from here on.";
pub(crate) const REPLACE: &str = "A replace rewrites the body and hides the message for the delay, in one step that either \
     happens whole or not at all.";
pub(crate) const REPLACE_KEEPS: &str =
    "Over a replace, message id, delivery count and insertion time stay.";
pub(crate) const REPLACE_RECEIPT: &str =
    "The receipt of a replace is valid until the message is received again.";
pub(crate) const ROTATES: &str =
    "Each receive, renew, release and replace makes every earlier receipt of that message stale.";
pub(crate) const STALE: &str =
    "A stale receipt, or one whose message is gone, gives `LeaseLost` and changes nothing.";
pub(crate) const STATS: &str =
    "With `exact_stats`, stats count all messages: visible, delayed and leased.";
pub(crate) const STAYS: &str =
    "Only delete, purge and the end of its TTL make a message go; nothing is lost.";
pub(crate) const TOO_LARGE: &str = "A body of up to `max_body` is accepted whatever it holds; a longer one may be `TooLarge`, \
     which changes nothing.";
pub(crate) const TTL: &str = "With `ttl`, a message is gone at the end of its TTL.";
pub(crate) const WAKES: &str =
    "With `wakes`, wait_visible returns when a message has become visible.";
pub(crate) const WAIT_ENDS: &str = "wait_visible returns after at most the time it is given.";

/// Fails the case unless the condition holds: with the promise, then with what happened.
macro_rules! ensure {
    ($kept:expr, $promise:expr, $($what:tt)+) => {
        match $kept {
            true => {}
            false => $crate::promise::broken($promise, format_args!($($what)+)),
        }
    };
}
pub(crate) use ensure;

/// Fails the case.
#[track_caller]
pub(crate) fn broken(promise: &str, what: fmt::Arguments<'_>) -> ! {
    panic!("the contract is broken: \"{promise}\" But: {what}");
}

/// What a promise says of a result.
pub(crate) trait Kept<T> {
    /// It is a success.
    fn kept(self, promise: &str) -> T;
    /// It is an error of that kind.
    fn refused(self, kind: ErrorKind, promise: &str);
}

impl<T> Kept<T> for Result<T, BackendError> {
    #[track_caller]
    fn kept(self, promise: &str) -> T {
        self.unwrap_or_else(|error| broken(promise, format_args!("{}", chain(&error))))
    }

    #[track_caller]
    fn refused(self, kind: ErrorKind, promise: &str) {
        match self {
            Err(error) if error.kind() == kind => {}
            Err(error) => broken(promise, format_args!("not {kind:?} but: {}", chain(&error))),
            Ok(_) => broken(promise, format_args!("it succeeded")),
        }
    }
}

/// An error with its sources.
pub(crate) fn chain(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
