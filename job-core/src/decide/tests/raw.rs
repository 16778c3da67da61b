//! Tables for queues whose messages are not envelopes.

use super::super::raw;
use super::*;

impl Given {
    fn raw_policy(&self) -> Policy {
        self.kind.unwrap().policy
    }

    fn raw_admitted(&self) -> String {
        self.with_seen(|delivery, seen| {
            match raw::admit(delivery, raw_job(), seen, self.raw_policy(), &self.capabilities) {
                None => format!("run attempt {}", raw::attempt(seen)),
                Some(settlement) => self.show_raw(&settlement),
            }
        })
    }

    fn raw_ran(&self, outcome: &Outcome) -> String {
        let rng = &mut fastrand::Rng::with_seed(7);
        self.with_seen(|delivery, seen| {
            let (policy, caps) = (self.raw_policy(), &self.capabilities);
            self.show_raw(&raw::decide(delivery, raw_job(), seen, outcome, policy, caps, rng))
        })
    }

    fn raw_misfit(&self) -> String {
        let rng = &mut fastrand::Rng::with_seed(7);
        self.with_seen(|delivery, seen| {
            let (policy, caps) = (self.raw_policy(), &self.capabilities);
            let problem = "at `n`".to_owned();
            match raw::misfit(delivery, raw_job(), seen, problem, policy, caps, rng) {
                Settlement::Release { delay, why: Later::PutBack } => {
                    format!("release, put back in {delay:?}")
                }
                settlement => self.show_raw(&settlement),
            }
        })
    }

    /// The body is never rewritten, and in poison it says which job it was for.
    fn show_raw(&self, settlement: &Settlement) -> String {
        match settlement {
            Settlement::Rewrite { .. } => panic!("the body of a raw message was rewritten"),
            Settlement::Poison { fence, copy, .. } => {
                assert!(fence.is_none(), "the body of a raw message was rewritten");
                if *copy != self.message() {
                    assert_eq!(Envelope::decode(copy).unwrap().name, "job");
                }
            }
            _ => {}
        }
        self.show(settlement)
    }
}

fn message() -> Given {
    job().body(&b"{\"n\":\xff}"[..])
}

#[test]
fn before_a_run() {
    let out = "every attempt ended without a word: worker crashes, deploys or lost leases";
    let exhausted =
        format!("poison AttemptsExhausted, no fence: original settled@4 (final: {out})");
    let table = [
        ("first delivery", message(), "run attempt 1"),
        ("the last", message().count(3), "run attempt 3"),
        ("one too many", message().count(4), &exhausted),
        ("no counts", message().without_counts(), "run attempt 1"),
        ("no attempts at all means one", message().max_attempts(0), "run attempt 1"),
        ("expired", message().expires_in(60 * S), "delete, expired"),
        ("expired and one too many", message().expires_in(S).count(9), "delete, expired"),
        ("not expired", message().expires_in(61 * S), "run attempt 1"),
        (
            "too large to be wrapped",
            message().full().count(4),
            "poison AttemptsExhausted, no fence: as it came",
        ),
        ("looks like an envelope", message().body(ENVELOPE), "run attempt 1"),
        ("empty", message().body(""), "run attempt 1"),
    ];
    for (name, given, expected) in table {
        assert_eq!(given.raw_admitted(), expected, "{name}");
    }
}

/// For another queue, it would be poison.
const ENVELOPE: &[u8] =
    br#"{"format":1,"id":"0199c2a4-7b1e-7c3a-9d2b-5e6f7a8b9c0d","name":"x","args":0,
    "poison":{"state":"pending","reason":"crashed","at":0,"queue":"mail"}}"#;

#[test]
fn after_a_run() {
    let retry = |after| Outcome::Retry { error: "boom".into(), after };
    let table = [
        ("done", message(), Outcome::Done, "delete, done"),
        ("discarded", message(), Outcome::Discard { reason: "moot".into() }, "delete, discarded"),
        ("failed", message(), retry(None), "release, retry in 10s"),
        ("by its word", message(), retry(Some(3 * S)), "release, retry in 3s"),
        ("longer than can be", message(), retry(Some(9 * DAY)), "release, retry in 604800s"),
        ("without counts", message().without_counts(), retry(None), "release, retry in 10s"),
        (
            "the last attempt",
            message().count(3),
            retry(Some(S)),
            "poison AttemptsExhausted, no fence: original settled@3 (final: boom)",
        ),
        (
            "permanent",
            message(),
            Outcome::Permanent { error: "no".into() },
            "poison Permanent, no fence: original settled@1 (final: no)",
        ),
        ("snoozed", message(), Outcome::Snooze { delay: S }, "release, snooze in 1s"),
        ("given back", message(), Outcome::GivenBack, "release, give back in 0ns"),
        (
            "given back the last time",
            message().count(3),
            Outcome::GivenBack,
            "release, give back in 0ns",
        ),
        (
            "too large to be wrapped",
            message().full(),
            Outcome::Permanent { error: "no".into() },
            "poison Permanent, no fence: as it came",
        ),
    ];
    for (name, given, outcome, expected) in table {
        assert_eq!(given.raw_ran(&outcome), expected, "{name}");
    }
}

#[test]
fn a_body_that_does_not_fit() {
    let bad = "poison BadArgs, no fence: original settled@3 (final: at `n`)";
    assert_eq!(message().raw_misfit(), "release, put back in 10s");
    assert_eq!(message().count(3).raw_misfit(), bad);
    assert_eq!(message().without_counts().raw_misfit(), "release, put back in 10s");
}

#[test]
fn a_wrapped_message_gives_its_bytes_back() {
    for bytes in [&b"text"[..], b"\xff\0", b"", ENVELOPE] {
        let given = message().body(bytes);
        let wrapper = Envelope::around(&given.delivery(), &queue());
        assert_eq!(wrapper.original.unwrap().bytes().unwrap(), bytes);
    }
}
