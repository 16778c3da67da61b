//! Events of others on a queue of envelopes: taken for jobs, and left as they are by who does not
//! know them.

use super::*;

const EVENT: &[u8] =
    br#"{"specversion":"1.0","type":"job","source":"/s","id":"1","data":{"n": 1}}"#;

/// An event that is the job of the tables.
fn event() -> Given {
    job().body(EVENT).but(|g| {
        g.envelope.id = JobId::for_event("/s", "1");
        g.envelope.history.settled = None;
    })
}

fn retry() -> Outcome {
    Outcome::Retry { error: "boom".into(), after: None }
}

/// The message is as large as the backend takes, and no envelope of it fits.
fn full() -> Given {
    event().full()
}

#[test]
fn before_a_run() {
    check([
        ("first delivery", event(), "run attempt 1"),
        ("its start is marked in an envelope", event().count(2), "run attempt 1, mark: started@2"),
        ("expired", event().expires_in(60 * S), "delete, expired"),
        ("nobody knows it", event().unknown(), "release, put back in up to 5s"),
        ("nobody knows it again", event().unknown().count(3), "release, put back in up to 20s"),
        ("no attempts at all means one", event().max_attempts(0), "run attempt 1"),
    ]);
}

#[test]
fn what_nobody_knew_for_long_enough_is_poison_as_it_was_posted() {
    let given = event().unknown().count(40).but(|g| g.now = sent() + 2 * HOUR);
    given.with_seen(|delivery, seen| {
        let rng = &mut fastrand::Rng::with_seed(7);
        let find = |_: &str| None::<Kind>;
        let Admission::Settle(Settlement::Poison { fence, copy, reason }, refusal) =
            admit(delivery, seen, find, given.rules, &given.capabilities, rng)
        else {
            panic!("it is not poison");
        };
        assert_eq!(reason, PoisonReason::UnknownJob);
        assert!(fence.is_some());
        assert_eq!(refusal.id, Some(JobId::for_event("/s", "1")));
        let copy = Envelope::decode(&copy).unwrap();
        assert_eq!((copy.id, &*copy.name), (JobId::for_event("/s", "1"), "job"));
        assert_eq!(copy.original.unwrap().bytes().unwrap(), EVENT);
    });
    // Neither count nor age alone are enough.
    let young = event().unknown().count(40);
    assert!(young.admitted().0.starts_with("release, put back"));
    let old = event().unknown().but(|g| g.now = sent() + 2 * HOUR);
    assert!(old.admitted().0.starts_with("release, put back"));
}

#[test]
fn an_event_that_is_none_is_poison_at_once() {
    let two = [&b"["[..], EVENT, b",", EVENT, b"]"].concat();
    let (settlement, refusal) = event().body(two).admitted();
    let problem = "the message holds 2 events, and a message is one job: post them one by one";
    assert!(settlement.starts_with("poison Undecodable, fenced: original"), "{settlement}");
    assert!(settlement.contains(problem), "{settlement}");
    assert_eq!(refusal.unwrap().problem.as_deref(), Some(problem));
}

#[test]
fn after_a_run_it_is_an_envelope() {
    let table = [
        ("done", event(), Outcome::Done, "delete, done"),
        ("failed", event(), retry(), "rewrite, retry in 10s: failed=1 settled@1 1:boom"),
        (
            "permanent",
            event(),
            Outcome::Permanent { error: "no".into() },
            "poison Permanent, fenced: failed=1 settled@1 1:no (final: -)",
        ),
        (
            "snoozed",
            event(),
            Outcome::Snooze { delay: S },
            "rewrite, snooze in 1s: snoozed=1 settled@1",
        ),
        (
            "given back",
            event(),
            Outcome::GivenBack,
            "rewrite, give back in 0ns: given_back=1 settled@1",
        ),
    ];
    for (name, given, outcome, expected) in table {
        assert_eq!(given.ran(outcome), expected, "{name}");
    }
}

#[test]
fn what_it_says_besides_is_kept() {
    event().with_seen(|delivery, seen| {
        let given = event().but(|g| g.kind.as_mut().unwrap().version = 3);
        let rng = &mut fastrand::Rng::with_seed(7);
        let (caps, policy) = (&given.capabilities, given.kind.unwrap().policy);
        let Admission::Run { envelope, .. } =
            admit(delivery, seen, |_| given.kind, given.rules, caps, rng)
        else {
            panic!("it is not run");
        };
        assert_eq!(envelope.args_version, 3, "whoever posts it posts what the job takes");
        let settlement = decide(envelope, &delivery.body, seen, &retry(), policy, caps, rng);
        let Settlement::Rewrite { body, .. } = settlement else { panic!("{settlement:?}") };
        let envelope = Envelope::decode(&body).unwrap();
        assert_eq!(envelope.args_version, 3);
        assert_eq!(envelope.enqueued_at, sent());
        assert_eq!(envelope.meta["ce-source"], "/s");
    });
}

