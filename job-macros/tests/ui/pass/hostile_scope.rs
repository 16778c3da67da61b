//! Items of the user's that are called like those the expansion needs.
#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

use ::job_core::{Data, JobContext, JobError, job};

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

fn main() {
    let _ = (SendWelcome { user_id: 1 }, Call);
}
