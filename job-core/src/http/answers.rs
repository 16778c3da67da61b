//! What is answered.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use super::{SERVING, STARTING, Watched};
use crate::telemetry::figures::{Counted, Figures, show_held};
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
    let (mut queues, mut problems) = (Vec::new(), Vec::new());
    for served in watched.queues() {
        let name = served.plan.name.as_str();
        let (held, slots) = (served.leases.len() as u64, served.plan.settings.concurrency as u64);
        let figures = figures(served, limit);
        if let Err(problem) = &figures {
            problems.push(format!("{name}: {problem}"));
        }
        let mut queue = Queue::new(name, figures, held, slots);
        if queue.problem.is_none() {
            let why = served.meters.health().and_then(|health| health.poison_unknown());
            queue.problem = why.map(|why| format!("{}: {why}", served.plan.poison));
        }
        queues.push(queue);
    }
    if queues.is_empty() {
        return Answer::text(503, "the worker serves no queue yet\n");
    }
    if problems.len() == queues.len() {
        return Answer::of_problems(&problems);
    }
    let body = serde_json::to_string(&Scale::of(queues)).unwrap_or_default();
    Answer { status: 200, content_type: "application/json", body: body + "\n" }
}

/// Those of a queue and how old they are, or why there are none to act on.
fn figures(served: &Served, limit: Duration) -> Result<(Figures, Duration), String> {
    let health = served.meters.health();
    let figures = health.and_then(|health| health.figures());
    let figures = figures.map(|figures| (figures, figures.at.elapsed()));
    let problem = match figures {
        Some((figures, age)) if age <= limit => return Ok((figures, age)),
        Some((_, age)) => format!("the figures are {:.1} s old", age.as_secs_f64()),
        None => "there are no figures yet".to_owned(),
    };
    Err(match health.and_then(|health| health.unknown()) {
        Some(why) => format!("{problem}: {why}"),
        None => problem,
    })
}

/// What `/scale` says, of all queues and of each.
#[derive(Debug, Serialize)]
struct Scale<'a> {
    #[serde(flatten)]
    all: Sum,
    estimates: Vec<Estimate>,
    queues: Vec<Queue<'a>>,
}

#[derive(Debug, Serialize)]
struct Queue<'a> {
    queue: &'a str,
    #[serde(flatten)]
    figures: Sum,
    estimates: Vec<Estimate>,
    /// Why nothing is known of it, or of its poison queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A field that is not to be taken at its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Estimate {
    field: &'static str,
    why: &'static str,
}

const DRAIN: &str = "the backlog at the pace of this worker since the figures before";
const ROUGH: &str = "the service counts roughly";
const SHOWN: &str = "those that a look at the first messages of the queue showed";
const OLDEST: &str = "the oldest of those that the service shows first";
const ALL_BUT_HELD: &str = "more are due than the service shows at a time, so it is all messages \
                            but those that this worker holds: those that are hidden until later, \
                            and those that other workers hold, are among them";

/// `None` is what nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Sum {
    jobs: Option<u64>,
    backlog: Option<u64>,
    in_flight: u64,
    slots: u64,
    depth: Option<u64>,
    oldest_age_seconds: Option<f64>,
    drain_seconds: Option<f64>,
    poison: Option<u64>,
    sampled_seconds_ago: Option<f64>,
}

impl<'a> Queue<'a> {
    fn new(
        queue: &'a str,
        figures: Result<(Figures, Duration), String>,
        in_flight: u64,
        slots: u64,
    ) -> Self {
        let here = Sum { in_flight, slots, ..Sum::default() };
        let (figures, ago) = match figures {
            Ok(known) => known,
            Err(problem) => {
                return Self {
                    queue,
                    figures: here,
                    estimates: Vec::new(),
                    problem: Some(problem),
                };
            }
        };
        let Figures { depth, backlog, counted, held, oldest_age, poison, rate, .. } = figures;
        let figures = Sum {
            // What was received since then is in the backlog of then.
            jobs: Some(backlog + held),
            backlog: Some(backlog),
            depth: Some(depth),
            oldest_age_seconds: oldest_age.map(|age| millis(age + ago)),
            drain_seconds: drain(backlog, rate),
            poison,
            sampled_seconds_ago: Some(millis(ago)),
            ..here
        };
        Self { queue, figures, estimates: estimates(counted), problem: None }
    }
}

/// What is not exact, and why.
fn estimates(counted: Counted) -> Vec<Estimate> {
    let backlog = match counted {
        Counted::Exactly => None,
        Counted::Roughly => Some(ROUGH),
        Counted::Shown => Some(SHOWN),
        Counted::AllButHeld => Some(ALL_BUT_HELD),
    };
    let mut all = Vec::new();
    if let Some(why) = backlog {
        all.extend(["jobs", "backlog"].map(|field| Estimate { field, why }));
        all.extend(["depth", "poison"].map(|field| Estimate { field, why: ROUGH }));
        all.push(Estimate { field: "oldest_age_seconds", why: OLDEST });
    }
    all.push(Estimate { field: "drain_seconds", why: DRAIN });
    all
}

