//! What a failed assertion says: what was there instead, the nearest first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use job_core::Job;
use job_core::duration::to_text;

use super::TestJobs;
use super::book::Entry;
use super::expect::Candidate;

/// More than this is only counted.
const SHOWN: usize = 5;

/// Where a job is, and when it runs.
pub(super) fn place(entry: &Entry, now: SystemTime) -> String {
    let queue = &entry.queue;
    if let Some(poison) = &entry.wire.poison {
        return format!("in `{queue}`: {}", poison.reason);
    }
    let wait = entry.due.duration_since(now).unwrap_or_default();
    let attempt = match entry.wire.attempt() {
        1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    match (wait.is_zero(), entry.held) {
        (true, _) => format!("on `{queue}`, due now{attempt}"),
        (false, false) => format!("on `{queue}`, due in {}{attempt}", to_text(wait)),
        (false, true) => {
            format!("on `{queue}`, with a worker whose lease ends in {}{attempt}", to_text(wait))
        }
    }
}

/// That something is not there.
pub(super) fn missing<J: Job>(
    jobs: &TestJobs,
    headline: String,
    candidates: &[Candidate],
    poison: bool,
) -> String {
    let mut text = headline;
    list_candidates(&mut text, candidates, J::NAME);
    let book = jobs.stage().book();

    let mut gone = Vec::new();
    for past in book.past().filter(|past| past.wire.is::<J>()) {
        gone.push(format!("{} (from `{}`): {}", past.how, past.queue, past.wire.shown_args()));
    }
    for entry in book.entries().filter(|it| it.wire.is::<J>() && it.queue.is_poison() != poison) {
        let error = entry.wire.last_error.as_deref().map(|error| format!(", {error}"));
        let place = place(entry, jobs.now());
        gone.push(format!("{place}{}: {}", error.unwrap_or_default(), entry.wire.shown_args()));
    }
    if !gone.is_empty() {
        let _ = write!(text, "\nelsewhere:");
        list(&mut text, &gone);
    }

    let mut others = BTreeMap::<_, usize>::new();
    let there = book.entries().filter(|it| it.queue.is_poison() == poison && !it.wire.is::<J>());
    for entry in there {
        *others.entry(format!("`{}` on `{}`", entry.wire.name(), entry.queue)).or_default() += 1;
    }
    if !others.is_empty() {
        let others: Vec<_> = others.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let _ = write!(text, "\nother jobs there: {}", others.join(", "));
    }

    if book.count() == 0 && book.past().next().is_none() {
        let _ = write!(
            text,
            "\nnothing was ever enqueued: does the code under test use the client of this \
             `TestJobs`, and await its enqueues?"
        );
    } else if poison && candidates.is_empty() {
        let _ = write!(
            text,
            "\na job comes there when it has used up its attempts or fails for good: has `drain` \
             or `drain_all` run it?"
        );
    }
    text
}

/// That something is there.
pub(super) fn unwanted(wanted: &str, found: &[Candidate]) -> String {
    let mut text = match found.len() {
        1 => format!("a {wanted} is enqueued, and should not be:"),
        count => format!("{count} of {wanted} are enqueued, and should not be:"),
    };
    let lines: Vec<_> = found.iter().map(|it| format!("{}: {}", it.place, it.args)).collect();
    list(&mut text, &lines);
    text
}

fn list_candidates(text: &mut String, candidates: &[Candidate], job: &str) {
    match candidates.len() {
        0 => {
            let _ = write!(text, "\nthere is no `{job}` at all");
        }
        1 => text.push_str("\nthere is one:"),
        count => {
            let _ = write!(text, "\nthere are {count}, the nearest first:");
        }
    }
    let mut lines = Vec::new();
    for Candidate { place, args, differences, .. } in candidates {
        let mut line = format!("{place}: {args}");
        for difference in differences {
            let _ = write!(line, "\n      {difference}");
        }
        lines.push(line);
    }
    list(text, &lines);
}

fn list(text: &mut String, lines: &[String]) {
    for line in lines.iter().take(SHOWN) {
        let _ = write!(text, "\n  - {line}");
    }
    if lines.len() > SHOWN {
        let _ = write!(text, "\n  - and {} more", lines.len() - SHOWN);
    }
}
