//! Shared key signatures as another implementation computes them.

use crate::{AzuriteError, python};

/// What `job-azure/tests/vectors/shared_key.json` is to hold: requests and their signatures,
/// computed by Python's `azure-storage-queue`.
///
/// # Errors
///
/// As [`Foreign::python`](crate::Foreign::python).
pub fn shared_key() -> Result<String, AzuriteError> {
    python::run(&mut python::script("shared_key_vectors.py")?)
}
