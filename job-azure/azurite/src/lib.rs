//! Starts Azurite, the storage emulator, for tests, examples and benchmarks.
//!
//! Azurite runs on node and comes from npm, in the versions that `npm/package-lock.json` pins.
//! The first use installs it into the target folder; after that no network is needed.
//!
//! ```no_run
//! use job_azurite::Azurite;
//!
//! // One for the whole process, gone when the process is.
//! let azurite = Azurite::shared();
//! println!("{}", azurite.connection_string());
//!
//! // One of its own, gone when dropped.
//! let azurite = Azurite::start()?;
//! println!("{}", azurite.url());
//! # Ok::<(), job_azurite::AzuriteError>(())
//! ```
//!
//! [`Foreign`] clients, Python's and JavaScript's own, send to it and read from it. [`python`] is for
//! programs with other packages.
//!
//! By hand, on a port of your choice: `cargo run -p job-azurite -- 10001`.

mod error;
mod foreign;
mod install;
mod node;
mod python;
mod server;
pub mod vectors;

pub use error::AzuriteError;
pub use foreign::{Encoding, Foreign, ForeignMessage};
pub use python::python;
pub use server::Azurite;
