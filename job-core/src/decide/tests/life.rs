//! The lives of single jobs, from their first delivery to their end, with everything that can go
//! wrong on the way: what RELIABILITY.md promises of attempts, crashes and poison.

use proptest::prelude::*;

use super::*;
use crate::backend::MessageId;

/// What chance has in store: each question takes a byte. Once they are used up, nothing goes wrong
/// any more that the job does not do itself.
struct Chance {
    bytes: std::vec::IntoIter<u8>,
}

impl Chance {
    /// True once in `n` times.
    fn once_in(&mut self, n: u8) -> bool {
        self.bytes.next().is_some_and(|byte| byte % n == 0)
    }

    fn of(&mut self, n: u8) -> Option<u8> {
        self.bytes.next().map(|byte| byte % n)
    }
}

/// What the job does once chance has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Succeeds,
    Fails,
    KillsItsWorker,
}

#[derive(Debug, Default)]
struct Tally {
    deliveries: u32,
    lost_receives: u32,
    starts: u32,
    snoozes: u32,
    give_backs: u32,
    /// Runs that could not report, for a lease that ran out or a settlement that failed.
    lease_losses: u32,
    crashes: u32,
    /// Marks of starts that came to nothing: the response was lost, or the worker was killed.
    idle_marks: u32,
    /// Deliveries that were not run and whose settlement failed.
    vain: u32,
    fenced: bool,
    log: Vec<String>,
}

struct Life {
    given: Given,
    message: u64,
    body: Bytes,
    now: SystemTime,
    chance: Chance,
    rng: fastrand::Rng,
    nature: Nature,
    tally: Tally,
    poison: Vec<(Bytes, PoisonReason)>,
    gone: Option<Gone>,
}

impl Life {
    fn new(given: Given, nature: Nature, chance: Vec<u8>) -> Self {
        Self {
            message: 1,
            body: given.message(),
            now: sent(),
            chance: Chance { bytes: chance.into_iter() },
            rng: fastrand::Rng::with_seed(7),
            nature,
            tally: Tally::default(),
            poison: Vec::new(),
            gone: None,
            given: given.but(|g| g.count = Some(0).filter(|_| g.capabilities.counts)),
        }
    }

    fn is_over(&self) -> bool {
        self.message == 0
    }

    fn live(&mut self) {
        while !self.is_over() {
            self.deliver();
            let log = &self.tally.log;
            assert!(self.tally.deliveries < 400, "it never ends:\n{}", log[..60].join("\n"));
        }
    }

    fn say(&mut self, what: impl Into<String>) {
        let (what, count) = (what.into(), self.given.count);
        self.tally.log.push(format!("m{} {count:?}: {what}", self.message));
    }

    fn deliver(&mut self) {
        self.tally.deliveries += 1;
        self.now += S;
        self.given.count = self.given.count.map(|count| count + 1);
        if self.chance.once_in(5) {
            self.tally.lost_receives += 1;
            return self.say("the response to the receive is lost, or its worker killed");
        }

        let message_id = MessageId::from(self.message);
        let delivery = Message {
            message_id: message_id.clone(),
            count: self.given.count,
            inserted_at: self.given.inserted_at,
            body: self.body.clone(),
        };
        let queue = queue();
        let seen = Seen {
            queue: &queue,
            message_id: &message_id,
            count: self.given.count,
            inserted_at: self.given.inserted_at,
            now: self.now,
        };
        let given = self.given.clone();
        // A rolling deploy: some workers do not know the job yet.
        let kind = given.kind.filter(|_| !self.chance.once_in(6));
        let rng = &mut self.rng;
        match admit(&delivery, seen, |_| kind, given.rules, &given.capabilities, rng) {
            Admission::Settle(settlement, _)
            | Admission::HandOver(settlement, _)
            | Admission::Ask(_, settlement, _) => {
                if !self.carry_out(settlement) {
                    self.tally.vain += 1;
                }
            }
            Admission::Run { envelope, job, mark } => {
                if mark.is_some_and(|mark| !self.write_mark(mark)) {
                    return;
                }
                let Some(outcome) = self.run(&envelope) else { return };
                let (policy, caps) = (job.policy(), &given.capabilities);
                let body = &delivery.body;
                let settlement =
                    decide(envelope, body, seen, &outcome, policy, caps, &mut self.rng);
                if !self.carry_out(settlement) {
                    self.tally.lease_losses += 1;
                }
            }
        }
    }

    /// Whether the job may start.
    fn write_mark(&mut self, mark: Bytes) -> bool {
        assert!(mark.len() <= self.given.capabilities.max_body);
        if self.chance.once_in(6) {
            self.say("the mark is not written");
            return false;
        }
        self.body = mark;
        if self.chance.once_in(6) {
            self.tally.idle_marks += 1;
            self.say("the mark is written, but the job not started");
            return false;
        }
        true
    }

