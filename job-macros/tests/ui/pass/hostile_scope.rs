//! Items of the user's that are called like those the expansion needs.
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

use ::job_core::{Data, JobContext, JobError, handler, job};

type Result = u8;
type u64 = ::std::primitive::u64;
struct Option;
struct Job;
struct Handler;
struct JobOptions;
struct Backoff;
struct Registration;
trait Serialize {}
trait Deserialize {}
mod serde {}
mod inventory {}
mod std {}
const cx: u8 = 0;
const f: u8 = 0;
const needs: u8 = 0;
const returned: u8 = 0;
const serializer: u8 = 0;
const deserializer: u8 = 0;

#[job(queue = "mail", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "1500ms")]
pub async fn send_welcome(
    user_id: u64,
    mailer: Data<Mailer>,
    _: JobContext,
) -> ::std::result::Result<(), JobError> {
    let _ = (user_id, mailer);
    ::std::result::Result::Ok(())
}

#[job]
async fn call() -> ::std::result::Result<(), JobError> {
    ::std::result::Result::Ok(())
}

pub struct Mailer;

#[derive(::serde::Serialize, ::serde::Deserialize)]
pub struct Own {}

#[job(version = 2, upgrade = from_v1)]
struct Message {
    own: Own,
}

#[job]
struct MessageV1;

fn from_v1(_: MessageV1) -> Message {
    Message { own: Own {} }
}

#[derive(::serde::Serialize, ::serde::Deserialize, ::job_core::Job)]
enum Choice {
    One {},
}

#[handler]
async fn args(_: Message, _: JobContext) -> ::std::result::Result<(), Failed> {
    ::std::result::Result::Err(Failed {})
}

#[derive(::std::fmt::Debug, ::thiserror::Error, ::job_core::JobError)]
#[error("it failed")]
#[retry_after("1s")]
struct Failed {}

fn main() {
    let _ = (SendWelcome { user_id: 1 }, Call, args);
}
