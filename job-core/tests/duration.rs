//! Durations in config have the syntax of those in `#[job(..)]`. A procedural macro cannot share
//! its code, so there are two parsers, and this compares them.

use proptest::prelude::*;

#[allow(dead_code, unreachable_pub, reason = "its own tests are run where it belongs")]
#[path = "../../job-macros/src/duration.rs"]
mod in_macros;

fn agree(text: &str) {
    let in_config = job_core::duration::parse(text).map_err(|error| error.to_string());
    match in_config {
        // There are settings for which zero is a choice; no option of a job is one.
        Ok(duration) if duration.is_zero() => assert!(in_macros::parse(text).is_err()),
        in_config => assert_eq!(in_config, in_macros::parse(text)),
    }
}

proptest! {
    #[test]
    fn both_parsers_agree_on_whatever_looks_like_a_duration(
        text in "([0-9]{0,20}( ?)(d|h|m|s|ms|min|secs|x)?){0,4}"
    ) {
        agree(&text);
    }

    #[test]
    fn both_parsers_agree_on_anything(text in ".*") {
        agree(&text);
    }
}
