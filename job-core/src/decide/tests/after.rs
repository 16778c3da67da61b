//! Tables of what is decided after a run: DESIGN.md, "A delivery, step by step", 6.

use std::borrow::Cow;

use super::*;
use crate::Jitter;

fn fails() -> Outcome {
    Outcome::Retry { error: "boom".into(), after: None }
}

fn fails_until(after: Duration) -> Outcome {
    Outcome::Retry { error: "busy".into(), after: Some(after) }
}

fn check(table: impl IntoIterator<Item = (&'static str, Given, Outcome, &'static str)>) {
    let wrong: Vec<_> = table
        .into_iter()
        .filter_map(|(name, given, outcome, expected)| {
            let got = given.ran(outcome);
            (got != expected).then(|| format!("{name}:\n  expected {expected}\n       got {got}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn gone() {
    let unasked = || Outcome::Discard { reason: "moot".into() };
    check([
        ("done", job(), Outcome::Done, "delete, done"),
        (
            "done at last",
            job().failed(2).started(1).count(2).max_attempts(9),
            Outcome::Done,
            "delete, done",
        ),
        ("discarded", job(), unasked(), "delete, discarded"),
        ("done without room", job().full(), Outcome::Done, "delete, done"),
    ]);
}

#[test]
fn retries() {
    check([
        ("failed", job(), fails(), "rewrite, retry in 10s: failed=1 settled@1 1:boom"),
        (
            "failed again",
            job().failed(1).settled(1).count(2),
            fails(),
            "rewrite, retry in 10s: failed=2 settled@2 2:boom",
        ),
        (
            "by the handler's word",
            job(),
            fails_until(3 * S),
            "rewrite, retry in 3s: failed=1 settled@1 1:busy",
        ),
        (
            "after a long time",
            job(),
            fails_until(8 * DAY),
            "rewrite, retry in 604800s: failed=1 settled@1 left=86400s 1:busy",
        ),
        (
            "after as long as the backend can",
            job(),
            fails_until(7 * DAY),
            "rewrite, retry in 604800s: failed=1 settled@1 1:busy",
        ),
        (
            "never, as it were",
            job(),
            fails_until(Duration::MAX),
            "rewrite, retry in 604800s: failed=1 settled@1 left=18446744073709551.615s 1:busy",
        ),
        (
            "a marked start is reported",
            job().started(1).settled(0).count(2),
            fails(),
            "rewrite, retry in 10s: failed=1 crashed=1 settled@2 2:boom",
        ),
        ("no counts", job().without_counts(), fails(), "rewrite, retry in 10s: failed=1 1:boom"),
        (
            "no rewriting: the end of its life goes with it",
            job().without_replace().expires_in(HOUR),
            fails(),
            "rewrite, retry in 10s: failed=1 expires=3600s settled@1 1:boom",
        ),
        (
            "also that of the call",
            job().without_replace().call_expires_in(HOUR).expires_in(DAY),
            fails(),
            "rewrite, retry in 10s: failed=1 expires=3600s settled@1 1:boom",
        ),
        ("no room: forgotten, not lost", job().full(), fails(), "release, retry in 10s"),
        (
            "no room and a long time",
            job().full(),
            fails_until(8 * DAY),
            "release, retry in 604800s",
        ),
        (
            "moved back by hand",
            job().failed(3).settled(3).poison(PoisonState::Final, PoisonReason::AttemptsExhausted),
            fails(),
            "rewrite, retry in 10s: failed=1 settled@1 1:boom",
        ),
    ]);
}

#[test]
fn poison() {
    let permanent = || Outcome::Permanent { error: "no account".into() };
    check([
        (
            "the last attempt",
            job().failed(2).settled(2).count(3),
            fails(),
            "poison AttemptsExhausted, fenced: failed=3 settled@3 3:boom (final: -)",
        ),
        (
            "crashes are attempts",
            job().failed(1).started(2).count(3),
            fails(),
            "poison AttemptsExhausted, fenced: failed=2 crashed=1 settled@3 3:boom (final: -)",
        ),
        (
            "the handler's word does not help",
            job().max_attempts(1),
            fails_until(S),
            "poison AttemptsExhausted, fenced: failed=1 settled@1 1:busy (final: -)",
        ),
        (
            "as many as the call said",
            job().call_max_attempts(1),
            fails(),
            "poison AttemptsExhausted, fenced: failed=1 settled@1 1:boom (final: -)",
        ),
        (
            "none at all",
            job().max_attempts(0),
            fails(),
            "poison AttemptsExhausted, fenced: failed=1 settled@1 1:boom (final: -)",
        ),
        (
            "permanent",
            job(),
            permanent(),
            "poison Permanent, fenced: failed=1 settled@1 1:no account (final: -)",
        ),
        (
            "no rewriting: no fence",
            job().without_replace(),
            permanent(),
            "poison Permanent, no fence: failed=1 settled@1 1:no account (final: -)",
        ),
        (
            "no room: the message alone",
            job().full(),
            permanent(),
            "poison Permanent, no fence: as it came",
        ),
    ]);
}

#[test]
fn not_charged() {
    let snooze = |delay| Outcome::Snooze { delay };
    check([
        ("snoozed", job(), snooze(5 * S), "rewrite, snooze in 5s: snoozed=1 settled@1"),
        (
            "on its last attempt",
            job().failed(2).settled(2).count(3),
            snooze(5 * S),
            "rewrite, snooze in 5s: failed=2 snoozed=1 settled@3",
        ),
        (
            "for long",
            job(),
            snooze(15 * DAY),
            "rewrite, snooze in 604800s: snoozed=1 settled@1 left=691200s",
        ),
        (
            "for no time",
            job(),
            snooze(Duration::ZERO),
            "rewrite, snooze in 0ns: snoozed=1 settled@1",
        ),
        ("without room", job().full(), snooze(5 * S), "release, snooze in 5s"),
        (
            "given back",
            job(),
            Outcome::GivenBack,
            "rewrite, give back in 0ns: given_back=1 settled@1",
        ),
        (
            "given back after its start was marked",
            job().count(2),
            Outcome::GivenBack,
            "rewrite, give back in 0ns: given_back=1 settled@2",
        ),
        (
            "given back after a crash",
            job().started(2).count(3),
            Outcome::GivenBack,
            "rewrite, give back in 0ns: crashed=1 given_back=1 settled@3",
        ),
        (
            "given back without rewriting: no new message for it",
            job().without_replace(),
            Outcome::GivenBack,
            "release, give back in 0ns",
        ),
        (
            "but for every second one, or deploys would look like crashes",
            job().without_replace().count(2),
            Outcome::GivenBack,
            "rewrite, give back in 0ns: given_back=1 settled@2",
        ),
        (
            "given back without anything",
            job().without_replace().without_counts(),
            Outcome::GivenBack,
            "release, give back in 0ns",
        ),
    ]);
}

#[test]
fn received_and_given_back_before_a_start() {
    let given_back = |given: &Given| {
        given.with_seen(|_, seen| {
            let envelope = given.envelope.clone();
            given.show(&give_back_unstarted(envelope, seen, &given.capabilities))
        })
    };
    let table = [
        ("once", job(), "rewrite, give back in 0ns: given_back=1 settled@1"),
        (
            "after what may be a crash: the next one asks",
            job().started(2).count(3),
            "release, give back in 0ns",
        ),
        (
            "after a start without a word",
            job().settled(1).count(4),
            "rewrite, give back in 0ns: given_back=1 settled@3",
        ),
        ("not due yet", job().left(DAY), "release, give back in 0ns"),
        ("no room", job().full(), "release, give back in 0ns"),
        (
            "no rewriting: no new message for it",
            job().without_replace(),
            "release, give back in 0ns",
        ),
        (
            "but for every second one",
            job().without_replace().call_expires_in(HOUR).count(2),
            "rewrite, give back in 0ns: given_back=1 expires=3600s settled@1",
        ),
    ];
    for (name, given, expected) in table {
        assert_eq!(given_back(&given), expected, "{name}");
    }
}

#[test]
fn args_that_do_not_fit_are_put_back_after_admission() {
    let put_back = |given: Given| {
        let rng = &mut fastrand::Rng::with_seed(7);
        given.with_seen(|delivery, seen| {
            let (rules, caps) = (given.rules, &given.capabilities);
            let find = |_: &str| given.kind;
            let Admission::Run { envelope, .. } = admit(delivery, seen, find, rules, caps, rng)
            else {
                panic!("it is not admitted");
            };
            let (reason, problem) = (PoisonReason::BadArgs, "at `n`".to_owned());
            let body = &delivery.body;
            given.show(&super::put_back(envelope, body, seen, reason, problem, rules, caps, rng))
        })
    };
    let table = [
        ("once", job(), "rewrite, put back in up to 5s: put_back=1 settled@1"),
        (
            "with an open mark: the crash is counted, the new mark closed",
            job().started(2).count(3),
            "rewrite, put back in up to 5s: crashed=1 put_back=1 settled@2",
        ),
        (
            "long enough",
            job().put_back(9, HOUR),
            "poison BadArgs, fenced: put_back=9 settled@1 (final: at `n`)",
        ),
        (
            "no rewriting: the end of its life goes with it",
            job().without_replace().expires_in(HOUR),
            "rewrite, put back in up to 5s: put_back=1 expires=3600s settled@1",
        ),
    ];
    for (name, given, expected) in table {
        assert_eq!(put_back(given), expected, "{name}");
    }
}

#[test]
fn retries_follow_the_backoff_of_the_attempt() {
    let given = job().failed(3).max_attempts(9).but(|g| {
        let backoff = Backoff::exponential(S, HOUR).jitter(Jitter::None);
        g.kind.as_mut().unwrap().policy.backoff = backoff;
    });
    let got = given.ran(fails());
    assert_eq!(got, "rewrite, retry in 8s: failed=4 settled@1 4:boom");
}

#[test]
fn no_body_reaches_debug() {
    let given = job().but(|g| {
        g.envelope.args = RawValue::from_string("\"c4n4ry\"".into()).map(Cow::Owned).unwrap();
    });
    let rng = &mut fastrand::Rng::with_seed(7);
    let caps = &given.capabilities;
    given.with_seen(|delivery, seen| {
        let find = |_: &str| given.kind;
        let marked = Seen { count: Some(2), ..seen };
        let admission = admit(delivery, marked, find, given.rules, caps, rng);
        assert!(matches!(&admission, Admission::Run { mark: Some(_), .. }));
        let mut shown = format!("{admission:?}{admission:#?}");
        for outcome in [fails(), Outcome::Permanent { error: "c4n4ry".into() }] {
            let Admission::Run { envelope, job, .. } =
                admit(delivery, seen, find, given.rules, caps, rng)
            else {
                panic!("it is not run at all");
            };
            let body = &delivery.body;
            let settlement = decide(envelope, body, seen, &outcome, job.policy(), caps, rng);
            shown += &format!("{settlement:?}{settlement:#?}");
        }
        assert!(!shown.contains("c4n4ry"), "{shown}");
    });
}
