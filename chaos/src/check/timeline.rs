//! What happened to one job, line by line.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::history::{Entry, Event, Micros, Op, SECOND, Wire};

/// Everything about a job, and what happened to the processes that had it.
pub(super) fn of(entries: &[Entry], job: &str) -> String {
    let mut messages = BTreeSet::new();
    for entry in entries {
        if let Event::Wire(wire) = &entry.event {
            for seen in &wire.messages {
                if seen.body.as_ref().is_some_and(|body| body.job == job) {
                    messages.extend(seen.id.clone());
                }
            }
        }
    }
    let own = |entry: &&Entry| is_about(&entry.event, job, &messages);
    let mut workers = BTreeSet::new();
    let (mut from, mut to) = (Micros::MAX, 0);
    for entry in entries.iter().filter(own) {
        // What is found at the end is not part of its life.
        if !matches!(entry.event, Event::Poisoned { .. } | Event::Remains { .. }) {
            (from, to) = (from.min(entry.at), to.max(entry.at + 6 * SECOND));
        }
        match &entry.event {
            Event::Wire(wire) => workers.insert(wire.worker),
            _ => workers.insert(entry.pid),
        };
    }
    let mut text = format!("job {job}\n");
    for entry in entries {
        let of_worker = match &entry.event {
            Event::Signal { worker, .. } | Event::Exited { worker, .. } => {
                workers.contains(worker) && (from..=to).contains(&entry.at)
            }
            _ => false,
        };
        if of_worker || own(&entry) {
            let at = (entry.at as f64 - from as f64) / SECOND as f64;
            let _ = writeln!(text, "  {at:>8.3} s  {}", line(entry, &messages));
        }
    }
    text
}

fn is_about(event: &Event, job: &str, messages: &BTreeSet<String>) -> bool {
    match event {
        Event::Invoke { job: own, .. }
        | Event::Enqueued { job: own }
        | Event::Rejected { job: own }
        | Event::Unknown { job: own }
        | Event::Entered { job: own, .. }
        | Event::Left { job: own, .. }
        | Event::Start { job: own, .. }
        | Event::Finish { job: own, .. }
        | Event::Cancelled { job: own, .. }
        | Event::Poisoned { job: own, .. } => own == job,
        Event::Remains { job: own } => own.as_deref() == Some(job),
        Event::Wire(wire) | Event::Unheard(wire) => wire.messages.iter().any(|seen| {
            seen.body.as_ref().is_some_and(|body| body.job == job)
                || seen.id.as_ref().is_some_and(|id| messages.contains(id))
        }),
        _ => false,
    }
}

fn line(entry: &Entry, messages: &BTreeSet<String>) -> String {
    let pid = entry.pid;
    match &entry.event {
        Event::Invoke { kind, n, .. } => format!("enqueue of number {n}, {kind:?}"),
        Event::Enqueued { .. } => "enqueued".to_owned(),
        Event::Rejected { .. } => "rejected".to_owned(),
        Event::Unknown { .. } => "nobody knows whether enqueued".to_owned(),
        Event::Entered { attempt, .. } => format!("worker {pid}: attempt {attempt} entered"),
        Event::Left { outcome, .. } => format!("worker {pid}: left with {outcome}"),
        Event::Start { attempt, .. } => format!("worker {pid}: attempt {attempt} starts"),
        Event::Finish { end, .. } => format!("worker {pid}: finishes, {end:?}"),
        Event::Cancelled { .. } => format!("worker {pid}: dropped"),
        Event::Poisoned { reason, .. } => format!("in poison, {reason:?}"),
        Event::Remains { .. } => "still in the queue".to_owned(),
        Event::Signal { worker, signal } => format!("worker {worker}: SIG{signal:?}"),
        Event::Exited { worker } => format!("worker {worker}: gone"),
        Event::Wire(wire) => wire_line(wire, messages, entry.at),
        Event::Unheard(Wire { worker, op, .. }) => {
            format!("worker {worker}: did not wait for the answer to that {op:?}")
        }
        other => format!("{other:?}"),
    }
}

fn wire_line(wire: &Wire, messages: &BTreeSet<String>, at: Micros) -> String {
    let Wire { op, queue, worker, sent, status, answered, fault, hidden_ms, .. } = wire;
    let who = if *worker == 0 { "producer".to_owned() } else { format!("worker {worker}") };
    let mut text = format!("{who}: {op:?} {queue}");
    if *op != Op::Receive
        && let Some(hidden) = hidden_ms
    {
        let _ = write!(text, " hidden {hidden} ms");
    }
    let own = wire.messages.iter().find(|seen| {
        wire.messages.len() == 1 || seen.id.as_ref().is_some_and(|id| messages.contains(id))
    });
    if let Some(seen) = own {
        if let Some(count) = seen.count {
            let _ = write!(text, " count {count}");
        }
        if let Some(id) = &seen.id {
            let _ = write!(text, " message {}", id.split('-').next().unwrap_or_default());
        }
        if let Some(body) = &seen.body {
            let _ = write!(
                text,
                " [{:?} failed {} crashed {} snoozed {} given back {}]",
                body.mark, body.failed, body.crashed, body.snoozed, body.given_back
            );
        }
    }
    match status {
        Some(status) => {
            let _ = write!(text, " -> {status} in {} ms", at.saturating_sub(*sent) / 1_000);
        }
        None => text.push_str(" not carried out"),
    }
    if let Some(fault) = fault {
        let _ = write!(text, " ({fault})");
    }
    if !answered {
        text.push_str(", no answer");
    }
    text
}
