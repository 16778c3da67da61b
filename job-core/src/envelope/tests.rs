//! What the envelope promises: nothing of a job is changed or lost on its way, and it always fits.

mod foreign;
mod hostile;
mod schema;
mod size;

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::arbitrary::{self, facts};
use super::*;
use crate::PoisonReason;
use crate::backend::MessageId;

pub(super) const ID: &str = "0199c2a4-7b1e-7c3a-9d2b-5e6f7a8b9c0d";

pub(super) fn minimal() -> Envelope<'static> {
    let args = RawValue::from_string(r#"{"user_id":42}"#.into()).unwrap();
    let at = millis::to_time(1_760_000_000_000);
    Envelope::new(ID.parse().unwrap(), "send_welcome", args, at)
}

fn at(seconds_later: u64) -> SystemTime {
    millis::to_time(1_760_000_000_000 + seconds_later * 1000)
}

fn mark(message_id: &str, count: u32) -> Option<Mark> {
    Some(Mark { message_id: message_id.into(), count })
}

fn poison(state: PoisonState, reason: PoisonReason, at: SystemTime, queue: &str) -> Poison {
    Poison { state, reason, at, queue: queue.into(), error: None }
}

fn undecodable(original: Original, error: &str) -> Envelope<'static> {
    let poison = poison(PoisonState::Final, PoisonReason::Undecodable, at(1), "mail");
    Envelope {
        id: "b0a6a3a5-6d6c-5c0e-8f3e-0d5d2f6f0c11".parse().unwrap(),
        name: "".into(),
        args: Cow::Owned(RawValue::from_string("null".into()).unwrap()),
        history: History { settled: mark("17", 1), ..History::default() },
        poison: Some(Poison { error: Some(error.into()), ..poison }),
        original: Some(original),
        ..minimal()
    }
}

