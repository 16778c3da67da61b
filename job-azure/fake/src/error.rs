//! What the service refuses with.

use std::time::Duration;

/// An answer that is no success: what goes into its status line, headers and XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    pub(crate) retry_after: Option<Duration>,
}

const fn error(status: u16, code: &'static str, message: &'static str) -> ServiceError {
    ServiceError { status, code, message, retry_after: None }
}

impl ServiceError {
    pub(crate) const QUEUE_NOT_FOUND: Self =
        error(404, "QueueNotFound", "The specified queue does not exist.");
    pub(crate) const QUEUE_ALREADY_EXISTS: Self =
        error(409, "QueueAlreadyExists", "The specified queue already exists.");
    pub(crate) const QUEUE_BEING_DELETED: Self =
        error(409, "QueueBeingDeleted", "The specified queue is being deleted.");
    pub(crate) const MESSAGE_NOT_FOUND: Self =
        error(404, "MessageNotFound", "The specified message does not exist.");
    pub(crate) const POP_RECEIPT_MISMATCH: Self = error(
        400,
        "PopReceiptMismatch",
        "The specified pop receipt did not match the pop receipt for a dequeued message.",
    );
    pub(crate) const INVALID_RESOURCE_NAME: Self = error(
        400,
        "InvalidResourceName",
        "The specified resource name contains invalid characters.",
    );
    pub(crate) const OUT_OF_RANGE_INPUT: Self =
        error(400, "OutOfRangeInput", "One of the request inputs is out of range.");
    pub(crate) const OUT_OF_RANGE_QUERY: Self = error(
        400,
        "OutOfRangeQueryParameterValue",
        "One of the query parameters specified in the request URI is outside the permissible \
         range.",
    );
    pub(crate) const INVALID_QUERY: Self = error(
        400,
        "InvalidQueryParameterValue",
        "Value for one of the query parameters specified in the request URI is invalid.",
    );
    pub(crate) const MISSING_QUERY: Self = error(
        400,
        "MissingRequiredQueryParameter",
        "A query parameter that's mandatory for this request is not specified.",
    );
    pub(crate) const INVALID_XML: Self =
        error(400, "InvalidXmlDocument", "XML specified is not syntactically valid.");
    pub(crate) const BODY_TOO_LARGE: Self = error(
        413,
        "RequestBodyTooLarge",
        "The request body is too large and exceeds the maximum permissible limit.",
    );
    pub(crate) const SERVER_BUSY: Self =
        error(503, "ServerBusy", "The server is busy. Please retry your request.");
    pub(crate) const NOT_IMPLEMENTED: Self =
        error(501, "NotImplemented", "This operation is not part of what is imitated here.");
    pub(crate) const NO_CREDENTIALS: Self = error(
        401,
        "NoAuthenticationInformation",
        "Server failed to authenticate the request. Please refer to the information in the \
         www-authenticate header.",
    );
    pub(crate) const INVALID_TOKEN: Self = error(
        401,
        "InvalidAuthenticationInfo",
        "Server failed to authenticate the request. Please refer to the information in the \
         www-authenticate header.",
    );
    pub(crate) const AUTHENTICATION_FAILED: Self = error(
        403,
        "AuthenticationFailed",
        "Server failed to authenticate the request. Make sure the value of Authorization header \
         is formed correctly including the signature.",
    );
    pub(crate) const PERMISSION_MISMATCH: Self = error(
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    );

    /// An answer that a test asked for.
    pub(crate) const fn requested(
        status: u16,
        code: &'static str,
        retry_after: Option<Duration>,
    ) -> Self {
        Self { status, code, message: "A test asked for this answer.", retry_after }
    }
}
