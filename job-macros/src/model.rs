//! A job as it is understood, every part of it checked: what all forms of the macro come to, and
//! all that `expand` knows.

use std::time::Duration;

use proc_macro2::Span;
use syn::{Attribute, ExprPath, Ident, LitStr, Path, Type, Visibility};

/// A job with its handler. The parts are optional as far as errors may have left them out; without
/// errors all are there.
pub(crate) struct Job {
    /// Where job-core is.
    pub(crate) krate: Path,
    /// The message, unless the args or the name of its struct are wrong.
    pub(crate) message: Option<Message>,
    /// What runs it.
    pub(crate) handler: Handler,
}

/// The args struct: what travels.
pub(crate) struct Message {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    /// Doc comments and `#[serde(..)]`.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) fields: Vec<Field>,
    /// The name on the wire.
    pub(crate) name: LitStr,
    pub(crate) options: Options,
}

/// An arg.
pub(crate) struct Field {
    /// Doc comments and `#[serde(..)]`.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
}

/// What holds for every job of this kind.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) queue: Option<LitStr>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) expires_in: Option<Duration>,
}

/// How long to wait between attempts.
pub(crate) enum Backoff {
    Exponential { base: Duration, max: Duration },
    Linear { step: Duration, max: Duration },
    Fixed(Duration),
    Custom(ExprPath),
}

/// The function behind a job, with its parameters in order.
pub(crate) struct Handler {
    pub(crate) function: Ident,
    pub(crate) params: Vec<Param>,
    /// Where a wrong return type is to be shown.
    pub(crate) output: Span,
}

/// Where the value of a parameter comes from.
pub(crate) enum Param {
    /// The field of that name.
    Arg(Ident),
    /// The worker.
    Injected(Type),
}
