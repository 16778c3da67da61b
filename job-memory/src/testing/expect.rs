//! What an assertion asks for, and how what is there differs from it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive};
use std::time::{Duration, SystemTime};

use job_core::duration::to_text;
use job_core::{Job, PoisonReason};
use serde::Serialize;
use serde_json::Value;

use super::TestJobs;
use super::book::Entry;
use super::explain;
use super::text::{json, same};

const ZERO: Duration = Duration::ZERO;

/// On a queue: [`assert_enqueued!`](crate::assert_enqueued).
#[derive(Clone, Copy, Debug)]
pub struct OnQueue;

/// In a poison queue: [`assert_poisoned!`](crate::assert_poisoned).
#[derive(Clone, Copy, Debug)]
pub struct InPoison;

/// What an assertion asks for. The macros make it.
#[must_use]
pub struct Expect<J, P> {
    fields: Vec<Field<J>>,
    queue: Option<String>,
    delay: Option<Span>,
    count: Option<usize>,
    reason: Option<PoisonReason>,
    error: Option<String>,
    attempts: Option<u32>,
    place: PhantomData<P>,
}

struct Field<J> {
    name: &'static str,
    of: Get<J>,
    expected: Value,
    /// The type of what is expected.
    type_name: &'static str,
}

/// Gives the value of a field, and the name of its type.
type Get<J> = fn(&J) -> (Value, &'static str);

/// A job that is there, by how it differs from what is asked for.
pub(super) struct Candidate {
    pub(super) place: String,
    pub(super) args: String,
    pub(super) differences: Vec<String>,
    /// Why that it differs tells nothing, if so.
    doubt: Option<String>,
}

impl<J: Job, P> Expect<J, P> {
    /// Any job of that kind.
    #[allow(clippy::new_without_default, reason = "only the macros make one")]
    pub fn new() -> Self {
        Self {
            fields: Vec::new(),
            queue: None,
            delay: None,
            count: None,
            reason: None,
            error: None,
            attempts: None,
            place: PhantomData,
        }
    }

    /// One with that value in that field.
    pub fn field<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        of: Get<J>,
        expected: &T,
    ) -> Self {
        let type_name = std::any::type_name::<T>();
        self.fields.push(Field { name, of, expected: json(expected), type_name });
        self
    }

    /// One on that queue; of a poisoned job, the queue that it came from.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Exactly that many of them, instead of at least one.
    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    /// How it differs from what is asked for.
    fn compare(&self, entry: &Entry, now: SystemTime) -> Candidate {
        let mut differences = Vec::new();
        let mut differs = |what: &str, is: String, expected: String| {
            differences.push(format!("{what} is {is}, not {expected}"));
        };
        let queue = healthy(entry.queue.as_str());
        if let Some(expected) = self.queue.as_deref().filter(|expected| *expected != queue) {
            differs("queue", format!("{queue:?}"), format!("{expected:?}"));
        }
        if let Some(expected) = self.delay.filter(|expected| !expected.holds(entry.delay)) {
            let (is, span) = (to_text(entry.delay), expected.to_string());
            // What is below a millisecond may be all that differs.
            let whole = |delay: Duration| delay.subsec_nanos().is_multiple_of(1_000_000);
            if whole(entry.delay) && whole(expected.least) {
                differs("delay", is, span);
            } else {
                differs("delay", format!("{:?}", entry.delay), expected.exactly());
            }
        }
        let poison = entry.wire.poison.as_ref();
        if let Some(expected) = self.reason {
            let reason = poison.map_or(PoisonReason::Other, |poison| poison.reason);
            if reason != expected {
                differs("reason", format!("{reason:?}"), format!("{expected:?}"));
            }
        }
        if let Some(expected) = &self.error {
            let error = poison.and_then(|poison| poison.error.as_ref());
            let error = error.or(entry.wire.last_error.as_ref()).map_or("", String::as_str);
            if !error.contains(&**expected) {
                differs("error", format!("{error:?}"), format!("one with {expected:?} in it"));
            }
        }
        let attempts = entry.wire.attempt() - 1;
        if let Some(expected) = self.attempts.filter(|expected| *expected != attempts) {
            differs("attempts", attempts.to_string(), expected.to_string());
        }
        let mut doubt = None;
        if !self.fields.is_empty() {
            match entry.wire.job::<J>() {
                Ok(job) => {
                    for Field { name, of, expected, type_name } in &self.fields {
                        let (is, own_type) = of(&job);
                        if own_type != *type_name && never_same(&is, expected) {
                            doubt = Some(format!(
                                "{name} is {is}, {}, and is compared with {expected}, {}, which it \
                                 never is",
                                kind(&is),
                                kind(expected)
                            ));
                        }
                        if !same(&is, expected) {
                            differs(name, is.to_string(), expected.to_string());
                        }
                    }
                }
                Err(error) => {
                    if differences.is_empty() {
                        let args = entry.wire.shown_args();
                        doubt = Some(format!("one on `{queue}` cannot be read: {error}: {args}"));
                    }
                    differences.push(error.to_string());
                }
            }
        }
        let (place, args) = (explain::place(entry, now), entry.wire.shown_args());
        Candidate { place, args, differences, doubt }
    }

    /// Every job of that kind there, those that fit the best first; `poison` says where.
    fn candidates(&self, jobs: &TestJobs, poison: bool) -> Vec<Candidate> {
        let (now, book) = (jobs.now(), jobs.stage().book());
        let there = book.entries().filter(|entry| entry.queue.is_poison() == poison);
        let of_kind = there.filter(|entry| entry.wire.is::<J>() || self.takes_for_it(entry));
        let mut candidates: Vec<_> = of_kind.map(|entry| self.compare(entry, now)).collect();
        candidates.sort_by_key(|candidate| candidate.differences.len());
        candidates
    }

    /// Plain JSON says nowhere which job it is: it is what is asked for on the queue that is named.
    fn takes_for_it(&self, entry: &Entry) -> bool {
        entry.wire.name.is_none() && self.queue.as_deref() == Some(entry.queue.as_str())
    }

    /// What is asked for, in words.
    pub(super) fn describe(&self) -> String {
        let mut parts: Vec<_> = self
            .fields
            .iter()
            .map(|Field { name, expected, .. }| format!("{name}: {expected}"))
            .collect();
        parts.extend(self.queue.as_ref().map(|queue| format!("queue = {queue:?}")));
        parts.extend(self.delay.map(|delay| format!("delay = {delay}")));
        parts.extend(self.reason.map(|reason| format!("reason = {reason:?}")));
        parts.extend(self.error.as_ref().map(|error| format!("error = {error:?}")));
        parts.extend(self.attempts.map(|attempts| format!("attempts = {attempts}")));
        let with = if parts.is_empty() { "" } else { " with " };
        format!("`{}`{with}{}", J::NAME, parts.join(", "))
    }

    #[track_caller]
    fn assert(&self, jobs: &TestJobs, poison: bool, where_to: &'static str) {
        let candidates = self.candidates(jobs, poison);
        let found = candidates.iter().filter(|it| it.differences.is_empty()).count();
        let enough = self.count.map_or(found > 0, |count| found == count);
        if !enough {
            let headline = match self.count {
                None => format!("no {} is {where_to}", self.describe()),
                Some(count) => {
                    format!("{found} instead of {count} of {} are {where_to}", self.describe())
                }
            };
            panic!("{}", explain::missing::<J>(jobs, headline, &candidates, poison));
        }
    }
}

