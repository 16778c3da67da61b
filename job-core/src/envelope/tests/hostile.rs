//! Bodies that nobody should have sent.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::DecodeError::{self, NewerFormat, NotAnEnvelope, NotJson, TooLong};
use super::super::Envelope;
use super::{ID, golden_file, minimal};
use crate::{Args, Handler, Job, JobContext, JobError, Registration};

const DEEP: usize = 100_000;

fn decode(body: impl AsRef<[u8]>) -> Result<(), DecodeError> {
    Envelope::decode(body.as_ref()).map(drop)
}

/// The minimal envelope with one more field.
fn plus(field: &str) -> String {
    let body = golden_file("minimal");
    format!("{},{field}}}", body.strip_suffix('}').unwrap())
}

#[track_caller]
fn refused(body: impl AsRef<[u8]>) {
    let body = body.as_ref();
    let error = decode(body).expect_err(&String::from_utf8_lossy(&body[..body.len().min(200)]));
    assert!(matches!(error, NotAnEnvelope { .. }), "{error}");
}

#[test]
fn not_json() {
    let bodies: [&[u8]; 14] = [
        b"",
        b" ",
        b"hello",
        b"{",
        b"{\"format\":1",
        b"{'format':1}",
        b"{\"format\":1,}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"\0",
        b"<QueueMessage/>",
        b"e30=",
        b"{\"format\":01}",
        b"{\"format\":2,\"a\"",
    ];
    for body in bodies {
        let error = decode(body).unwrap_err();
        assert!(matches!(error, NotJson { .. }), "{error}: {}", String::from_utf8_lossy(body));
    }
    for (more, file) in [("x", "minimal"), ("{}", "full"), ("\0", "minimal")] {
        let error = decode(golden_file(file) + more).unwrap_err();
        assert!(matches!(error, NotJson { .. }), "{error}");
    }
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(golden_file("minimal").bytes());
    assert!(matches!(decode(bom).unwrap_err(), NotJson { line: 1, .. }));
}

#[test]
fn json_but_no_envelope() {
    for body in ["null", "true", "1", "\"format\"", "[]", "[1]", "[2]", "[[2]]", "{}", "{\"a\":1}"]
    {
        refused(body);
    }
    for field in ["format", "id", "name", "args"] {
        let body = golden_file("minimal").replacen(&format!("\"{field}\""), "\"other\"", 1);
        refused(body);
    }
}

