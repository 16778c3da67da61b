#![allow(unused)]
use job_core::prelude::*;

#[job]
enum Notify {
    Mail { to: String },
}

fn main() {}
