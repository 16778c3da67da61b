//! A job as it is understood, every part of it checked: what all forms of the macro come to, and
//! all that `expand` knows.

use std::time::Duration;

use proc_macro2::Span;
use syn::{Attribute, ExprPath, Ident, LitStr, Path, Type, Visibility};

/// What a macro call is about: a message, a handler, or both. A part that should be there is not
/// where errors have left it out.
pub(crate) struct Job {
    /// Where job-core is.
    pub(crate) krate: Path,
    /// What travels.
    pub(crate) message: Option<Message>,
    /// What runs it.
    pub(crate) handler: Option<Handler>,
}

/// The args struct and what holds for it.
pub(crate) struct Message {
    pub(crate) ident: Ident,
    /// `None` if the struct is there already, with serde's derives.
    pub(crate) definition: Option<Definition>,
    /// The name on the wire.
    pub(crate) name: LitStr,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) version: Option<u32>,
    /// What makes the args of those of the version before.
    pub(crate) upgrade: Option<ExprPath>,
    pub(crate) options: Options,
}

/// The struct of the args.
pub(crate) struct Definition {
    /// Where it is, for errors and lints: at the struct that was written, or else in the macro.
    pub(crate) span: Span,
    pub(crate) vis: Visibility,
    /// All that go to the struct as it is.
    pub(crate) attrs: Vec<Attribute>,
    /// `#[serde(..)]`.
    pub(crate) serde: Vec<Attribute>,
    /// `None` for a unit struct.
    pub(crate) fields: Option<Vec<Field>>,
    /// Whether it has no `Debug` yet.
    pub(crate) hidden_debug: bool,
    /// The types of fields to be asked whether they can travel, as far as nobody knows.
    pub(crate) doubtful: Vec<Type>,
}

/// An arg.
pub(crate) struct Field {
    /// All but `#[serde(..)]`.
    pub(crate) attrs: Vec<Attribute>,
    /// `#[serde(..)]`.
    pub(crate) serde: Vec<Attribute>,
    pub(crate) vis: Visibility,
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
    pub(crate) vis: Visibility,
    pub(crate) function: Ident,
    pub(crate) params: Vec<Param>,
    /// The job of `#[handler]`; `None` if it is the message beside the handler.
    pub(crate) job: Option<Type>,
    /// Where a wrong return type is to be shown.
    pub(crate) output: Span,
}

/// Where the value of a parameter comes from.
pub(crate) enum Param {
    /// The field of that name.
    Arg(Ident),
    /// The job as a whole.
    Job,
    /// The worker.
    Injected(Type),
}