#[test]
fn a_known_field_comes_once() {
    let body = golden_file("full");
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&body).unwrap();
    for (key, value) in &value {
        refused(format!("{},\"{key}\":{value}}}", body.strip_suffix('}').unwrap()));
    }
    // Also where the key is written in another way.
    refused(plus(r#""n\u0061me":"other""#));
    refused(plus(r#""options":{"max_attempts":1,"max_attempts":2}"#));
    refused(plus(r#""history":{"failed":1,"failed":2}"#));
}

#[test]
fn wrong_types() {
    for wrong in ["null", "true", "-1", "1.5", "[]", "{}"] {
        for field in ["format", "id", "name"] {
            let body = golden_file("minimal");
            let from = body.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
            let to = from + body[from..].find(",\"").unwrap();
            refused(format!("{}{wrong}{}", &body[..from], &body[to..]));
        }
    }
    for wrong in ["null", "true", "-1", "1.5", "\"1\""] {
        for field in [
            "args_version",
            "due_at",
            "delay_left_ms",
            "options",
            "trace",
            "meta",
            "history",
            "errors",
            "poison",
            "original",
        ] {
            refused(plus(&format!("\"{field}\":{wrong}")));
        }
    }
    refused(golden_file("minimal").replace(ID, "0199c2a4-7b1e"));
    refused(golden_file("minimal").replace("\"format\":1", "\"format\":0"));
    refused(golden_file("poison-final").replace("\"final\"", "\"done\""));
    refused(golden_file("original-text").replace("{\"text\":", "{\"rot13\":"));
    refused(plus(r#""meta":{"a":1}"#));
    refused(plus(r#""errors":[{"attempt":1,"at":0}]"#));
}

#[test]
fn a_newer_format_may_differ_in_everything_else() {
    for body in [
        r#"{"format":2}"#.to_owned(),
        " \n{\"format\":2} ".to_owned(),
        r#"{"job":{"format":9},"format":2}"#.to_owned(),
        r#"{"id":7,"name":[],"args":"x","format":2,"history":"-"}"#.to_owned(),
        r#"{"format":2,"id":1,"id":2}"#.to_owned(),
        golden_file("full").replace("\"format\":1", "\"format\":2"),
        format!(r#"{{"x":{}{},"format":2}}"#, "[".repeat(DEEP), "]".repeat(DEEP)),
    ] {
        assert_eq!(decode(&body), Err(NewerFormat(2)), "{}", &body[..body.len().min(200)]);
    }
    let far = golden_file("minimal").replace("\"format\":1", "\"format\":18446744073709551615");
    assert_eq!(decode(far), Err(NewerFormat(u64::MAX)));
    for body in [r#"{"format":"2"}"#, r#"{"format":2.0}"#, r#"{"format":2,"format":2}"#, "[2,3]"] {
        refused(body);
    }
}

#[derive(Serialize, Deserialize)]
struct Anything(serde_json::Value);

impl Job for Anything {
    const NAME: &'static str = "anything";
}

impl Handler for Anything {
    type Job = Self;

    async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

#[test]
fn deep_args_are_carried_but_never_decoded() {
    for (open, close) in [("[", "]"), (r#"{"k":"#, "}")] {
        let args = format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP));
        let body = golden_file("minimal").replace(r#"{"user_id":42}"#, &args);
        let envelope = Envelope::decode(body.as_bytes()).unwrap();
        assert_eq!(envelope.args.get(), args);
        assert_eq!(envelope.encode().unwrap(), body);

        let error =
            (Registration::of::<Anything>().decode)(Args::new(envelope.args.get(), 1)).unwrap_err();
        assert!(error.to_string().ends_with("it is nested too deep"), "{error}");
    }
    assert!((Registration::of::<Anything>().decode)(Args::new("[[1]]", 1)).is_ok());
}

#[test]
fn deep_nesting_anywhere_else_is_harmless() {
    let deep = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let body = plus(&format!("\"x\":{deep}"));
    let envelope = Envelope::decode(body.as_bytes()).unwrap();
    assert_eq!(envelope.encode().unwrap(), body);
    drop(envelope);

    assert_eq!(decode(plus(&format!("\"history\":{{\"x\":{deep}}}"))), Ok(()));
    refused(plus(&format!("\"meta\":{{\"x\":{deep}}}")));
    refused(plus(&format!("\"original\":{{\"text\":{deep}}}")));
    for field in ["meta", "options", "history", "errors", "trace", "poison", "original"] {
        assert!(decode(plus(&format!("\"{field}\":{deep}"))).is_err(), "{field}");
    }
    for unclosed in ["[".repeat(DEEP), r#"{"a":"#.repeat(DEEP), plus(&"[".repeat(DEEP))] {
        assert!(decode(unclosed).is_err());
    }
}

#[test]
fn numbers_beyond_their_field_are_refused() {
    let fields = [
        ("format", r#"{"format":N}"#.to_owned()),
        ("args_version", plus(r#""args_version":N"#)),
        ("enqueued_at", golden_file("minimal").replace("1760000000000", "N")),
        ("due_at", plus(r#""due_at":N"#)),
        ("delay_left_ms", plus(r#""delay_left_ms":N"#)),
        ("max_attempts", plus(r#""options":{"max_attempts":N}"#)),
        ("expires_in_ms", plus(r#""options":{"expires_in_ms":N}"#)),
        ("failed", plus(r#""history":{"failed":N}"#)),
        ("crashed", plus(r#""history":{"crashed":N}"#)),
        ("snoozed", plus(r#""history":{"snoozed":N}"#)),
        ("given_back", plus(r#""history":{"given_back":N}"#)),
        ("put_back", plus(r#""history":{"put_back":N}"#)),
        ("put_back_ms", plus(r#""history":{"put_back_ms":N}"#)),
        ("expires_at", plus(r#""history":{"expires_at":N}"#)),
        ("mark", plus(r#""history":{"started":{"message_id":"1","count":N}}"#)),
        ("attempt", plus(r#""errors":[{"attempt":N,"at":0,"error":""}]"#)),
        ("at", plus(r#""errors":[{"attempt":1,"at":N,"error":""}]"#)),
        ("poison", golden_file("poison-final").replace("1760021600000", "N")),
    ];
    for (field, body) in &fields {
        for number in ["1e999", "-1", "1.5", "18446744073709551616", &"9".repeat(1000)] {
            let error = decode(body.replace('N', number)).unwrap_err();
            assert!(matches!(error, NotAnEnvelope { .. }), "{field} {number}: {error}");
        }
    }
    // The largest that fit are taken, and written again without overflow.
    for (field, body) in &fields[1..] {
        let largest = match *field {
            f if f.ends_with("_ms") || f.ends_with("at") || f == "poison" => u64::MAX,
            _ => u64::from(u32::MAX),
        };
        let body = body.replace('N', &largest.to_string());
        let envelope = Envelope::decode(body.as_bytes()).unwrap_or_else(|e| panic!("{field}: {e}"));
        let again = envelope.encode().unwrap();
        assert!(Envelope::decode(&again).is_ok(), "{field}");
    }
}

#[test]
fn invalid_utf8_is_refused_wherever_it_is() {
    for (from, with) in [
        ("send_welcome", &b"send_\xff"[..]),
        ("42", b"\"\xff\""),
        ("\"enqueued_at\":1760000000000", b"\"x\":\"\xc3\x28\""),
        ("\"enqueued_at\":1760000000000", b"\"\xed\xa0\x80\":1"),
    ] {
        let body = golden_file("minimal").into_bytes();
        let at = body.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let body = [&body[..at], with, &body[at + from.len()..]].concat();
        assert!(decode(&body).is_err(), "{}", String::from_utf8_lossy(&body));
    }
    // A lone surrogate is no text either.
    assert!(decode(golden_file("minimal").replace("send_welcome", r"\ud800")).is_err());
}

#[test]
fn a_body_that_no_backend_carries_is_not_parsed() {
    let mut body = golden_file("minimal").into_bytes();
    body.resize(16 * 1024 * 1024, b' ');
    assert_eq!(decode(&body), Ok(()));
    body.push(b' ');
    assert_eq!(decode(&body), Err(TooLong));
}

#[test]
fn an_error_never_holds_a_value() {
    const CANARY: &str = "c4n4ry";
    let bodies = [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!(r#"{{"{CANARY}":1}}"#),
        format!(r#"{{"format":"{CANARY}"}}"#),
        format!(r#"{{"format":2,"{CANARY}":"{CANARY}"}}"#),
        golden_file("minimal").replace(ID, CANARY),
        golden_file("minimal").replace("\"send_welcome\"", &format!("{{\"{CANARY}\":1}}")),
        golden_file("minimal").replace("1760000000000", &format!("\"{CANARY}\"")),
        plus(&format!(r#""args":"{CANARY}""#)),
        plus(&format!(r#""meta":{{"{CANARY}":1}}"#)),
        plus(&format!(r#""meta":"{CANARY}""#)),
        plus(&format!(r#""history":{{"failed":"{CANARY}"}}"#)),
        plus(&format!(r#""poison":{{"state":"{CANARY}"}}"#)),
        plus(&format!(r#""original":{{"{CANARY}":1}}"#)),
        plus(&format!(r#""errors":["{CANARY}"]"#)),
    ];
    for body in bodies {
        let error = decode(&body).expect_err(&body);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn an_error_tells_where() {
    let body = golden_file("minimal").replace("\"name\":\"send_welcome\"", "\n\"name\":7");
    let error = decode(body).unwrap_err();
    assert_eq!(error, NotAnEnvelope { line: 2, column: 8 });
    assert_eq!(error.to_string(), "the message is JSON but not a job envelope (line 2, column 8)");
}

#[test]
fn args_are_not_looked_into() {
    let args = r#"{"format":2,"poison":{"state":"final"},"name":null}"#;
    let envelope =
        Envelope { args: Cow::Owned(RawValue::from_string(args.into()).unwrap()), ..minimal() };
    let body = envelope.encode().unwrap();
    let read = Envelope::decode(&body).unwrap();
    assert_eq!(read.args.get(), args);
    assert!(read.poison.is_none());
}
