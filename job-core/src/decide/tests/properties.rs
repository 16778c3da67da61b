//! Whatever comes in: no settlement loses or changes the job, and none is too large.

use proptest::prelude::*;

use super::*;
use crate::envelope::ROOM;
use crate::envelope::arbitrary::{self, facts};

/// All of a body that is the user's, comparable.
fn job_in(body: &[u8]) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut envelope = Envelope::decode(body).expect("what is written can be read");
    envelope.start_afresh();
    envelope.errors.clear();
    facts(&envelope)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let long = || prop_oneof![Just(Duration::ZERO), Just(S), Just(30 * DAY), Just(Duration::MAX)];
    let text = || arbitrary::text(400);
    prop_oneof![
        Just(()).prop_map(|()| Outcome::Done),
        text().prop_map(|reason| Outcome::Discard { reason: reason.into() }),
        (text(), prop::option::of(long()))
            .prop_map(|(error, after)| Outcome::Retry { error: error.into(), after }),
        text().prop_map(|error| Outcome::Permanent { error: error.into() }),
        long().prop_map(|delay| Outcome::Snooze { delay }),
        Just(()).prop_map(|()| Outcome::GivenBack),
    ]
}

/// A job that was accepted at enqueue with just the room that must be left, after any past.
fn given() -> impl Strategy<Value = Given> {
    let past = (
        arbitrary::fresh(),
        arbitrary::history(),
        prop::collection::vec(arbitrary::text(300), 0..6),
    );
    let worker = (any::<bool>(), any::<bool>(), prop::option::of(1..4_u32), 0..9_u32, 0..5_u32);
    let ours = (any::<bool>(), any::<bool>(), any::<bool>());
    let count = prop_oneof![9 => 0..30_u32, 1 => Just(u32::MAX)];
    (past, worker, ours, count, 0..3_u8, prop::sample::select(&arbitrary::REASONS[..])).prop_map(
        |((fresh, history, errors), worker, ours, count, poison, reason)| {
            let (replace, counts, version, max_attempts, crash_limit) = worker;
            let room = fresh.encode().unwrap().len() + ROOM;
            let mut given = job().but(|g| {
                g.envelope = Envelope { history, ..fresh };
                g.capabilities.max_body = room;
                g.capabilities.replace = replace;
                g.count = Some(count);
                g.rules.crash_limit = crash_limit;
                let policy = Policy { max_attempts, ..g.kind.unwrap().policy };
                g.kind = version.map(|version| Kind { policy, version });
            });
            let history = &mut given.envelope.history;
            for (mark, ours) in [(&mut history.started, ours.0), (&mut history.settled, ours.1)] {
                if let Some(mark) = mark.as_mut().filter(|_| ours) {
                    mark.message_id = MESSAGE.into();
                }
            }
            if ours.2 {
                given.envelope.delay_left = Duration::ZERO;
            }
            for error in errors {
                given.envelope.push_error(1, sent(), error);
            }
            if !counts {
                given = given.without_counts();
            }
            given = match poison {
                1 => given.poison(PoisonState::Pending, reason),
                2 => given.poison(PoisonState::Final, reason),
                _ => given,
            };
            // As a backend would have it: whatever was written fits.
            given.body = given.envelope.encode_within(room);
            assert!(given.body.is_some());
            given
        },
    )
}