    /// Its outcome, if it lives to report one.
    fn run(&mut self, envelope: &Envelope<'_>) -> Option<Outcome> {
        assert!(!self.tally.fenced, "started after its fence:\n{}", self.tally.log.join("\n"));
        self.tally.starts += 1;
        self.say(format!("start, attempt {}", envelope.history.attempt()));
        let outcome = match self.chance.of(10) {
            Some(0) => Outcome::Done,
            Some(1 | 2) => Outcome::Retry { error: "e".repeat(2000).into(), after: None },
            Some(3) => Outcome::Retry { error: "late".into(), after: Some(9 * DAY) },
            Some(4) => Outcome::Permanent { error: "no".into() },
            Some(5) => {
                self.tally.snoozes += 1;
                Outcome::Snooze { delay: S }
            }
            Some(6 | 7) => {
                self.tally.give_backs += 1;
                Outcome::GivenBack
            }
            Some(8) => {
                self.tally.lease_losses += 1;
                self.say("its lease is lost");
                return None;
            }
            None if self.nature == Nature::Succeeds => Outcome::Done,
            None if self.nature == Nature::Fails => {
                Outcome::Retry { error: "boom".into(), after: None }
            }
            _ => {
                self.tally.crashes += 1;
                self.say("it kills its worker");
                return None;
            }
        };
        self.say(format!("{outcome:.60?}"));
        Some(outcome)
    }

    /// As a worker does it; whether the backend heard of it.
    fn carry_out(&mut self, settlement: Settlement) -> bool {
        self.say(format!("{settlement:?}"));
        let limit = self.given.capabilities.max_body;
        if self.chance.once_in(8) {
            self.say("which comes to nothing");
            return false;
        }
        match settlement {
            Settlement::Delete(gone) => {
                self.gone = Some(gone);
                self.message = 0;
            }
            Settlement::Rewrite { body, delay, .. } => {
                assert!(body.len() <= limit);
                self.now += delay;
                self.body = body;
                if !self.given.capabilities.replace {
                    self.message += 1;
                    self.given.inserted_at = self.now;
                    self.given.count = self.given.count.map(|_| 0);
                }
            }
            Settlement::Release { delay, .. } => self.now += delay,
            Settlement::Poison { fence, copy, reason } => {
                assert!(copy.len() <= limit);
                if let Some(fence) = fence {
                    assert!(fence.len() <= limit);
                    self.body = fence;
                    self.tally.fenced = true;
                }
                if self.chance.once_in(4) {
                    self.say("killed after the fence");
                    return false;
                }
                self.poison.push((copy, reason));
                if self.chance.once_in(4) {
                    self.say("killed after the send to poison");
                    return false;
                }
                self.message = 0;
            }
        }
        true
    }

    /// The promises.
    fn judge(&self, max_attempts: u32, crash_limit: u32) {
        let t = &self.tally;
        let log = || t.log.join("\n");
        let caps = &self.given.capabilities;

        let bound = max_attempts.max(1) + t.snoozes + t.give_backs + t.lease_losses + t.crashes;
        assert!(t.starts <= bound, "{} starts, at most {bound} promised:\n{}", t.starts, log());
        assert!(self.gone.is_some() || !self.poison.is_empty(), "it is lost:\n{}", log());
        if let Some(gone) = self.gone {
            assert_eq!(gone, Gone::Done);
            assert!(t.starts > 0, "done without a start:\n{}", log());
        }
        for (copy, reason) in &self.poison {
            let mut copy = Envelope::decode(copy).unwrap();
            assert_eq!(copy.poison.as_ref().unwrap().reason, *reason);
            let (failed, crashed) = (copy.history.failed, copy.history.crashed);
            copy.start_afresh();
            copy.errors.clear();
            assert_eq!(copy.encode().unwrap(), self.given.message(), "{}", log());
            match reason {
                PoisonReason::AttemptsExhausted | PoisonReason::Permanent => {
                    assert!(failed > 0 && t.starts > 0, "charged without a start:\n{}", log());
                }
                // What counts as a crash is a mark, or deliveries where none can be written.
                PoisonReason::Crashed if caps.replace => {
                    let open = t.crashes + t.lease_losses + t.idle_marks;
                    assert!(open > 0 && crashed <= open, "charged without a crash:\n{}", log());
                    assert!(crashed >= crash_limit.max(1).min(max_attempts.max(1)) || failed > 0);
                }
                PoisonReason::Crashed => {
                    let ours = t.crashes + t.lease_losses + t.give_backs;
                    let unreported = ours + t.lost_receives + t.vain;
                    assert!(unreported >= 5 * crash_limit.max(1), "{}", log());
                }
                PoisonReason::UnknownJob => {}
                other => panic!("{other}:\n{}", log()),
            }
        }
        let kills = [t.crashes, t.lease_losses, t.idle_marks];
        if caps.replace && kills == [0; 3] {
            let crashed = self.poison.iter().any(|(_, reason)| *reason == PoisonReason::Crashed);
            assert!(!crashed, "lost receives alone poison nobody:\n{}", log());
        }
    }
}

