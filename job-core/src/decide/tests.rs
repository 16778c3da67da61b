//! What is decided about every kind of delivery: as tables, as properties, and over whole lives.

mod after;
mod before;
mod events;
mod life;
mod model;
mod properties;
mod raw;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::*;
use crate::envelope::Mark;
use crate::{JobId, Outcome};

const S: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ID: &str = "0199c2a4-7b1e-7c3a-9d2b-5e6f7a8b9c0d";
const MESSAGE: &str = "m-1";

/// When the messages of the tables were sent. They are received a minute later.
fn sent() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn queue() -> QueueName {
    QueueName::new("mail").unwrap()
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    policy: Policy,
    version: u32,
}

impl Known for Kind {
    fn policy(&self) -> Policy {
        self.policy
    }
    fn version(&self) -> u32 {
        self.version
    }
}

/// One row of a table: a message, its delivery, and the worker that gets it.
#[derive(Clone, Debug)]
struct Given {
    envelope: Envelope<'static>,
    body: Option<Bytes>,
    count: Option<u32>,
    inserted_at: SystemTime,
    now: SystemTime,
    kind: Option<Kind>,
    rules: Rules,
    capabilities: Capabilities,
}

/// A job on its first delivery, at a worker that knows it: 3 attempts 10 s apart, 3 crashes, put
/// back for an hour. The backend can do all; its longest delay is 7 days.
fn job() -> Given {
    let args = RawValue::from_string(r#"{"n": 1}"#.into()).unwrap();
    let mut capabilities = Capabilities::minimal();
    capabilities.replace = true;
    capabilities.counts = true;
    capabilities.max_delay = 7 * DAY;
    let policy = Policy { max_attempts: 3, backoff: Backoff::fixed(10 * S), expires_in: None };
    Given {
        envelope: Envelope::new(ID.parse().unwrap(), "job", args, sent() - S),
        body: None,
        count: Some(1),
        inserted_at: sent(),
        now: sent() + 60 * S,
        kind: Some(Kind { policy, version: 1 }),
        rules: Rules {
            crash_limit: 3,
            put_back_limit: HOUR,
            suspects: Suspects::Here,
            asked: true,
        },
        capabilities,
    }
}

/// The job that the messages of a raw queue are.
fn raw_job() -> super::raw::RawJob {
    super::raw::RawJob { id: JobId::for_message(&queue(), MESSAGE), name: "job" }
}

fn mark(message_id: &str, count: u32) -> Option<Mark> {
    Some(Mark { message_id: message_id.into(), count })
}

impl Given {
    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
    fn count(self, count: u32) -> Self {
        self.but(|g| g.count = Some(count))
    }
    /// The body is this, whatever the envelope says.
    fn body(self, body: impl Into<Bytes>) -> Self {
        self.but(|g| g.body = Some(body.into()))
    }
    fn failed(self, n: u32) -> Self {
        self.but(|g| g.envelope.history.failed = n)
    }
    fn crashed(self, n: u32) -> Self {
        self.but(|g| g.envelope.history.crashed = n)
    }
    fn started(self, count: u32) -> Self {
        self.but(|g| g.envelope.history.started = mark(MESSAGE, count))
    }
    fn settled(self, count: u32) -> Self {
        self.but(|g| g.envelope.history.settled = mark(MESSAGE, count))
    }
    fn left(self, left: Duration) -> Self {
        self.but(|g| g.envelope.delay_left = left)
    }
    fn put_back(self, times: u32, sum: Duration) -> Self {
        self.but(|g| {
            g.envelope.history.put_back = times;
            g.envelope.history.put_back_millis = sum.as_millis() as u64;
        })
    }
    fn poison(self, state: PoisonState, reason: PoisonReason) -> Self {
        self.but(|g| {
            let poison = Poison::new(reason, g.now - S, &queue(), Some("why".into()));
            g.envelope.poison = Some(Poison { state, ..poison });
        })
    }
    fn max_attempts(self, n: u32) -> Self {
        self.but(|g| g.kind.as_mut().unwrap().policy.max_attempts = n)
    }
    fn call_max_attempts(self, n: u32) -> Self {
        self.but(|g| g.envelope.options.max_attempts = Some(n))
    }
    fn expires_in(self, after: Duration) -> Self {
        self.but(|g| g.kind.as_mut().unwrap().policy.expires_in = Some(after))
    }
    fn call_expires_in(self, after: Duration) -> Self {
        self.but(|g| g.envelope.options.expires_in = Some(after))
    }
    /// Suspects run in a process of their own, and this is another.
    fn suspects_elsewhere(self) -> Self {
        self.but(|g| g.rules.suspects = Suspects::Elsewhere { longest_wait: 60 * S })
    }
    /// Nobody was asked about the start that is marked in it.
    fn unasked(self) -> Self {
        self.but(|g| g.rules.asked = false)
    }
    /// The worker has no handler of that name.
    fn unknown(self) -> Self {
        self.but(|g| g.kind = None)
    }
    fn args_version(self, version: u32) -> Self {
        self.but(|g| g.envelope.args_version = version)
    }
    fn without_replace(self) -> Self {
        self.but(|g| g.capabilities.replace = false)
    }
    fn without_counts(self) -> Self {
        self.but(|g| {
            g.capabilities.counts = false;
            g.count = None;
        })
    }
    /// The message is as large as the backend takes: nothing can be added to it.
    fn full(self) -> Self {
        self.but(|g| g.capabilities.max_body = g.message().len())
    }

    fn message(&self) -> Bytes {
        self.body.clone().unwrap_or_else(|| self.envelope.encode().unwrap())
    }

    fn delivery(&self) -> Message {
        Message {
            message_id: MESSAGE.into(),
            count: self.count,
            inserted_at: self.inserted_at,
            body: self.message(),
        }
    }

    fn with_seen<T>(&self, run: impl FnOnce(&Message, Seen<'_>) -> T) -> T {
        let (delivery, queue) = (self.delivery(), queue());
        let seen = Seen {
            queue: &queue,
            message_id: &delivery.message_id,
            count: self.count,
            inserted_at: self.inserted_at,
            now: self.now,
        };
        run(&delivery, seen)
    }

    /// What is decided before a run, and about whom.
    fn admitted(&self) -> (String, Option<Refusal>) {
        let rng = &mut fastrand::Rng::with_seed(7);
        self.with_seen(|delivery, seen| {
            let find = |name: &str| self.kind.filter(|_| name == "job");
            match admit(delivery, seen, find, self.rules, &self.capabilities, rng) {
                Admission::Run { envelope, mark, .. } => {
                    let mark = mark.map_or(String::new(), |m| format!(", mark:{}", self.past(&m)));
                    (format!("run attempt {}{mark}", envelope.history.attempt()), None)
                }
                Admission::Settle(settlement, refusal) => (self.show(&settlement), Some(refusal)),
                Admission::HandOver(settlement, refusal) => {
                    (format!("hand over, or {}", self.show(&settlement)), Some(refusal))
                }
                Admission::Ask(mark, settlement, refusal) => {
                    (format!("ask of @{mark}, or {}", self.show(&settlement)), Some(refusal))
                }
            }
        })
    }

    /// What is decided after a run with that outcome.
    fn ran(&self, outcome: Outcome) -> String {
        let rng = &mut fastrand::Rng::with_seed(7);
        self.with_seen(|delivery, seen| {
            let find = |_: &str| self.kind;
            let Admission::Run { envelope, job, .. } =
                admit(delivery, seen, find, self.rules, &self.capabilities, rng)
            else {
                panic!("it is not run at all");
            };
            let caps = &self.capabilities;
            let body = &delivery.body;
            self.show(&decide(envelope, body, seen, &outcome, job.policy(), caps, rng))
        })
    }

    fn show(&self, settlement: &Settlement) -> String {
        match settlement {
            Settlement::Delete(gone) => format!("delete, {gone:?}").to_lowercase(),
            Settlement::Rewrite { body, delay, why } => {
                assert!(body.len() <= self.capabilities.max_body);
                format!("rewrite, {}:{}", later(*why, *delay), self.past(body))
            }
            Settlement::Release { delay, why } => format!("release, {}", later(*why, *delay)),
            Settlement::Poison { fence, copy, reason } => {
                let fenced = if fence.is_some() { "fenced" } else { "no fence" };
                if let Some(fence) = fence {
                    // The fence says the same, but that the move is still to come.
                    let (fence, copy) = (self.past(fence), self.past(copy));
                    assert_eq!(fence.replacen("pending", "final", 1), copy);
                }
                format!("poison {reason:?}, {fenced}:{}", self.past(copy))
            }
        }
    }

    /// What a body says about the past of the job; all else in it must be as it was.
    fn past(&self, body: &Bytes) -> String {
        if *body == self.message() {
            return " as it came".to_owned();
        }
        let Ok(e) = Envelope::decode(body) else {
            return format!(" {:?}", String::from_utf8_lossy(body));
        };
        let mut past = String::new();
        let mut say = |there: bool, text: String| {
            if there {
                past.push(' ');
                past.push_str(&text);
            }
        };
        match &e.original {
            None => {
                assert_eq!((e.id, &e.name), (self.envelope.id, &self.envelope.name));
                assert_eq!(e.args.get(), self.envelope.args.get());
            }
            Some(original) => {
                assert_eq!(original.bytes(), Some(self.message()));
                assert_eq!(e.id, JobId::for_message(&queue(), MESSAGE));
                say(true, "original".to_owned());
            }
        }
        let h = &e.history;
        let count = |mark: &Mark| match mark.message_id.as_str() {
            // Where nobody counts, any number will do.
            MESSAGE if (1 << 16..u32::MAX).contains(&mark.count) => "@any".to_owned(),
            MESSAGE => format!("@{}", mark.count),
            other => format!("@{other}/{}", mark.count),
        };
        say(h.failed > 0, format!("failed={}", h.failed));
        say(h.crashed > 0, format!("crashed={}", h.crashed));
        say(h.snoozed > 0, format!("snoozed={}", h.snoozed));
        say(h.given_back > 0, format!("given_back={}", h.given_back));
        say(h.put_back > 0, format!("put_back={}", h.put_back));
        if let Some(at) = h.expires_at {
            say(true, format!("expires={:?}", at.duration_since(sent()).unwrap()));
        }
        say(h.started.is_some(), format!("started{}", h.started.as_ref().map_or("".into(), count)));
        say(h.settled.is_some(), format!("settled{}", h.settled.as_ref().map_or("".into(), count)));
        say(!e.delay_left.is_zero(), format!("left={:?}", e.delay_left));
        let errors: Vec<_> =
            e.errors.iter().map(|x| format!("{}:{}", x.attempt, x.error)).collect();
        say(!errors.is_empty(), errors.join(" "));
        if let Some(poison) = &e.poison {
            assert_eq!(poison.queue, "mail");
            let state = if poison.state == PoisonState::Final { "final" } else { "pending" };
            say(true, format!("({state}: {})", poison.error.as_deref().unwrap_or("-")));
        }
        past
    }
}

/// Put-backs are spread by chance between half and all of a ceiling.
fn later(why: Later, delay: Duration) -> String {
    let why = match why {
        Later::Retry => "retry",
        Later::Snooze => "snooze",
        // So are the waits of suspects.
        Later::GiveBack if !delay.is_zero() => {
            let ceiling = (1..7).map(|n| Duration::from_secs(1 << n).min(60 * S));
            let ceiling = ceiling.into_iter().find(|most| delay <= *most).unwrap();
            assert!(delay >= ceiling / 2);
            return format!("give back in up to {ceiling:?}");
        }
        Later::GiveBack => "give back",
        Later::PutBack if !delay.is_zero() => {
            let ceiling = (1..20).map(|n| PUT_BACK.ceiling(n)).find(|most| delay <= *most).unwrap();
            assert!(delay >= ceiling / 2);
            return format!("put back in up to {ceiling:?}");
        }
        Later::PutBack => "put back",
        Later::Hop => "hop",
    };
    format!("{why} in {delay:?}")
}

fn check(table: impl IntoIterator<Item = (&'static str, Given, &'static str)>) {
    let wrong: Vec<_> = table
        .into_iter()
        .filter_map(|(name, given, expected)| {
            let got = given.admitted().0;
            (got != expected).then(|| format!("{name}:\n  expected {expected}\n       got {got}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn original(bytes: &[u8]) -> Envelope<'static> {
    let given = job().body(bytes.to_vec());
    Envelope::around(&given.delivery(), &queue())
}