impl<J: Job> Expect<J, OnQueue> {
    /// One that was put off by that much, when it was enqueued or tried again: a `Duration` or a
    /// range of them.
    pub fn delay(mut self, delay: impl Into<Span>) -> Self {
        self.delay = Some(delay.into());
        self
    }

    /// Fails if there is none.
    #[track_caller]
    pub fn assert_enqueued(&self, jobs: &TestJobs) {
        self.assert(jobs, false, "enqueued");
    }

    /// Fails if there is one, or if that cannot be told.
    #[track_caller]
    pub fn refute_enqueued(&self, jobs: &TestJobs) {
        let mut found = self.candidates(jobs, false);
        if let Some(doubt) = found.iter().find_map(|candidate| candidate.doubt.as_ref()) {
            panic!("whether a {} is enqueued cannot be told: {doubt}", self.describe());
        }
        found.retain(|candidate| candidate.differences.is_empty());
        assert!(found.is_empty(), "{}", explain::unwanted(&self.describe(), &found));
    }
}

impl<J: Job> Expect<J, InPoison> {
    /// One that is there for that reason.
    pub fn reason(mut self, reason: PoisonReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// One whose error has that in it.
    pub fn error(mut self, part: impl Into<String>) -> Self {
        self.error = Some(part.into());
        self
    }

    /// One that was tried so often.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Fails if there is none.
    #[track_caller]
    pub fn assert_poisoned(&self, jobs: &TestJobs) {
        self.assert(jobs, true, "in a poison queue");
    }
}

impl<J, P> fmt::Debug for Expect<J, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expect").finish_non_exhaustive()
    }
}

