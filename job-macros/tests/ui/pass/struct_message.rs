//! `#[job]` on a struct: all that travels, and nothing that runs it.
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations)]
#![allow(dead_code)]

use job_core::{Job, job};

/// Sends it.
#[job(name = "mail.send", queue = "mail", max_attempts = 3)]
#[derive(Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SendMail {
    /// Who gets it.
    pub user_id: u64,
    #[serde(default)]
    lang: Option<String>,
}

#[job]
pub(crate) struct Ping;

#[job]
struct Braces {}

#[job]
#[derive(Debug)]
struct Shown {
    number: u8,
}

mod inner {
    use job_core::job;

    #[job]
    pub(super) struct Hidden {
        pub(super) place: u8,
    }
}

fn main() {
    assert_eq!((SendMail::NAME, Ping::NAME, Braces::NAME), ("mail.send", "ping", "braces"));
    let job = SendMail { user_id: 7, lang: None };
    assert!(job == job.clone());
    assert_eq!(format!("{job:?}"), "SendMail { .. }");
    assert_eq!(format!("{:?}", Shown { number: 7 }), "Shown { number: 7 }");
    let _ = (inner::Hidden { place: 1 }, Braces {}, Ping);
}
