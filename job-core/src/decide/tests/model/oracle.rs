//! The real functions on real envelopes, as the model asks them.
//!
//! A state of the model holds only the name of a body, and every answer is kept: in millions of
//! states the same few thousand questions are asked.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::RwLock;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::*;
use super::mutants::Mutant;
use crate::backend::MessageId;
use crate::envelope::Mark;

/// A body, by the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Body(u32);

/// How a run ends, if it lives to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Done,
    Retry,
    Permanent,
    Discard,
    Snooze,
    GivenBack,
}

/// One delivery of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delivered {
    pub(super) message: u8,
    pub(super) count: u8,
    pub(super) body: Body,
}

/// What a worker asks about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// Is it to be run? By a worker that knows the job, or by one that does not.
    /// Once who may know was asked about the start that is marked in it, or not.
    Admit { known: bool, asked: bool },
    /// It was handed over: is it to be run, by the worker for suspects?
    AdmitApart { asked: bool },
    /// It was run.
    Decide(End),
    /// The worker is asked to stop before it looked at it.
    GiveBack,
    /// Its body, but for the mark of the last start, which was survived.
    Unmark,
    /// Its body, as a replay sends it.
    Revive,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Run {
        mark: Option<Body>,
    },
    Delete,
    Rewrite(Body),
    Release,
    Poison {
        fence: Option<Body>,
        copy: Body,
    },
    /// To the worker for suspects; while that is busy it is given back, with that body or its own.
    HandOver(Option<Body>),
    /// Who may know, about the marked start; if that is not over yet it is given back.
    Ask,
    Read(Body),
}

/// What a body says of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Which of the jobs that were enqueued it is, with its id and its args.
    pub(super) job: Option<u8>,
    pub(super) poison: Option<(PoisonState, PoisonReason)>,
    pub(super) failed: u32,
    pub(super) crashed: u32,
}

pub(super) struct Oracle {
    given: Given,
    mutant: Option<Mutant>,
    bodies: RwLock<HashMap<Body, (Bytes, Facts)>>,
    answers: RwLock<Answers>,
}

type Answers = HashMap<(Delivered, Question), Plan, BuildHasherDefault<Fnv>>;

impl Body {
    pub(super) const NONE: Self = Self(0);
}

impl Oracle {
    pub(super) fn new(given: Given, mutant: Option<Mutant>) -> Self {
        Self { given, mutant, bodies: RwLock::default(), answers: RwLock::default() }
    }

    /// A job as it is enqueued.
    pub(super) fn enqueued(&self, job: u8) -> Body {
        self.name(new_job(job).encode().unwrap())
    }

    pub(super) fn facts(&self, body: Body) -> Facts {
        self.bodies.read().unwrap()[&body].1
    }

    pub(super) fn ask(&self, delivered: Delivered, question: Question) -> Plan {
        let known = self.answers.read().unwrap().get(&(delivered, question)).copied();
        known.unwrap_or_else(|| {
            let plan = self.answer(delivered, question);
            self.answers.write().unwrap().insert((delivered, question), plan);
            plan
        })
    }

    /// How many questions were asked, about how many bodies.
    pub(super) fn asked(&self) -> (usize, usize) {
        (self.answers.read().unwrap().len(), self.bodies.read().unwrap().len())
    }

    fn name(&self, bytes: Bytes) -> Body {
        let mut hasher = Fnv::default();
        hasher.write(&bytes);
        let hash = hasher.finish();
        #[expect(clippy::cast_possible_truncation, reason = "folded, and collisions are noticed")]
        let body = Body((hash ^ (hash >> 32)) as u32);
        let mut bodies = self.bodies.write().unwrap();
        let (named, _) = bodies.entry(body).or_insert_with(|| {
            let facts = Facts::of(&bytes);
            (bytes.clone(), facts)
        });
        assert_eq!(*named, bytes, "two bodies have one hash: take a wider one");
        body
    }

