#![allow(unused)]
use job_core::{Job, job};
use serde::{Deserialize, Serialize};

#[job]
struct Tuple(u64, String);

#[job]
struct Generic<T> {
    what: T,
}

#[job]
struct Borrows {
    to: &'static str,
}

#[job]
#[derive(Clone, Serialize, Deserialize)]
struct Derives {
    to: String,
}

#[derive(Serialize, Deserialize, Job)]
struct AlsoGeneric<T> {
    what: T,
}

#[job]
#[serde(deny_unknown_fields)]
struct Unit;

#[job]
#[derive(Debug, Job)]
struct Both {
    to: String,
}

#[job]
#[job(queue = "mail")]
struct Twice {
    to: String,
}

fn main() {}
