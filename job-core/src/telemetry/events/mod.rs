//! Every log line of this crate, each as a function: what calls it cannot get a name, a level or a
//! field wrong, and the table of them is made of the same text.

mod client;
mod supervisor;
mod worker;

use std::fmt;

use tokio::time::Instant;
use tracing::Level;

pub(crate) use self::client::*;
#[cfg(all(unix, feature = "supervisor"))]
pub(crate) use self::supervisor::*;
pub(crate) use self::worker::*;

/// A log line that this crate can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventInfo {
    /// Its name, which `tracing` has in its metadata.
    pub name: &'static str,
    /// How grave it is.
    pub level: Level,
    /// Where it comes from, to filter by.
    pub target: &'static str,
    /// What it says.
    pub message: &'static str,
    /// What it says it of, without the message.
    pub fields: &'static [&'static str],
}

/// Makes a function of each event, and a table of all.
macro_rules! events {
    ($table:ident, $target:literal; $(
        $(#[$meta:meta])*
        $level:ident $name:ident $message:literal {
            $($field:ident: $type:ty $(=> $how:ident)?),* $(,)?
        }
    )+) => {
        $(
            $(#[$meta])*
            #[allow(clippy::too_many_arguments, reason = "each is a field")]
            #[inline]
            pub(crate) fn $name($($field: $type),*) {
                tracing::event!(
                    name: stringify!($name),
                    target: $target,
                    tracing::Level::$level,
                    { $($field = $crate::telemetry::events::value!($($how)? $field)),* },
                    $message
                );
            }
        )+

        pub(super) const $table: &[$crate::telemetry::EventInfo] = &[$(
            $crate::telemetry::EventInfo {
                name: stringify!($name),
                level: tracing::Level::$level,
                target: $target,
                message: $message,
                fields: &[$(stringify!($field)),*],
            },
        )+];
    };
}

macro_rules! value {
    (display $field:ident) => {
        tracing::field::display($field)
    };
    (display_if $field:ident) => {
        $field.map(tracing::field::display)
    };
    (debug $field:ident) => {
        tracing::field::debug($field)
    };
    ($field:ident) => {
        $field
    };
}

use events;
pub(super) use value;

/// The log lines of this crate, by where they come from.
pub(super) fn all() -> impl Iterator<Item = &'static EventInfo> {
    worker::EVENTS.iter().chain(client::EVENTS).chain(supervisor::EVENTS)
}

/// The time since then, asked for only where somebody wants to know it.
pub(crate) struct Since(pub(crate) Option<Instant>);

impl fmt::Debug for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => at.elapsed().fmt(f),
            None => f.write_str("none"),
        }
    }
}