/// Checks one settlement; gives the body that the job has from now on, if it has any.
fn check(given: &Given, settlement: &Settlement) -> Result<(), TestCaseError> {
    let limit = given.capabilities.max_body;
    let job = job_in(&given.message());
    match settlement {
        Settlement::Delete(_) => {}
        Settlement::Rewrite { body, delay, .. } => {
            prop_assert!(body.len() <= limit);
            prop_assert!(*delay <= given.capabilities.max_delay);
            prop_assert_eq!(job_in(body), job);
            let envelope = Envelope::decode(body).unwrap();
            prop_assert!(envelope.poison.is_none());
            prop_assert!(envelope.history.started.is_none(), "nothing is left open");
        }
        // With room for it, nothing is ever forgotten.
        Settlement::Release { why, .. } => {
            prop_assert!(*why == Later::GiveBack && !given.capabilities.replace);
        }
        Settlement::Poison { fence, copy, reason } => {
            let was_pending = Envelope::decode(&given.message())
                .unwrap()
                .poison
                .is_some_and(|poison| poison.state == PoisonState::Pending);
            prop_assert_eq!(fence.is_some(), given.capabilities.replace && !was_pending);
            for (body, state) in
                fence.iter().map(|f| (f, PoisonState::Pending)).chain([(copy, PoisonState::Final)])
            {
                prop_assert!(body.len() <= limit);
                prop_assert_eq!(job_in(body), job_in(&given.message()));
                let poison = Envelope::decode(body).unwrap().poison.unwrap();
                prop_assert_eq!((poison.state, poison.reason), (state, *reason));
            }
            let again = fence.iter().map(|fence| given.clone().body(fence.clone()));
            for fenced in again {
                let (next, _) = fenced.admit_raw();
                let moved =
                    matches!(next, Settlement::Poison { fence: None, copy: c, .. } if c == *copy);
                prop_assert!(moved, "what is fenced is only moved, and as the same");
            }
            let mut replayed = Envelope::decode(copy).unwrap();
            replayed.start_afresh();
            prop_assert_eq!(replayed.history.attempt(), 1);
        }
    }
    Ok(())
}