    fn answer(&self, delivered: Delivered, question: Question) -> Plan {
        let message_id = MessageId::from(u64::from(delivered.message) + 1);
        let count = Some(u32::from(delivered.count)).filter(|_| self.given.capabilities.counts);
        let mut body = self.bodies.read().unwrap()[&delivered.body].0.clone();
        if let Some(mutant) = self.mutant {
            body = mutant.reads(body, &message_id, count);
        }
        let (inserted_at, queue) = (self.given.inserted_at, queue());
        let message = Message { message_id: message_id.clone(), count, inserted_at, body };
        let now = self.given.now;
        let seen = Seen { queue: &queue, message_id: &message_id, count, inserted_at, now };
        let (rules, capabilities) = (self.given.rules, &self.given.capabilities);
        // Where it runs, it runs.
        let here = Rules { suspects: Suspects::Here, asked: true, ..rules };
        let rng = &mut fastrand::Rng::with_seed(7);
        let kind = self.given.kind;
        match question {
            Question::Admit { asked, .. } | Question::AdmitApart { asked } => {
                let (known, rules) = match question {
                    Question::Admit { known, .. } => (known, rules),
                    _ => (true, here),
                };
                let rules = Rules { asked, ..rules };
                let find = |name: &str| kind.filter(|_| known && name == "job");
                match admit(&message, seen, find, rules, capabilities, rng) {
                    Admission::Run { mark, .. } => Plan::Run { mark: mark.map(|m| self.name(m)) },
                    Admission::Settle(settlement, _) => self.plan(settlement),
                    Admission::HandOver(settlement, _) => match self.plan(settlement) {
                        Plan::Rewrite(body) => Plan::HandOver(Some(body)),
                        Plan::Release => Plan::HandOver(None),
                        plan => panic!("{plan:?}"),
                    },
                    Admission::Ask(_, settlement, _) => match self.plan(settlement) {
                        Plan::Release => Plan::Ask,
                        plan => panic!("{plan:?}"),
                    },
                }
            }
            Question::Decide(end) => {
                let admission = admit(&message, seen, |_| kind, here, capabilities, rng);
                let Admission::Run { envelope, job, .. } = admission else {
                    panic!("it was run all the same");
                };
                let outcome = match self.mutant {
                    Some(mutant) => mutant.reports(end),
                    None => end,
                };
                let (body, outcome) = (&message.body, outcome.outcome());
                let policy = job.policy();
                self.plan(decide(envelope, body, seen, &outcome, policy, capabilities, rng))
            }
            // As the slot does it.
            Question::GiveBack => match Envelope::decode(&message.body) {
                Ok(envelope) if envelope.poison.is_none() => {
                    self.plan(give_back_unstarted(envelope, seen, capabilities))
                }
                _ => Plan::Release,
            },
            Question::Unmark => {
                let mut envelope = Envelope::decode(&message.body).unwrap();
                envelope.history.started = None;
                Plan::Read(self.name(envelope.encode().unwrap()))
            }
            Question::Revive => {
                let mut envelope = Envelope::decode(&message.body).unwrap();
                envelope.start_afresh();
                let body = envelope.encode_within(capabilities.max_body);
                Plan::Read(self.name(body.unwrap()))
            }
        }
    }

    fn plan(&self, settlement: Settlement) -> Plan {
        match settlement {
            Settlement::Delete(_) => Plan::Delete,
            Settlement::Rewrite { body, .. } => Plan::Rewrite(self.name(body)),
            Settlement::Release { .. } => Plan::Release,
            Settlement::Poison { fence, copy, .. } => {
                Plan::Poison { fence: fence.map(|fence| self.name(fence)), copy: self.name(copy) }
            }
        }
    }
}

impl Facts {
    fn of(bytes: &Bytes) -> Self {
        let Ok(envelope) = Envelope::decode(bytes) else {
            return Self { job: None, poison: None, failed: 0, crashed: 0 };
        };
        let same = |job: &u8| {
            let new = new_job(*job);
            let one = (new.id, &new.name, new.args.get(), new.args_version, new.enqueued_at);
            let other = (
                envelope.id,
                &envelope.name,
                envelope.args.get(),
                envelope.args_version,
                envelope.enqueued_at,
            );
            one == other && new.options == envelope.options
        };
        Self {
            job: (0..2).find(same),
            poison: envelope.poison.as_ref().map(|poison| (poison.state, poison.reason)),
            failed: envelope.history.failed,
            crashed: envelope.history.crashed,
        }
    }
}

fn new_job(job: u8) -> Envelope<'static> {
    let args = RawValue::from_string(format!(r#"{{ "n":{job} }}"#)).unwrap();
    let id = format!("0199c2a4-7b1e-7c3a-9d2b-5e6f7a8b9c0{job}").parse().unwrap();
    Envelope::new(id, "job", args, sent() - S)
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            Self::Done => Outcome::Done,
            Self::Retry => Outcome::Retry { error: "no luck".into(), after: None },
            Self::Permanent => Outcome::Permanent { error: "never".into() },
            Self::Discard => Outcome::Discard { reason: "no need".into() },
            Self::Snooze => Outcome::Snooze { delay: S },
            Self::GivenBack => Outcome::GivenBack,
        }
    }
}

impl Mutant {
    /// What is read in place of a body.
    fn reads(self, body: Bytes, message: &MessageId, count: Option<u32>) -> Bytes {
        let Ok(mut envelope) = Envelope::decode(&body) else { return body };
        let history = &mut envelope.history;
        let before = count.unwrap_or(1).saturating_sub(1);
        match self {
            Self::PoisonMarkIgnored => envelope.poison = None,
            Self::NoCrashCheck => history.settle(message, Some(before)),
            Self::SettledNotTiedToMessage => {
                if let Some(settled) = &mut history.settled {
                    settled.message_id = message.to_string();
                }
            }
            Self::UnreportedIsCrashed if history.unreported(message, count) > Some(0) => {
                history.started = Some(Mark { message_id: message.to_string(), count: before });
            }
            _ => return body,
        }
        envelope.encode().unwrap()
    }

    /// How the end of a run is reported.
    fn reports(self, end: End) -> End {
        match (self, end) {
            (Self::GiveBacksAreAttempts, End::GivenBack) => End::Retry,
            _ => end,
        }
    }
}

/// FNV-1a: short keys, and the same in every run.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}