#[test]
fn data_that_do_not_fit_are_put_back_as_they_were() {
    let misfit = |given: &Given| {
        given.with_seen(|delivery, seen| {
            let rng = &mut fastrand::Rng::with_seed(7);
            let (rules, caps) = (given.rules, &given.capabilities);
            let Admission::Run { envelope, mark, .. } =
                admit(delivery, seen, |_| given.kind, rules, caps, rng)
            else {
                panic!("it is not run");
            };
            let (body, reason) = (&delivery.body, PoisonReason::BadArgs);
            let problem = "at `n`".to_owned();
            (mark.is_some(), put_back(envelope, body, seen, reason, problem, rules, caps, rng))
        })
    };
    let (marked, settlement) = misfit(&event());
    assert!(!marked && matches!(settlement, Settlement::Release { why: Later::PutBack, .. }));
    // The mark of its start must go.
    let (marked, settlement) = misfit(&event().count(2));
    assert!(marked);
    let Settlement::Rewrite { body, why: Later::PutBack, .. } = settlement else {
        panic!("{settlement:?}")
    };
    assert_eq!(body, EVENT);
    let (_, settlement) = misfit(&event().count(40).but(|g| g.now = sent() + 2 * HOUR));
    let Settlement::Poison { copy, reason, .. } = settlement else { panic!("{settlement:?}") };
    assert_eq!(reason, PoisonReason::BadArgs);
    let original = Envelope::decode(&copy).unwrap().original.unwrap();
    assert_eq!(original.bytes().unwrap(), EVENT);
}

#[test]
fn without_room_for_an_envelope_every_delivery_is_an_attempt() {
    check([
        ("first delivery", full(), "run attempt 1"),
        ("the last", full().count(3), "run attempt 3"),
        ("one too many", full().count(4), "poison AttemptsExhausted, no fence: as it came"),
        ("nobody counts", full().without_counts(), "poison Undecodable, no fence: as it came"),
        ("nobody knows it", full().unknown(), "release, put back in up to 5s"),
    ]);
    assert_eq!(full().ran(retry()), "release, retry in 10s");
    assert_eq!(full().count(3).ran(retry()), "poison AttemptsExhausted, no fence: as it came");
    assert_eq!(full().ran(Outcome::Done), "delete, done");
}

#[test]
fn what_is_too_long_with_its_past_alone_counts_too() {
    // The envelope fits, but not the room that a client would have left.
    let some = event().but(|g| g.capabilities.max_body = g.message().len() + 600);
    assert_eq!(
        some.clone().count(2).ran(retry()),
        "rewrite, retry in 10s: failed=2 settled@2 2:boom"
    );
}

mod any_event {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::ROOM;
    use crate::envelope::arbitrary::{self, SomeEvent};

    /// The event as it was posted, or a job that is the same.
    fn kept(event: &SomeEvent, body: &Bytes) -> Result<(), TestCaseError> {
        if *body == event.body.as_bytes() {
            return Ok(());
        }
        let envelope = Envelope::decode(body).expect("what is written can be read");
        prop_assert_eq!(envelope.id, JobId::for_event(&event.source, &event.id));
        prop_assert_eq!(&*envelope.name, &*event.name);
        if let Some(original) = &envelope.original {
            prop_assert_eq!(original.bytes().unwrap(), event.body.as_bytes());
        } else {
            prop_assert_eq!(envelope.args.get(), event.data.as_deref().unwrap_or("{}"));
            prop_assert_eq!(&envelope.meta["ce-id"], &event.id);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_settlement_loses_it_or_is_too_large(
            event in arbitrary::event(), known: bool, replace: bool, counts: bool, retry: bool,
            room in prop::sample::select(vec![0, 100, 600, ROOM, 2 * ROOM]), count in 0..50_u32,
            age in prop::sample::select(vec![S, 2 * HOUR]),
        ) {
            let given = job().body(event.body.clone()).count(count).but(|g| {
                g.capabilities.max_body = event.body.len() + room;
                g.capabilities.replace = replace;
                g.now = sent() + age;
                g.kind = g.kind.filter(|_| known);
            });
            let given = if counts { given } else { given.without_counts() };
            given.with_seen(|delivery, seen| {
                let rng = &mut fastrand::Rng::with_seed(7);
                let (rules, caps, body) = (given.rules, &given.capabilities, &delivery.body);
                let settlements = match admit(delivery, seen, |_| given.kind, rules, caps, rng) {
                    Admission::Settle(settlement, refusal)
                    | Admission::HandOver(settlement, refusal)
                    | Admission::Ask(_, settlement, refusal) => {
                        prop_assert_eq!(refusal.id, Some(JobId::for_event(&event.source, &event.id)));
                        vec![settlement]
                    }
                    Admission::Run { envelope, job, mark } => {
                        if let Some(mark) = mark {
                            prop_assert!(mark.len() <= caps.max_body);
                            kept(&event, &mark)?;
                        }
                        let outcome = if retry { super::retry() } else { Outcome::GivenBack };
                        let misfit = envelope.clone();
                        let (why, text) = (PoisonReason::BadArgs, "x".repeat(500));
                        vec![
                            put_back(misfit, body, seen, why, text, rules, caps, rng),
                            decide(envelope, body, seen, &outcome, job.policy(), caps, rng),
                        ]
                    }
                };
                for settlement in settlements {
                    let bodies = match settlement {
                        Settlement::Delete(_) => panic!("it is lost"),
                        Settlement::Release { .. } => vec![],
                        Settlement::Rewrite { body, .. } => vec![body],
                        Settlement::Poison { fence, copy, .. } => {
                            fence.into_iter().chain([copy]).collect()
                        }
                    };
                    for body in bodies {
                        prop_assert!(body.len() <= caps.max_body);
                        kept(&event, &body)?;
                    }
                }
                Ok(())
            })?;
        }
    }
}