fn backend(replace: bool, counts: bool) -> Given {
    let given = job().but(|g| g.capabilities.replace = replace);
    if counts { given } else { given.without_counts() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_life_keeps_the_promises(
        replace: bool, counts: bool,
        max_attempts in 0..6_u32, crash_limit in 0..5_u32,
        nature in prop::sample::select(&[Nature::Succeeds, Nature::Fails, Nature::KillsItsWorker][..]),
        chance in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        // Without both there is nothing to tell a crash by: see below.
        let nature = if replace || counts { nature } else { Nature::Succeeds };
        let given = backend(replace, counts)
            .max_attempts(max_attempts)
            .but(|g| g.rules.crash_limit = crash_limit);
        let mut life = Life::new(given, nature, chance);
        life.live();
        life.judge(max_attempts, crash_limit);
    }

    #[test]
    fn a_message_without_room_comes_to_an_end_too(
        max_attempts in 0..6_u32, crash_limit in 1..5_u32, known: bool,
        nature in prop::sample::select(&[Nature::Succeeds, Nature::Fails, Nature::KillsItsWorker][..]),
        left in prop::option::of(1..500_u32),
    ) {
        let given = job()
            .max_attempts(max_attempts)
            .left(DAY * left.unwrap_or(0))
            .but(|g| g.rules.crash_limit = crash_limit);
        let given = if known { given } else { given.unknown() }.full();
        let message = given.message();
        let mut life = Life::new(given, nature, Vec::new());
        life.now += if left.is_some() { 7 * DAY } else { Duration::ZERO };
        life.live();
        if known && nature == Nature::Succeeds {
            prop_assert_eq!(life.gone, Some(Gone::Done));
        } else if let [(copy, _)] = &life.poison[..] {
            let same = Envelope::decode(copy).unwrap().args.get() == life.given.envelope.args.get();
            prop_assert!(*copy == message || same);
        } else {
            prop_assert!(false, "{} copies", life.poison.len());
        }
    }
}

#[test]
fn a_job_that_always_kills_its_worker_is_quarantined() {
    let starts = |given: Given, max_attempts| {
        let mut life = Life::new(given.max_attempts(max_attempts), Nature::KillsItsWorker, vec![]);
        life.live();
        assert_eq!(life.poison.len(), 1);
        assert_eq!(life.poison[0].1, PoisonReason::Crashed);
        life.tally.starts
    };
    // The first start is not marked.
    assert_eq!(starts(backend(true, true), 100), 4);
    assert_eq!(starts(backend(true, true), 1), 2);
    // Without counts every start is.
    assert_eq!(starts(backend(true, false), 100), 3);
    assert_eq!(starts(backend(false, true), 100), 15);
}

#[test]
fn without_counts_and_rewriting_nothing_bounds_crashes() {
    let mut life = Life::new(backend(false, false), Nature::KillsItsWorker, vec![]);
    for _ in 0..200 {
        life.deliver();
    }
    assert_eq!(life.tally.starts, 200, "if this is bounded now, let the properties cover it");
}

#[test]
fn a_job_that_nobody_knows_is_put_back_for_as_long_as_it_is_given_and_no_longer() {
    for (replace, counts) in [(true, true), (true, false), (false, true), (false, false)] {
        for full in [false, true] {
            let given = backend(replace, counts).unknown();
            let given = if full { given.full() } else { given };
            let mut life = Life::new(given, Nature::Succeeds, vec![]);
            life.live();
            let name = format!("{replace} {counts} {full}: {}", life.tally.log.join("\n"));
            assert_eq!(life.poison.len(), 1, "{name}");
            assert_eq!(life.poison[0].1, PoisonReason::UnknownJob, "{name}");
            let waited = life.now.duration_since(sent()).unwrap();
            assert!((HOUR..3 * HOUR).contains(&waited), "{waited:?}: {name}");
            assert!((8..30).contains(&life.tally.deliveries), "{name}");
        }
    }
}

#[test]
fn without_faults_a_job_takes_its_attempts_and_no_more() {
    for (replace, counts) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut life = Life::new(backend(replace, counts).max_attempts(7), Nature::Fails, vec![]);
        life.live();
        assert_eq!((life.tally.starts, life.tally.deliveries), (7, 7));
        assert_eq!(life.poison.len(), 1);
        assert_eq!(life.poison[0].1, PoisonReason::AttemptsExhausted);
    }
}

#[test]
fn deploys_cost_nothing() {
    // To every question: no, nothing goes wrong; and after every start it is given back.
    let chance = vec![7; 400];
    for (replace, counts) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut life = Life::new(backend(replace, counts), Nature::Succeeds, chance.clone());
        life.live();
        assert!(life.tally.give_backs >= 60, "{} {}", replace, life.tally.give_backs);
        assert_eq!(
            life.gone,
            Some(Gone::Done),
            "{replace} {counts}: {}",
            life.tally.log.join("\n")
        );
    }
}
