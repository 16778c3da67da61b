//! A short cut through reading: the envelope of a job that was never tried and asks for nothing
//! special, byte for byte as this version writes it.
//!
//! Nearly every delivery is of such a one, and reading it as any JSON takes most of the time that
//! a job takes. Whatever looks any different goes the long way; both ways give the same.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::decode::LONGEST;
use super::{Envelope, millis};
use crate::JobId;

/// All that there is in such an envelope. An [`Envelope`] is eight times as large, and most jobs
/// get through without one.
#[derive(Clone, Copy)]
pub(crate) struct Fresh<'a> {
    pub(crate) id: JobId,
    pub(crate) name: &'a str,
    pub(crate) args: &'a RawValue,
    pub(crate) enqueued_at: SystemTime,
}

impl<'a> Fresh<'a> {
    /// Reads a body if it is such an envelope.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        if body.len() > LONGEST { None } else { read(body) }
    }

    pub(crate) fn into_envelope(self) -> Envelope<'a> {
        let Self { id, name, args, enqueued_at } = self;
        Envelope::bare(id, Cow::Borrowed(name), Cow::Borrowed(args), enqueued_at)
    }
}

fn read(body: &[u8]) -> Option<Fresh<'_>> {
    let body = std::str::from_utf8(body).ok()?;
    let rest = body.strip_prefix("{\"format\":1,\"id\":\"")?;
    let (id, rest) = rest.split_at_checked(36)?;
    let rest = rest.strip_prefix("\",\"name\":\"")?;
    let (name, rest) = rest.split_at(rest.bytes().position(|byte| !is_plain(byte))?);
    let rest = rest.strip_prefix("\",\"args\":")?;
    // From the end: what is in the args may look like anything.
    let rest = rest.strip_suffix('}')?;
    let (rest, enqueued_at) =
        rest.split_at(rest.bytes().rposition(|byte| !byte.is_ascii_digit())? + 1);
    let args = rest.strip_suffix(",\"enqueued_at\":")?;

    let id = Uuid::try_parse(id).ok()?;
    // If it is one value, then all that was found is where it seems to be.
    let args: &RawValue = serde_json::from_str(args).ok()?;
    // JSON knows no other number that begins with a zero.
    let enqueued_at = Some(enqueued_at).filter(|it| !it.starts_with('0') || it.len() == 1)?;
    let enqueued_at = millis::to_time(enqueued_at.parse().ok()?);
    Some(Fresh { id: id.into(), name, args, enqueued_at })
}

/// Whether it stands for itself in a string.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::decode::read_any;

    const PLAIN: &str = r#"{"format":1,"id":"0198c0de-0000-7000-8000-000000000001","name":"mail.send","args":{"a":[1,"}"]},"enqueued_at":1700000000000}"#;

    #[test]
    fn what_was_just_enqueued_takes_it() {
        let read = read(PLAIN.as_bytes()).unwrap().into_envelope();
        assert_eq!(read.encode().unwrap(), PLAIN.as_bytes());
        assert_eq!(read.name, "mail.send");
        assert_eq!(read.args.get(), r#"{"a":[1,"}"]}"#);
    }

    #[test]
    fn what_looks_like_it_and_is_not_does_not() {
        for (from, to) in [
            ("format\":1", "format\":2"),
            ("format\":1", "format\": 1"),
            ("mail.send", "mail\\u002esend"),
            ("mail.send", "mail\nsend"),
            ("mail.send", "m\u{e4}il"),
            (r#"{"a":[1,"}"]}"#, r#"{"a":1},"meta":{"k":"v"}"#),
            (r#"{"a":[1,"}"]}"#, r#"1,"args":2"#),
            (r#"{"a":[1,"}"]}"#, ""),
            (r#"{"a":[1,"}"]}"#, r#"{"a":"#),
            ("1700000000000", ""),
            ("1700000000000", "01"),
            ("1700000000000", "-1"),
            ("1700000000000", "99999999999999999999"),
            ("1700000000000", r#"1700000000000,"due_at":1700000001000"#),
            ("1700000000000", r#"1700000000000,"trace":{"traceparent":"00"}"#),
            ("0198c0de-", "0198c0dX-"),
            ("1700000000000}", "1700000000000} "),
        ] {
            let other = PLAIN.replacen(from, to, 1);
            assert_ne!(other, PLAIN, "{from}");
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }

    /// Whatever goes the short way comes out as if it had gone the long one.
    #[test]
    fn both_ways_give_the_same() {
        let alphabet: Vec<char> = "{}[]\",:\\/ aueé019-.\0\t\n\r".chars().collect();
        let mut rng = fastrand::Rng::with_seed(7);
        let mut taken = 0;
        for _ in 0..200_000 {
            let mut body: Vec<char> = PLAIN.chars().collect();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..body.len());
                match rng.u8(..3) {
                    0 => drop(body.remove(at)),
                    1 => body.insert(at, alphabet[rng.usize(..alphabet.len())]),
                    _ => body[at] = alphabet[rng.usize(..alphabet.len())],
                }
            }
            let body: String = body.into_iter().collect();
            let Some(short) = read(body.as_bytes()) else { continue };
            let short = short.into_envelope();
            taken += 1;
            let long = read_any(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!(short.encode().unwrap(), long.encode().unwrap(), "{body}");
            assert_eq!(short.enqueued_at, long.enqueued_at);
        }
        assert!(taken > 10_000, "{taken}");
    }
}