impl Given {
    fn admit_raw(&self) -> (Settlement, Refusal) {
        let rng = &mut fastrand::Rng::with_seed(7);
        self.with_seen(|delivery, seen| {
            match admit(delivery, seen, |_| self.kind, self.rules, &self.capabilities, rng) {
                Admission::Settle(settlement, refusal) => (settlement, refusal),
                admission => panic!("it is not settled: {admission:?}"),
            }
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_settlement_loses_changes_or_bloats_the_job(given in given(), outcome in outcome(), seed: u64) {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let suspects = match seed % 3 {
            0 => Suspects::Here,
            _ => Suspects::Elsewhere { longest_wait: HOUR },
        };
        let rules = Rules { suspects, asked: seed % 2 == 0, ..given.rules };
        let caps = &given.capabilities;
        let (delivery, queue) = (given.delivery(), queue());
        let seen = Seen {
            queue: &queue,
            message_id: &delivery.message_id,
            count: given.count,
            inserted_at: given.inserted_at,
            now: given.now,
        };
        match admit(&delivery, seen, |_| given.kind, rules, caps, rng) {
            Admission::Settle(settlement, refusal) | Admission::HandOver(settlement, refusal) => {
                prop_assert_eq!(refusal.id, Some(given.envelope.id));
                check(&given, &settlement)?;
            }
            Admission::Ask(mark, settlement, refusal) => {
                prop_assert!(given.envelope.history.open_mark(seen.message_id) == Some(mark));
                prop_assert_eq!(refusal.id, Some(given.envelope.id));
                prop_assert!(matches!(settlement, Settlement::Release { .. }), "it is charged");
            }
            Admission::Run { envelope, job, mark } => {
                if let Some(mark) = mark {
                    prop_assert!(mark.len() <= caps.max_body);
                    prop_assert_eq!(job_in(&mark), job_in(&delivery.body));
                    let marked = Envelope::decode(&mark).unwrap();
                    prop_assert!(marked.history.open_mark(seen.message_id).is_some());
                    prop_assert_eq!(marked.history.crashed, envelope.history.crashed);
                } else {
                    prop_assert!(suspects == Suspects::Here || envelope.history.crashed < 2 || !caps.replace);
                    let first = seen.count.is_some_and(|count| {
                        count <= envelope.history.settled_count(seen.message_id).saturating_add(1)
                    });
                    prop_assert!(first && caps.counts || !caps.replace, "its start is not marked");
                }
                let body = &delivery.body;
                let (reason, problem) = (PoisonReason::BadArgs, "x".repeat(500));
                let misfit = envelope.clone();
                check(&given, &put_back(misfit, body, seen, reason, problem, rules, caps, rng))?;
                check(&given, &decide(envelope, body, seen, &outcome, job.policy(), caps, rng))?;
            }
        }
    }

    #[test]
    fn what_takes_the_short_cut_would_be_run_as_it_is(given in given(), fresh: bool, first: bool) {
        let Envelope { id, args, enqueued_at, .. } = given.envelope.clone();
        let new = Envelope::new(id, "job", args.into_owned(), enqueued_at).encode().unwrap();
        let given = if fresh { given.body(new) } else { given };
        let given = if first { given.count(1) } else { given };
        let (delivery, caps) = (given.delivery(), &given.capabilities);
        let (rng, find) = (&mut fastrand::Rng::with_seed(7), |_: &str| given.kind);
        given.with_seen(|_, seen| {
            let Some((short, _)) = admit_fresh(&delivery, seen, find, caps) else { return Ok(()) };
            match admit(&delivery, seen, find, given.rules, caps, rng) {
                Admission::Run { envelope, mark: None, .. } => {
                    prop_assert_eq!(envelope.encode().unwrap(), short.into_envelope().encode().unwrap());
                    Ok(())
                }
                other => { prop_assert!(false, "{:?}", other); Ok(()) }
            }
        })?;
    }

    #[test]
    fn any_bytes_are_kept(body in prop::collection::vec(any::<u8>(), 0..200), replace: bool, full: bool) {
        let given = job().body(body.clone()).but(|g| g.capabilities.replace = replace);
        let given = if full { given.full() } else { given };
        match given.admit_raw().0 {
            Settlement::Poison { fence, copy, reason: PoisonReason::Undecodable } => {
                prop_assert_eq!(fence.is_some(), replace && !full);
                for wrapper in fence.iter().chain([&copy]).filter(|copy| **copy != body) {
                    let original = Envelope::decode(wrapper).unwrap().original.unwrap();
                    prop_assert_eq!(original.bytes().unwrap(), body.clone());
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_poison_copy_moved_back_by_hand_runs_like_new(given in given()) {
        let mut final_copy = given.envelope.clone();
        final_copy.args_version = 1;
        final_copy.options.expires_in = None;
        let back = job()
            .but(|g| g.envelope = final_copy)
            .poison(PoisonState::Final, PoisonReason::Crashed);
        let back = Given { capabilities: Capabilities { max_body: 1 << 20, ..given.capabilities.clone() }, ..back };
        back.with_seen(|delivery, seen| {
            let rng = &mut fastrand::Rng::with_seed(7);
            let seen = Seen { count: Some(1), ..seen };
            match admit(delivery, seen, |_| back.kind, back.rules, &back.capabilities, rng) {
                Admission::Run { envelope, .. } => {
                    prop_assert_eq!(envelope.history.attempt(), 1);
                    prop_assert!(envelope.poison.is_none());
                    Ok(())
                }
                _ => { prop_assert!(false, "not run"); Ok(()) }
            }
        })?;
    }

    #[test]
    fn raw_messages_are_never_rewritten(
        body in prop::collection::vec(any::<u8>(), 0..200), outcome in outcome(),
        count in prop::option::of(any::<u32>()), max_attempts: u32, full: bool, replace: bool,
    ) {
        let given = job().body(body.clone()).max_attempts(max_attempts).but(|g| {
            g.count = count;
            g.capabilities.replace = replace;
        });
        let given = if full { given.full() } else { given };
        let rng = &mut fastrand::Rng::with_seed(7);
        given.with_seen(|delivery, seen| {
            let (policy, caps) = (given.kind.unwrap().policy, &given.capabilities);
            let settlements = [
                super::super::raw::admit(delivery, raw_job(), seen, policy, caps),
                Some(super::super::raw::decide(delivery, raw_job(), seen, &outcome, policy, caps, rng)),
                Some(super::super::raw::misfit(delivery, raw_job(), seen, "x".into(), policy, caps, rng)),
            ];
            for settlement in settlements.into_iter().flatten() {
                match settlement {
                    Settlement::Rewrite { .. } => prop_assert!(false, "rewritten"),
                    Settlement::Release { delay, .. } => prop_assert!(delay <= caps.max_delay),
                    Settlement::Delete(_) => {}
                    Settlement::Poison { fence, copy, .. } => {
                        prop_assert!(fence.is_none());
                        prop_assert!(copy.len() <= caps.max_body);
                        if copy != body {
                            let original = Envelope::decode(&copy).unwrap().original.unwrap();
                            prop_assert_eq!(original.bytes().unwrap(), body.clone());
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
