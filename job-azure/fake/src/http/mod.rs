//! The REST service's HTTP: from a request to an operation, from its outcome to an answer.

mod answer;
mod ids;
mod route;
mod xml;

pub(crate) use self::answer::{Answer, Context};
pub(crate) use self::route::{Route, command, route};