/// Whether one can never be the other, whatever the values. An enum may be both a text and an
/// object.
fn never_same(a: &Value, b: &Value) -> bool {
    let either = |value: &Value| value.is_string() || value.is_object();
    let may_be = a.is_null() || b.is_null() || (either(a) && either(b));
    !may_be && kind(a) != kind(b)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A queue's name, of its poison queue too.
fn healthy(name: &str) -> &str {
    name.strip_suffix("-poison").unwrap_or(name)
}

/// Durations from the first to the last, both included; or one, give or take a twentieth of it and
/// at most a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    least: Duration,
    most: Duration,
}

impl Span {
    fn holds(self, delay: Duration) -> bool {
        let Self { least, most } = self;
        // Between two looks at a clock it goes on.
        let about = if least == most { (least / 20).min(Duration::from_secs(1)) } else { ZERO };
        least.saturating_sub(about) <= delay && delay <= most.saturating_add(about)
    }

    /// To the last digit.
    fn exactly(self) -> String {
        let Self { least, most } = self;
        match most {
            _ if least == most => format!("{least:?}"),
            Duration::MAX => format!("{least:?} or more"),
            _ => format!("{least:?} to {most:?}"),
        }
    }
}

impl From<Duration> for Span {
    fn from(exactly: Duration) -> Self {
        Self { least: exactly, most: exactly }
    }
}

impl From<RangeInclusive<Duration>> for Span {
    fn from(range: RangeInclusive<Duration>) -> Self {
        Self { least: *range.start(), most: *range.end() }
    }
}

impl From<Range<Duration>> for Span {
    fn from(range: Range<Duration>) -> Self {
        (range.start..=range.end.saturating_sub(Duration::from_nanos(1))).into()
    }
}

impl From<RangeFrom<Duration>> for Span {
    fn from(range: RangeFrom<Duration>) -> Self {
        (range.start..=Duration::MAX).into()
    }
}

impl From<RangeTo<Duration>> for Span {
    fn from(range: RangeTo<Duration>) -> Self {
        (Duration::ZERO..range.end).into()
    }
}

impl From<RangeToInclusive<Duration>> for Span {
    fn from(range: RangeToInclusive<Duration>) -> Self {
        (Duration::ZERO..=range.end).into()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most } = *self;
        match most {
            _ if least == most => f.write_str(&to_text(least)),
            Duration::MAX => write!(f, "{} or more", to_text(least)),
            _ => write!(f, "{} to {}", to_text(least), to_text(most)),
        }
    }
}
