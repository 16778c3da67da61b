//! What the tests of workers over memory share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

pub mod faults;
pub mod ledger;
