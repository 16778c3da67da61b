//! Who may do what.

use crate::error::ServiceError;

/// Why a request's credentials do not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are none: 401 `NoAuthenticationInformation`.
    NoCredentials,
    /// The token is expired or malformed: 401 `InvalidAuthenticationInfo`.
    InvalidToken,
    /// The signature or key is wrong, or the SAS has expired: 403 `AuthenticationFailed`.
    AuthenticationFailed,
    /// The role or SAS does not cover the operation: 403 `AuthorizationPermissionMismatch`.
    PermissionMismatch,
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoCredentials => Self::NO_CREDENTIALS,
            Refusal::InvalidToken => Self::INVALID_TOKEN,
            Refusal::AuthenticationFailed => Self::AUTHENTICATION_FAILED,
            Refusal::PermissionMismatch => Self::PERMISSION_MISMATCH,
        }
    }
}
