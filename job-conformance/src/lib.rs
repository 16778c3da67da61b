//! The contract of [`Backend`](job_core::backend::Backend) as a test suite that every backend runs.
//!
//! Each case is a public function about one promise of the contract. The list of them is generated,
//! so that none can be forgotten. A case that a backend's
//! [`Capabilities`](job_core::backend::Capabilities) rule out is skipped, and the skip is printed
//! with its reason; no case asks for a backend's name.
//!
//! A backend's `tests/conformance.rs` is a [`Harness`] and one use of [`suite!`], which makes a test
//! of each case. [`run`] runs all of them in one go and gives a [`Report`].
//!
//! A case that fails quotes the sentence of the contract that is broken, then says what happened.

mod case;
mod fixture;
mod harness;
mod list;
mod need;
mod promise;
mod run;
mod topics;

pub use self::case::Case;
pub use self::fixture::Fixture;
pub use self::harness::Harness;
pub use self::run::{Outcome, Report, check, list_skips, run, run_side_by_side};

__for_each_case! { __collect! () }
