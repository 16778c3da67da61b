//! An envelope always fits: what a job's past adds is cut before anything of the job itself.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::*;
use super::minimal;
use crate::BoxError;
use crate::PoisonReason;
use crate::backend::MessageId;
use crate::envelope::arbitrary::{self, facts};

const LONG: usize = usize::MAX;

fn with_errors(texts: &[&str]) -> Envelope<'static> {
    let mut envelope = minimal();
    for (n, text) in (1..).zip(texts) {
        envelope.push_error(n, SystemTime::UNIX_EPOCH, (*text).to_owned());
    }
    envelope
}

fn errors_in(body: &[u8]) -> Vec<String> {
    Envelope::decode(body).unwrap().errors.into_iter().map(|error| error.error).collect()
}

#[test]
fn what_fits_is_not_cut() {
    let mut envelope = with_errors(&["first", "second"]);
    let body = envelope.encode().unwrap();
    assert_eq!(envelope.encode_within(body.len()).unwrap(), body);
    assert_eq!(errors_in(&body), ["first", "second"]);
}

#[test]
fn the_oldest_errors_go_first() {
    let whole = with_errors(&["first", "second", "third"]).encode().unwrap().len();
    let within = |limit| with_errors(&["first", "second", "third"]).encode_within(limit).unwrap();
    assert_eq!(errors_in(&within(whole - 1)), ["second", "third"]);
    assert_eq!(errors_in(&within(whole - 60)), ["third"]);
    let bare = minimal().encode().unwrap();
    assert_eq!(within(bare.len()), bare);
}

#[test]
fn then_the_poison_error_is_cut_and_then_given_up() {
    let mut envelope = with_errors(&["first"]);
    let queue = QueueName::new("mail").unwrap();
    let error = "é".repeat(500);
    let at = SystemTime::UNIX_EPOCH;
    envelope.poison = Some(Poison::new(PoisonReason::BadArgs, at, &queue, Some(error.clone())));
    let whole = envelope.encode().unwrap().len();

    let cut = |limit| {
        let body = envelope.clone().encode_within(limit).unwrap();
        let poison = Envelope::decode(&body).unwrap().poison.unwrap();
        assert_eq!(poison.reason, PoisonReason::BadArgs);
        assert_eq!(errors_in(&body), [""; 0]);
        poison.error
    };
    let half = cut(whole - 600).unwrap();
    assert!(half.len() <= 500 && half.ends_with('…'), "{half}");
    assert!(error.starts_with(half.trim_end_matches('…')));
    let least = Envelope {
        errors: Vec::new(),
        poison: Some(Poison::new(PoisonReason::BadArgs, at, &queue, None)),
        ..minimal()
    };
    let least = least.encode().unwrap().len();
    assert_eq!(cut(least), None);
    assert!(envelope.clone().encode_within(least - 1).is_none());
}

