//! What is answered.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use super::{SERVING, STARTING, Watched};
use crate::telemetry::figures::{Figures, show_held};
use crate::worker::Served;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// One line a problem.
    fn of_problems(problems: &[String]) -> Self {
        if problems.is_empty() {
            return Self::text(200, "ok\n");
        }
        let mut body = String::new();
        for problem in problems {
            let _ = writeln!(body, "{problem}");
        }
        Self::text(503, body)
    }
}

/// Whether the worker moves.
pub(super) fn livez(watched: &Watched) -> Answer {
    let mut problems = Vec::new();
    let limit = watched.stall_limit;
    let stalled = watched.asked_at().map_or(Duration::ZERO, |at| at.elapsed());
    if stalled > limit {
        let seconds = stalled.as_secs();
        problems.push(format!(
            "the runtime has run no task for {seconds} s: handlers block its threads; move what \
             blocks into `tokio::task::spawn_blocking`"
        ));
    }
    for served in watched.queues() {
        let asking = served.meters.health().map(|health| health.asking_for()).unwrap_or_default();
        if asking > served.receive_limit() + limit {
            let (queue, seconds) = (&served.plan.name, asking.as_secs());
            problems.push(format!("{queue}: a receive has had no answer for {seconds} s"));
        }
    }
    Answer::of_problems(&problems)
}

/// Whether receiving works.
pub(super) fn readyz(watched: &Watched) -> Answer {
    match watched.phase.load(Relaxed) {
        STARTING => return Answer::text(503, "the worker looks for its queues\n"),
        SERVING => {}
        _ => return Answer::text(503, "the worker is stopping\n"),
    }
    let problem = |served: &Served| {
        // It is handed what it runs.
        if served.home.as_ref().is_some_and(|home| home.is_for_suspects()) {
            return None;
        }
        let problem = served.meters.health()?.problem()?;
        Some(format!("{}: {problem}", served.plan.name))
    };
    let problems: Vec<_> = watched.queues().iter().filter_map(|served| problem(served)).collect();
    Answer::of_problems(&problems)
}

/// What is live is shown as it is now.
pub(super) fn show_gauges(watched: &Watched) {
    watched.queues().iter().for_each(|served| show_held(served));
}

/// How much there is to do.
pub(super) fn scale(watched: &Watched) -> Answer {
    let limit = watched.sample_every * 3;
    let mut queues = Vec::new();
    for served in watched.queues() {
        let figures = served.meters.health().and_then(|health| health.figures());
        let (name, now) = (&served.plan.name, std::time::Instant::now());
        match figures {
            Some(figures) if now.duration_since(figures.at) <= limit => {
                let held = served.leases.len() as u64;
                let slots = served.plan.settings.concurrency as u64;
                let age = now.duration_since(figures.at);
                queues.push(Queue::new(name.as_str(), &figures, held, slots, age));
            }
            Some(figures) => {
                let seconds = now.duration_since(figures.at).as_secs_f64();
                return Answer::text(503, format!("{name}: the figures are {seconds:.1} s old\n"));
            }
            None => return Answer::text(503, format!("{name}: there are no figures yet\n")),
        }
    }
    if queues.is_empty() {
        return Answer::text(503, "the worker serves no queue yet\n");
    }
    let body = serde_json::to_string(&Scale::of(queues)).unwrap_or_default();
    Answer { status: 200, content_type: "application/json", body: body + "\n" }
}

/// What `/scale` says, of all queues and of each.
#[derive(Debug, Serialize)]
struct Scale<'a> {
    #[serde(flatten)]
    all: Sum,
    estimates: Vec<&'static str>,
    queues: Vec<Queue<'a>>,
}

#[derive(Debug, Serialize)]
struct Queue<'a> {
    queue: &'a str,
    #[serde(flatten)]
    figures: Sum,
    #[serde(skip)]
    exact: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Sum {
    jobs: u64,
    backlog: u64,
    in_flight: u64,
    slots: u64,
    depth: u64,
    oldest_age_seconds: Option<f64>,
    drain_seconds: Option<f64>,
    poison: u64,
    sampled_seconds_ago: f64,
}

