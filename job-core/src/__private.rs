//! What the expansion of the macros refers to. Not for use by hand; it may change at any time.

pub use inventory;
pub use serde;

pub use crate::classify::{AsError, Classifier, Classify, Delay, ErrorType, Verdict, verdict};

use crate::{Job, JobError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the function behind a job may return.
#[diagnostic::on_unimplemented(
    message = "a job cannot return `{Self}`",
    label = "not a `Result<(), _>` whose error becomes a `JobError`",
    note = "write `-> Result<(), JobError>`: `?` turns every error into a `JobError`",
    note = "an error type of your own implements `std::error::Error`, or `JobError` implements `From` it; a `Box<dyn Error>` needs `+ Send + Sync`"
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

/// Says that `H` runs this job, in that crate. `#[handler]` implements it, and then leaves it to the
/// compiler to find out who `H` is. With one answer, it takes that. With two, it takes the type of
/// a closure that never returns, and finds that this one is none; which is the error that we want,
/// wherever in the crate the two are, and whoever the job belongs to: a trait without `H` could not
/// be implemented for the job of another crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has two handlers",
    label = "another `#[handler]` in this crate takes this job, too",
    note = "a job has one handler: remove the other, or give it a job of its own"
)]
pub trait HandledBy<H, const CRATE: u32> {
    fn alone(_: fn() -> H) {}
}

/// A number for the crate that a module is in. Another crate may well have another handler of the
/// same job, for a worker of its own. Digits at the end of its name are left out: trybuild puts
/// them there, and the number is in the error message.
pub const fn crate_of(module: &str) -> u32 {
    let bytes = module.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b':' {
        end += 1;
    }
    while end > 0 && bytes[end - 1].is_ascii_digit() {
        end -= 1;
    }
    // FNV-1a.
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    while at < end {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

/// Refuses an upgrade that is not from the version before. So does
/// [`Args::read_or_upgrade`](crate::Args::read_or_upgrade), but `cargo check` does not get that far.
#[track_caller]
pub const fn upgrades<Old: Job, New: Job, Out>(_: &impl FnOnce(Old) -> Out) {
    assert!(
        Old::VERSION + 1 == New::VERSION,
        "an upgrade is from the version before: give the older job that `version`"
    );
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