/// The golden files and what they mean. Format 1 may not come to mean anything else.
fn golden() -> Vec<(&'static str, Envelope<'static>)> {
    let raw = |json: &str| Cow::Owned(RawValue::from_string(json.into()).unwrap());
    let error =
        |attempt, later, text: &str| AttemptError { attempt, at: at(later), error: text.into() };
    let full = Envelope {
        name: "résumé".into(),
        args: raw(r#"[1.50, "a\u0000b", {"k" : -0}]"#),
        args_version: 3,
        options: Overrides {
            max_attempts: Some(8),
            expires_in: Some(Duration::from_secs(60 * 60)),
        },
        due_at: None,
        delay_left: Duration::from_secs(24 * 60 * 60),
        trace: Some(Trace {
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            tracestate: Some("a=1".into()),
        }),
        meta: [("actor", "ops"), ("tenant", r#"acme "eu""#)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        history: History {
            failed: 2,
            crashed: 1,
            snoozed: 3,
            given_back: 4,
            put_back: 5,
            put_back_millis: 61_000,
            expires_at: Some(at(60 * 60)),
            started: mark("0a1b", 9),
            settled: mark("0a1b", 7),
        },
        errors: vec![error(1, 1, "timed out"), error(2, 2, "línea\n2")],
        ..minimal()
    };
    let pending = Envelope {
        name: "charge".into(),
        args: raw(r#"{"cents":100}"#),
        history: History { failed: 1, settled: mark("17", 1), ..History::default() },
        errors: vec![error(1, 1, "no such account")],
        poison: Some(poison(PoisonState::Pending, PoisonReason::Permanent, at(1), "billing")),
        ..minimal()
    };
    let last = Envelope {
        name: "gone".into(),
        args: raw("null"),
        history: History {
            put_back: 40,
            put_back_millis: 21_600_000,
            settled: mark("17", 41),
            ..History::default()
        },
        poison: Some(Poison {
            error: Some("no handler of that name is registered here".into()),
            ..poison(PoisonState::Final, PoisonReason::UnknownJob, at(21_600), "mail")
        }),
        ..minimal()
    };
    let unknown_fields = Envelope {
        meta: [("tenant".to_owned(), "acme".to_owned())].into(),
        extra: vec![
            ("priority".into(), raw("7")),
            ("x-flow".into(), raw(r#"{ "steps": [1, 2.0] }"#)),
            ("x-flow".into(), raw("null")),
        ],
        ..minimal()
    };
    let text = Original::Text("hello\tworld".into());
    let base64 = Original::Base64("//4AAQ==".into());
    vec![
        ("minimal", minimal()),
        ("full", full),
        ("poison-pending", pending),
        ("poison-final", last),
        ("original-text", undecodable(text, "the message is not JSON (line 1, column 2)")),
        ("original-base64", undecodable(base64, "the message is not JSON (line 1, column 1)")),
        ("unknown-fields", unknown_fields),
    ]
}

fn golden_file(name: &str) -> String {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).expect(&path).trim_end().to_owned()
}

#[test]
fn golden_files_mean_what_they_meant_and_are_written_as_they_were() {
    for (name, expected) in golden() {
        let file = golden_file(name);
        let envelope = Envelope::decode(file.as_bytes()).unwrap();
        assert_eq!(facts(&envelope), facts(&expected), "{name}");
        assert_eq!(envelope.encode().unwrap(), file, "{name}");
        assert_eq!(expected.encode().unwrap(), file, "{name}");
    }
}

#[test]
fn no_golden_file_is_left_out() {
    let folder = format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut tested: Vec<_> = golden().iter().map(|(name, _)| format!("{name}.json")).collect();
    files.sort();
    tested.sort();
    assert_eq!(files, tested);
}

#[test]
fn a_producer_may_leave_out_all_that_is_optional() {
    let body = format!(r#" {{"args":[ ],"name":"n","id":"{ID}","format":1}} "#);
    let envelope = Envelope::decode(body.as_bytes()).unwrap();
    let expected = Envelope {
        name: "n".into(),
        args: Cow::Owned(RawValue::from_string("[ ]".into()).unwrap()),
        enqueued_at: SystemTime::UNIX_EPOCH,
        ..minimal()
    };
    assert_eq!(facts(&envelope), facts(&expected));
}

#[test]
fn a_reason_of_a_later_version_is_some_other_reason() {
    let body = golden_file("poison-final").replace("unknown_job", "eaten_by_a_dog");
    let envelope = Envelope::decode(body.as_bytes()).unwrap();
    assert_eq!(envelope.poison.unwrap().reason, PoisonReason::Other);
}

#[test]
fn a_body_without_escapes_is_not_copied() {
    let body = golden_file("unknown-fields");
    let envelope = Envelope::decode(body.as_bytes()).unwrap();
    assert!(matches!(envelope.name, Cow::Borrowed(_)));
    assert!(matches!(envelope.args, Cow::Borrowed(_)));
    assert!(
        envelope.extra.iter().all(|(k, v)| matches!((k, v), (Cow::Borrowed(_), Cow::Borrowed(_))))
    );
}

#[test]
fn an_original_gives_its_bytes_back() {
    for bytes in [&b""[..], b"{}", b"\xef\xbb\xbf{}", b"\0\x01\xff", "é\u{0}".as_bytes()] {
        assert_eq!(Original::of(bytes).bytes().unwrap(), bytes);
    }
    assert_eq!(Original::Base64("no base64".into()).bytes(), None);
}

#[test]
fn times_saturate_and_never_panic() {
    let year_9999 = millis::to_time(253_402_300_799_000);
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(millis::since_epoch(before_1970), 0);
    assert_eq!(millis::to_time(u64::MAX), year_9999);
    assert_eq!(millis::since_epoch(year_9999), 253_402_300_799_000);
    assert_eq!(millis::of(Duration::MAX), u64::MAX);

    let mut envelope = minimal();
    envelope.enqueued_at = before_1970;
    envelope.delay_left = Duration::MAX;
    envelope.options.expires_in = Some(Duration::MAX);
    envelope.history.expires_at = Some(before_1970);
    let body = envelope.encode().unwrap();
    let read = Envelope::decode(&body).unwrap();
    assert_eq!(read.enqueued_at, SystemTime::UNIX_EPOCH);
    assert_eq!(read.delay_left, Duration::from_millis(u64::MAX));
    assert_eq!(read.options.expires_in, Some(Duration::from_millis(u64::MAX)));
    assert_eq!(read.history.expires_at, Some(SystemTime::UNIX_EPOCH));
}

#[test]
fn a_job_started_afresh_keeps_all_but_its_past() {
    for (name, golden) in golden() {
        let mut afresh = golden.clone();
        afresh.start_afresh();
        assert_eq!(afresh.history, History::default(), "{name}");
        assert_eq!(afresh.history.attempt(), 1, "{name}");
        assert!(afresh.poison.is_none() && afresh.delay_left.is_zero(), "{name}");
        let restored = Envelope {
            history: golden.history.clone(),
            poison: golden.poison.clone(),
            delay_left: golden.delay_left,
            ..afresh
        };
        assert_eq!(facts(&restored), facts(&golden), "{name}");
    }
}

#[test]
fn marks_are_of_one_message_only() {
    let (this, other) = (MessageId::from("m-1"), MessageId::from("m-2"));
    let mut history =
        History { started: mark("m-1", 4), settled: mark("m-1", 3), ..History::default() };
    assert_eq!((history.settled_count(&this), history.settled_count(&other)), (3, 0));
    assert_eq!((history.open_mark(&this), history.open_mark(&other)), (Some(4), None));
    history.settle(&other, Some(u32::MAX));
    assert_eq!((history.settled_count(&this), history.settled_count(&other)), (0, u32::MAX));
    assert_eq!(history.open_mark(&this), None);
    history.settle(&other, None);
    assert_eq!(history, History::default());
}

#[test]
fn attempts_saturate() {
    let history = History { failed: u32::MAX, crashed: u32::MAX, ..History::default() };
    assert_eq!(history.attempt(), u32::MAX);
}

proptest! {
    #[test]
    fn what_is_written_is_read(envelope in arbitrary::envelope()) {
        let body = envelope.encode().unwrap();
        let read = Envelope::decode(&body).unwrap();
        prop_assert_eq!(facts(&read), facts(&envelope));
        prop_assert_eq!(read.encode().unwrap(), body);
    }

    #[test]
    fn debug_shows_nothing_of_the_users(mut envelope in arbitrary::envelope()) {
        const CANARY: &str = "c4n4ry";
        envelope.args = Cow::Owned(RawValue::from_string(format!("\"{CANARY}\"")).unwrap());
        envelope.meta.insert(CANARY.into(), CANARY.into());
        envelope.push_error(1, SystemTime::UNIX_EPOCH, CANARY.into());
        envelope.original = Some(Original::Text(CANARY.into()));
        if let Some(poison) = &mut envelope.poison {
            poison.error = Some(CANARY.into());
        }
        let shown = format!("{envelope:?} {envelope:#?} {:?} {:?}", envelope.errors, envelope.poison);
        prop_assert!(!shown.contains(CANARY), "{}", shown);
    }
}
