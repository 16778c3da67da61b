//! Without the prelude's names. (`#[handler]` and `#[derive(Job)]` need the tool `diagnostic`,
//! which is one of them.)
#![no_implicit_prelude]

use ::job_core::{JobContext, JobError, job};

#[job(queue = "mail", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "1500ms")]
async fn send_welcome(
    user_id: ::std::primitive::u64,
    _: JobContext,
) -> ::std::result::Result<(), Failed> {
    let _ = user_id;
    ::std::result::Result::Err(Failed {})
}

#[derive(::serde::Serialize, ::serde::Deserialize)]
struct Own {}

#[job(version = 2, upgrade = from_v1)]
struct Message {
    own: Own,
}

#[job]
struct MessageV1;

fn from_v1(_: MessageV1) -> Message {
    Message { own: Own {} }
}

#[derive(::std::fmt::Debug, ::thiserror::Error, ::job_core::JobError)]
#[error("it failed")]
#[retry_after("1s")]
struct Failed {}

fn main() {
    let _ = (SendWelcome { user_id: 1 }, Message { own: Own {} }.own, JobError::snooze);
}