#[test]
fn only_the_last_few_errors_travel() {
    let envelope = with_errors(&["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(errors_in(&envelope.encode().unwrap()), ["3", "4", "5", "6", "7"]);

    let mut foreign = minimal();
    foreign.errors =
        vec![AttemptError { attempt: 1, at: SystemTime::UNIX_EPOCH, error: "old".into() }; 100];
    foreign.push_error(2, SystemTime::UNIX_EPOCH, "new".into());
    assert_eq!(foreign.errors.len(), MAX_ERRORS, "also when somebody else wrote more");
}

/// The longest that a past can be: every number at its largest, ids that double and treble when
/// escaped, the mark of a start beside that of another delivery, the poison mark.
fn worst_history(envelope: &mut Envelope<'_>, id_char: char, error_char: char) {
    let id: String =
        std::iter::repeat_n(id_char, MessageId::MAX_LEN / id_char.len_utf8()).collect();
    let mark = Some(Mark { message_id: id, count: u32::MAX });
    envelope.history = History {
        failed: u32::MAX,
        crashed: u32::MAX,
        snoozed: u32::MAX,
        given_back: u32::MAX,
        put_back: u32::MAX,
        put_back_millis: u64::MAX,
        expires_at: Some(millis::to_time(u64::MAX)),
        started: mark.clone(),
        settled: mark,
    };
    envelope.delay_left = Duration::from_millis(u64::MAX);
    let error = error_text(&*BoxError::from(error_char.to_string().repeat(2000)));
    let at = millis::to_time(u64::MAX);
    for _ in 0..MAX_ERRORS {
        envelope.push_error(u32::MAX, at, error.clone());
    }
    let queue = QueueName::new("q".repeat(63)).unwrap();
    envelope.poison = Some(Poison::new(PoisonReason::AttemptsExhausted, at, &queue, Some(error)));
}

#[test]
fn the_room_kept_at_enqueue_is_enough_for_the_worst_past_and_an_error() {
    for (id_char, error_char) in [('\u{1}', '\u{1}'), ('"', '\\'), ('é', '漢'), ('a', '😀')] {
        let mut envelope = minimal();
        let limit = envelope.encode().unwrap().len() + ROOM;
        worst_history(&mut envelope, id_char, error_char);
        let body = envelope.encode_within(limit).unwrap();
        assert!(body.len() <= limit);
        let read = Envelope::decode(&body).unwrap();
        assert!(read.poison.unwrap().error.is_some(), "no error is left for {error_char:?}");
    }
}

proptest! {
    #[test]
    fn what_was_accepted_fits_after_any_past(fresh in arbitrary::fresh(), id_char: char, error_char: char) {
        let accepted = Envelope { due_at: None, delay_left: Duration::ZERO, ..fresh };
        let limit = accepted.encode().unwrap().len() + ROOM;
        let mut envelope = accepted.clone();
        worst_history(&mut envelope, id_char, error_char);
        let body = envelope.encode_within(limit);
        prop_assert!(body.as_ref().is_some_and(|body| body.len() <= limit));
        let body = body.unwrap();
        let read = Envelope::decode(&body).unwrap();
        // All that is the user's is still there.
        let job = Envelope { errors: Vec::new(), ..read };
        let mut job = job;
        job.start_afresh();
        prop_assert_eq!(facts(&job), facts(&accepted));
    }

    #[test]
    fn a_limit_is_kept_or_refused(mut envelope in arbitrary::envelope(), limit in 0..4000_usize) {
        let least = {
            let mut least = envelope.clone();
            least.errors.clear();
            if let Some(poison) = &mut least.poison {
                poison.error = None;
            }
            least.encode().unwrap().len()
        };
        match envelope.encode_within(limit) {
            Some(body) => prop_assert!(body.len() <= limit),
            None => prop_assert!(least > limit),
        }
        prop_assert!(envelope.encode_within(LONG).is_some());
    }

    #[test]
    fn an_error_text_is_cut_between_characters(text in arbitrary::text(1500)) {
        let cut = error_text(&*BoxError::from(text.clone()));
        prop_assert!(cut.len() <= MAX_ERROR);
        match cut.strip_suffix('…') {
            Some(start) if cut != text => prop_assert!(text.starts_with(start)),
            _ => prop_assert_eq!(cut, text),
        }
    }
}

#[derive(Debug)]
struct Chained(String, Option<Box<Chained>>);

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Chained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

fn chain(texts: &[&str]) -> BoxError {
    let mut error = None;
    for text in texts.iter().rev() {
        error = Some(Box::new(Chained((*text).to_owned(), error)));
    }
    error.unwrap()
}

#[test]
fn an_error_text_names_its_causes_once() {
    assert_eq!(error_text(&*chain(&["send", "connect", "refused"])), "send: connect: refused");
    let repeating = chain(&["send: connect: refused", "connect: refused", "refused"]);
    assert_eq!(error_text(&*repeating), "send: connect: refused");
    assert_eq!(error_text(&*chain(&["", "", "x"])), ": x");
}

#[test]
fn an_error_text_is_bounded() {
    let huge = "漢".repeat(1_000_000);
    assert!(error_text(&*BoxError::from(huge.clone())).len() <= MAX_ERROR);
    assert!(error_text(&*chain(&["top", &huge])).starts_with("top: 漢"));
    let links: Vec<_> = (0..10_000).map(|n| format!("cause {n}")).collect();
    let links: Vec<_> = links.iter().map(String::as_str).collect();
    let text = error_text(&*chain(&links[..5_000]));
    assert!(text.len() <= MAX_ERROR && text.ends_with('…'), "{text}");
}

#[test]
fn a_cut_is_never_longer_than_asked() {
    for most in 3..40 {
        for text in ["", "a", "…", "aé漢😀", &"😀".repeat(20), &"x".repeat(50)] {
            let cut = cut(text, most);
            assert!(cut.len() <= most, "{cut:?} is longer than {most}");
            assert!(cut == text || cut.ends_with('…'));
        }
    }
}