impl<'a> Queue<'a> {
    fn new(queue: &'a str, figures: &Figures, held: u64, slots: u64, ago: Duration) -> Self {
        let Figures { depth, backlog, backlog_is_exact, oldest_age, poison, rate, .. } = *figures;
        let figures = Sum {
            jobs: backlog + held,
            backlog,
            in_flight: held,
            slots,
            depth,
            oldest_age_seconds: oldest_age.map(|age| millis(age + ago)),
            drain_seconds: drain(backlog, rate),
            poison,
            sampled_seconds_ago: millis(ago),
        };
        Self { queue, figures, exact: backlog_is_exact }
    }
}

impl<'a> Scale<'a> {
    fn of(queues: Vec<Queue<'a>>) -> Self {
        let mut all = Sum::default();
        let mut longest = Some(0.0_f64);
        for Queue { figures, .. } in &queues {
            all.jobs += figures.jobs;
            all.backlog += figures.backlog;
            all.in_flight += figures.in_flight;
            all.slots += figures.slots;
            all.depth += figures.depth;
            all.poison += figures.poison;
            all.sampled_seconds_ago = all.sampled_seconds_ago.max(figures.sampled_seconds_ago);
            let ages = [all.oldest_age_seconds, figures.oldest_age_seconds];
            all.oldest_age_seconds = ages.into_iter().flatten().reduce(f64::max);
            // They are drained side by side.
            longest = longest.zip(figures.drain_seconds).map(|(a, b)| a.max(b));
        }
        all.drain_seconds = longest;
        let mut estimates = vec!["drain_seconds"];
        if queues.iter().any(|queue| !queue.exact) {
            estimates =
                vec!["jobs", "backlog", "depth", "oldest_age_seconds", "drain_seconds", "poison"];
        }
        Self { all, estimates, queues }
    }
}

/// How long so many take at that rate; `None` if that says nothing.
fn drain(backlog: u64, rate: f64) -> Option<f64> {
    if backlog == 0 {
        return Some(0.0);
    }
    (rate > 0.0).then(|| (backlog as f64 / rate * 1000.0).round() / 1000.0)
}

/// Whole milliseconds, in seconds.
fn millis(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn figures(backlog: u64, exact: bool, age: Option<u64>, rate: f64) -> Figures {
        Figures {
            at: Instant::now(),
            depth: backlog + 10,
            backlog,
            backlog_is_exact: exact,
            oldest_age: age.map(Duration::from_secs),
            poison: 2,
            rate,
        }
    }

    #[test]
    fn scale_sums_up_and_says_what_it_guesses() {
        let ago = Duration::from_millis(1500);
        let mail = Queue::new("mail", &figures(100, true, Some(7), 4.0), 16, 16, ago);
        let rare = Queue::new("rare", &figures(0, true, None, 0.0), 0, 4, ago);
        let scale = serde_json::to_value(Scale::of(vec![mail, rare])).unwrap();
        let expected = serde_json::json!({
            "jobs": 116, "backlog": 100, "in_flight": 16, "slots": 20, "depth": 120,
            "oldest_age_seconds": 8.5, "drain_seconds": 25.0, "poison": 4,
            "sampled_seconds_ago": 1.5, "estimates": ["drain_seconds"],
            "queues": [
                {
                    "queue": "mail", "jobs": 116, "backlog": 100, "in_flight": 16, "slots": 16,
                    "depth": 110, "oldest_age_seconds": 8.5, "drain_seconds": 25.0, "poison": 2,
                    "sampled_seconds_ago": 1.5,
                },
                {
                    "queue": "rare", "jobs": 0, "backlog": 0, "in_flight": 0, "slots": 4,
                    "depth": 10, "oldest_age_seconds": null, "drain_seconds": 0.0, "poison": 2,
                    "sampled_seconds_ago": 1.5,
                },
            ],
        });
        assert_eq!(scale, expected);
    }

    #[test]
    fn nobody_knows_how_long_a_queue_takes_that_does_not_move() {
        let stuck = Queue::new("stuck", &figures(5, false, Some(1), 0.0), 0, 1, Duration::ZERO);
        let scale = Scale::of(vec![stuck]);
        assert_eq!(scale.all.drain_seconds, None);
        assert!(scale.estimates.contains(&"backlog"), "{:?}", scale.estimates);
    }
}
