//! What the expansion of the macros refers to. Not for use by hand; it may change at any time.

pub use inventory;
pub use serde;

pub use crate::classify::{AsError, Classifier, Classify, Delay, ErrorType, Verdict, verdict};

use crate::JobError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the function behind a job may return.
#[diagnostic::on_unimplemented(
    message = "a job cannot return `{Self}`",
    label = "not a `Result<(), _>` whose error becomes a `JobError`",
    note = "write `-> Result<(), JobError>`: `?` turns every error into a `JobError`",
    note = "an error type of your own implements `std::error::Error`, or `JobError` implements `From` it"
)]
pub trait Returned {
    fn into_result(self) -> Result<(), JobError>;
}

#[diagnostic::do_not_recommend]
impl<E: Into<JobError>> Returned for Result<(), E> {
    fn into_result(self) -> Result<(), JobError> {
        self.map_err(Into::into)
    }
}

/// The wire form of a job without args: an empty map, to which fields may be added later.
#[derive(Serialize, Deserialize)]
struct Empty {}

/// Stands for `Empty` in the expansion, whose scope may lack serde's traits.
#[derive(Debug)]
pub struct NoArgs;

impl NoArgs {
    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        Serialize::serialize(&Empty {}, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        <Empty as Deserialize>::deserialize(deserializer).map(|Empty {}| ())
    }
}

/// Stands in for serde's derives where an arg cannot travel, so that there is one error only: the
/// one about that arg.
pub trait Unfit {
    fn serialize<T, S: Serializer>(_: &T, _: S) -> Result<S::Ok, S::Error> {
        unreachable!("a program with such an arg does not compile")
    }

    fn deserialize<'de, T, D: Deserializer<'de>>(_: D) -> Result<T, D::Error> {
        unreachable!("a program with such an arg does not compile")
    }
}

impl<T> Unfit for T {}