impl<'a> Scale<'a> {
    /// A sum of which a part is not known is not known.
    fn of(queues: Vec<Queue<'a>>) -> Self {
        let sum = |part: fn(&Sum) -> Option<u64>| queues.iter().map(|it| part(&it.figures)).sum();
        let longest = |part: fn(&Sum) -> Option<f64>| {
            let parts: Option<Vec<_>> = queues.iter().map(|queue| part(&queue.figures)).collect();
            parts?.into_iter().reduce(f64::max)
        };
        let ages = queues.iter().filter_map(|queue| queue.figures.oldest_age_seconds);
        let all_known = queues.iter().all(|queue| queue.figures.depth.is_some());
        let all = Sum {
            jobs: sum(|it| it.jobs),
            backlog: sum(|it| it.backlog),
            in_flight: queues.iter().map(|queue| queue.figures.in_flight).sum(),
            slots: queues.iter().map(|queue| queue.figures.slots).sum(),
            depth: sum(|it| it.depth),
            oldest_age_seconds: ages.reduce(f64::max).filter(|_| all_known),
            // They are drained side by side.
            drain_seconds: longest(|it| it.drain_seconds),
            poison: sum(|it| it.poison),
            sampled_seconds_ago: longest(|it| it.sampled_seconds_ago),
        };
        let mut estimates: Vec<Estimate> = Vec::new();
        for estimate in queues.iter().flat_map(|queue| &queue.estimates) {
            if !estimates.contains(estimate) {
                estimates.push(*estimate);
            }
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

    fn figures(backlog: u64, counted: Counted, age: Option<u64>, rate: f64) -> Figures {
        Figures {
            at: Instant::now(),
            depth: backlog + 10,
            backlog,
            counted,
            held: 5,
            oldest_age: age.map(Duration::from_secs),
            poison: Some(2),
            rate,
        }
    }

    #[test]
    fn scale_sums_up_and_says_what_it_guesses() {
        let ago = Duration::from_millis(1500);
        let exact = |backlog, age, rate| Ok((figures(backlog, Counted::Exactly, age, rate), ago));
        let mail = Queue::new("mail", exact(100, Some(7), 4.0), 16, 16);
        let rare = Queue::new("rare", exact(0, None, 0.0), 0, 4);
        let scale = serde_json::to_value(Scale::of(vec![mail, rare])).unwrap();
        let drain = serde_json::json!([{ "field": "drain_seconds", "why": DRAIN }]);
        let expected = serde_json::json!({
            "jobs": 110, "backlog": 100, "in_flight": 16, "slots": 20, "depth": 120,
            "oldest_age_seconds": 8.5, "drain_seconds": 25.0, "poison": 4,
            "sampled_seconds_ago": 1.5, "estimates": drain,
            "queues": [
                {
                    "queue": "mail", "jobs": 105, "backlog": 100, "in_flight": 16, "slots": 16,
                    "depth": 110, "oldest_age_seconds": 8.5, "drain_seconds": 25.0, "poison": 2,
                    "sampled_seconds_ago": 1.5, "estimates": drain,
                },
                {
                    "queue": "rare", "jobs": 5, "backlog": 0, "in_flight": 0, "slots": 4,
                    "depth": 10, "oldest_age_seconds": null, "drain_seconds": 0.0, "poison": 2,
                    "sampled_seconds_ago": 1.5, "estimates": drain,
                },
            ],
        });
        assert_eq!(scale, expected);
    }

    #[test]
    fn what_is_not_known_of_one_queue_is_not_known_of_all() {
        let known = figures(5, Counted::Exactly, Some(1), 1.0);
        let known = Queue::new("known", Ok((known, Duration::ZERO)), 1, 2);
        let closed = Queue::new("closed", Err("not allowed".to_owned()), 3, 4);
        let scale = serde_json::to_value(Scale::of(vec![known, closed])).unwrap();
        for field in [
            "jobs",
            "backlog",
            "depth",
            "oldest_age_seconds",
            "drain_seconds",
            "poison",
            "sampled_seconds_ago",
        ] {
            assert!(scale[field].is_null(), "{field}: {scale}");
            assert!(scale["queues"][1][field].is_null(), "{field}: {scale}");
            assert!(!scale["queues"][0][field].is_null(), "{field}: {scale}");
        }
        assert_eq!((&scale["in_flight"], &scale["slots"]), (&4.into(), &6.into()));
        assert_eq!(scale["queues"][1]["problem"], "not allowed");
    }

    #[test]
    fn nobody_knows_how_long_a_queue_takes_that_does_not_move() {
        let stuck = figures(5, Counted::Exactly, Some(1), 0.0);
        let scale = Scale::of(vec![Queue::new("stuck", Ok((stuck, Duration::ZERO)), 0, 1)]);
        assert_eq!(scale.all.drain_seconds, None);
    }

    /// Where a peek does not show all, scheduled jobs are among what is said to be due.
    #[test]
    fn each_estimate_says_what_it_is_of() {
        let why = |counted, field: &str| {
            let estimates = estimates(counted);
            estimates.iter().find(|estimate| estimate.field == field).map(|estimate| estimate.why)
        };
        assert_eq!(why(Counted::Exactly, "backlog"), None);
        assert_eq!(why(Counted::Roughly, "backlog"), Some(ROUGH));
        assert_eq!(why(Counted::Shown, "backlog"), Some(SHOWN));
        assert_eq!(why(Counted::AllButHeld, "jobs"), Some(ALL_BUT_HELD));
        assert_eq!(why(Counted::Shown, "depth"), Some(ROUGH));
        let queues = [Counted::Shown, Counted::AllButHeld].map(|counted| {
            Queue::new("q", Ok((figures(1, counted, None, 0.0), Duration::ZERO)), 0, 1)
        });
        let all = Scale::of(queues.into()).estimates;
        let of = |field: &str| all.iter().filter(|estimate| estimate.field == field).count();
        assert_eq!((of("backlog"), of("depth")), (2, 1), "{all:?}");
    }
}
