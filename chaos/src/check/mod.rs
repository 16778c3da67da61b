//! Holds a history against the invariants of what is promised.

mod story;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use self::story::{Ended, Job, Run, Story, Told};
use crate::history::{End, Entry, Micros, Reason, SECOND};
use crate::jobs::{Expected, Kind};

/// How much later than promised a process may be seen to end, or to hear of a signal.
const SLACK: Micros = 300_000;

/// How many jobs of a bad run are told of in full.
const TOLD: usize = 5;

const INVARIANTS: [(u8, &str); 11] = [
    (1, "an acknowledged job has an end"),
    (2, "nothing is invented, args are intact"),
    (3, "starts are bounded, none behind a fence"),
    (4, "copies in poison are bounded"),
    (5, "completions are bounded"),
    (6, "nobody is condemned without a start"),
    (7, "no delete before the end"),
    (8, "overlaps have a lost lease"),
    (9, "the queue drains"),
    (10, "a process ends in time and good order"),
    (11, "no secret in a log"),
];

/// What a history comes to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    seed: u64,
    counts: Vec<(&'static str, u64)>,
    pub(crate) broken: Vec<Broken>,
    faults: BTreeMap<String, u32>,
    recoveries: Vec<Micros>,
    recovery_limit: Micros,
    timelines: Vec<String>,
}

/// One promise that was not kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Broken {
    /// Which; 0 for an end that is neither expected nor explained.
    pub(crate) invariant: u8,
    pub(crate) job: Option<String>,
    pub(crate) why: String,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.broken.is_empty()
    }
}

pub(crate) fn judge(entries: &[Entry]) -> anyhow::Result<Verdict> {
    let story = Story::of(entries)?;
    let mut verdict = Verdict {
        seed: story.rules.seed,
        recoveries: story.recoveries(),
        recovery_limit: (story.rules.lease_ms + story.rules.longest_poll_ms) * 1_000 + 2 * SECOND,
        faults: story.faults.clone(),
        ..Verdict::default()
    };
    let mut tally = Tally::default();
    for (id, job) in &story.jobs {
        let mut court = Court { id, job, story: &story, verdict: &mut verdict };
        court.judge(&mut tally);
    }
    whole(&story, &mut verdict);
    verdict.counts = tally.counts();
    match story.stood_still() {
        0 => {}
        micros => verdict.counts.push(("the machine stood still, ms", micros / 1_000)),
    }
    let offenders: BTreeSet<_> =
        verdict.broken.iter().filter_map(|broken| broken.job.clone()).collect();
    verdict.timelines = offenders.iter().take(TOLD).map(|job| timeline::of(entries, job)).collect();
    Ok(verdict)
}

/// What is not about a single job.
fn whole(story: &Story, verdict: &mut Verdict) {
    let mut all = Vec::new();
    let mut broken = |invariant, why| all.push(Broken { invariant, job: None, why });
    if story.strangers > 0 {
        broken(2, format!("{} messages in the queue are no jobs", story.strangers));
    }
    match story.quiet.zip(story.drained).map(|(quiet, drained)| story.took(quiet, drained)) {
        Some(took) if took <= story.drain_limit() => {}
        Some(took) => broken(9, format!("it took {:.1} s", seconds(took))),
        None => broken(9, "it was not empty in the end".to_owned()),
    }
    let limit = story.rules.grace_ms * 1_000 + 2 * SECOND + SLACK;
    for (worker, process) in &story.processes {
        let Some(asked) = process.asked else { continue };
        match process.exited.map(|exited| story.took(asked, exited)) {
            Some(took) if took <= limit => {}
            Some(took) => {
                broken(10, format!("worker {worker} took {:.1} s to end", seconds(took)));
            }
            None => broken(10, format!("worker {worker} did not end")),
        }
    }
    for why in &story.supervisors {
        broken(10, format!("the supervisor: {why}"));
    }
    for leak in &story.leaks {
        broken(11, leak.clone());
    }
    if let Some(last) = verdict.recoveries.len().checked_sub(1)
        && story.rules.only_kills
        && verdict.recoveries[last * 99 / 100] > verdict.recovery_limit
    {
        broken(0, "jobs of killed workers came again too late".to_owned());
    }
    verdict.broken.append(&mut all);
}

#[derive(Debug, Default)]
struct Tally {
    enqueued: u64,
    unknown: u64,
    rejected: u64,
    completed: u64,
    poison: u64,
    discarded: u64,
    collateral: u64,
    lost: u64,
    unexpected: u64,
    explained: u64,
    unexplained: u64,
    starts: u64,
    crashes: u64,
    expiries: u64,
    lost_answers: u64,
    twice: u64,
}

impl Tally {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("enqueued", self.enqueued),
            ("  nobody knows", self.unknown),
            ("  rejected", self.rejected),
            ("completed", self.completed),
            ("poison", self.poison),
            ("  went down with others", self.collateral),
            ("discarded", self.discarded),
            ("lost", self.lost),
            ("unexpected", self.unexpected),
            ("duplicates explained", self.explained),
            ("duplicates unexplained", self.unexplained),
            ("starts", self.starts),
            ("  that died", self.crashes),
            ("leases run out", self.expiries),
            ("answers lost or late", self.lost_answers),
            ("sent twice", self.twice),
        ]
    }
}

/// One job before its judge.
struct Court<'a> {
    id: &'a str,
    job: &'a Job,
    story: &'a Story,
    verdict: &'a mut Verdict,
}

impl Court<'_> {
    fn broken(&mut self, invariant: u8, why: impl Into<String>) {
        let job = Some(self.id.to_owned());
        self.verdict.broken.push(Broken { invariant, job, why: why.into() });
    }

    fn judge(&mut self, tally: &mut Tally) {
        let job = self.job;
        let told = job.told.unwrap_or(Told::Nothing);
        let (completed, discarded) = (job.count(End::Done), job.count(End::Discarded));
        let copies = job.poison.len() as u32;
        let (expiries, crashes, starts) = (job.expiries(), job.crashes(), job.starts());
        tally.enqueued += u64::from(told == Told::Enqueued);
        tally.unknown += u64::from(told == Told::Unknown);
        tally.rejected += u64::from(told == Told::Rejected);
        tally.completed += u64::from(completed > 0);
        tally.poison += u64::from(copies > 0);
        tally.discarded += u64::from(discarded > 0);
        tally.starts += u64::from(starts);
        tally.crashes += u64::from(crashes);
        tally.expiries += u64::from(expiries);
        tally.lost_answers += u64::from(job.lost_answers());
        tally.twice += u64::from(job.extra() > 0);

        // 2
        let Some((invoked, kind)) = job.invoked else {
            tally.unexpected += 1;
            self.broken(2, "it was never enqueued");
            return;
        };
        let traces = starts + copies + job.messages.len() as u32 + u32::from(job.remains);
        if told == Told::Rejected && traces > 0 {
            tally.unexpected += 1;
            self.broken(2, "it was said to be rejected, and is there");
        }
        let intact = job.runs.iter().all(|run| run.intact) && job.poison.iter().all(|it| it.1);
        if !intact {
            self.broken(2, "its args are not what was sent");
        }

        // 1
        let has_end = completed + discarded + copies > 0;
        // What was on the wire was there, whatever its producer heard.
        let was_there = told == Told::Enqueued || !job.messages.is_empty();
        if was_there && told != Told::Rejected && !has_end && !job.remains {
            tally.lost += 1;
            self.broken(1, "it is lost");
        }
        self.starts(kind);

        // 4
        let allowed = 1 + crashes + job.lost_answers() + expiries;
        if copies > allowed {
            self.broken(4, format!("{copies} copies in poison, at most {allowed}"));
        }

        // 5
        let allowed = 1 + expiries + job.extra();
        if completed > allowed {
            self.broken(5, format!("completed {completed} times, at most {allowed}"));
        }
        let ends = completed + discarded + copies;
        if ends > 1 {
            let causes = expiries + crashes + job.lost_answers();
            let explained = !self.story.rules.fair && ends - 1 <= causes;
            tally.explained += u64::from(explained);
            tally.unexplained += u64::from(!explained);
            if !explained {
                self.broken(5, format!("{ends} ends, and {causes} reasons for more than one"));
            }
        }

        self.condemned(kind);
        self.deletes();
        self.overlaps();

        // 9
        if job.messages.values().any(|message| message.too_long) {
            self.broken(9, "it was put off for longer than there was a reason for");
        }

        // 10
        for run in &job.runs {
            let asked = self.story.processes.get(&run.worker).and_then(|process| process.asked);
            if asked.is_some_and(|asked| run.start > asked + SLACK) {
                self.broken(10, format!("worker {} started it after its signal", run.worker));
            }
        }

        if job.sum(|message| message.kept) > 0 {
            self.broken(10, "a process that ended in good order did not give it back");
        }

        let unexplained = job.sum(|message| message.unexplained);
        if unexplained > 0 {
            tally.unexpected += 1;
            self.broken(0, "its lease ran out for no reason");
        }
        if has_end && let Err(why) = self.expected(kind, &mut tally.collateral) {
            tally.unexpected += 1;
            self.broken(0, why);
        }
        let due = kind.delay().map_or(0, |delay| delay.as_micros() as Micros);
        if job.runs.iter().any(|run| run.start + SECOND < invoked + due) {
            tally.unexpected += 1;
            self.broken(0, "it was started before it was due");
        }
    }

    /// 3
    fn starts(&mut self, kind: Kind) {
        let (job, rules) = (self.job, &self.story.rules);
        let messages = 1 + job.extra();
        let give_backs = job.sum(|message| message.give_backs);
        let allowed = kind.max_attempts() * messages
            + job.count(End::Snoozed)
            + give_backs
            + job.expiries()
            + job.crashes();
        let starts = job.starts();
        if starts > allowed {
            self.broken(3, format!("{starts} starts, at most {allowed}"));
        }
        // The first start after each settlement is not announced, and so does not count; those of a
        // suspect are.
        let allowed = messages * (rules.crash_limit + 1) + job.sum(|message| message.put_offs);
        let crashes = job.crashes();
        if crashes > allowed {
            self.broken(3, format!("it died {crashes} times, at most {allowed}"));
        }
        if job.unfenced {
            self.broken(3, "it was moved to poison without its mark");
        }
        for run in &job.runs {
            if run.delivery.is_none() {
                self.broken(3, format!("worker {} started it without a delivery", run.worker));
            }
            if run.in_company {
                self.broken(3, format!("a suspect, it was not alone in worker {}", run.worker));
            }
            let fenced = run.delivery.as_ref().and_then(|(id, _)| job.messages.get(id)?.fenced);
            if fenced.is_some_and(|fenced| run.start > fenced) {
                self.broken(3, "it was started after its poison mark was written");
            }
        }
    }

    /// 6
    fn condemned(&mut self, kind: Kind) {
        let (job, rules) = (self.job, &self.story.rules);
        let died = job.sum(|message| message.suspected);
        let tried = job.count(End::Failed) + died;
        let exhausted = tried >= kind.max_attempts();
        let reasons: BTreeSet<_> = job.poison.iter().map(|(reason, _)| *reason as u8).collect();
        let has = |reason: Reason| reasons.contains(&(reason as u8));
        let (gave_up, crashed) = (has(Reason::AttemptsExhausted), has(Reason::Crashed));
        if (gave_up || crashed) && job.starts() == 0 {
            self.broken(6, "it is in poison and was never started");
        }
        if job.overcharged {
            self.broken(6, "it was charged with a failure or a crash that there was none of");
        }
        if gave_up && !exhausted {
            let most = kind.max_attempts();
            self.broken(6, format!("attempts exhausted after {tried} of {most} attempts"));
        }
        if crashed && died < rules.crash_limit && !exhausted {
            let most = rules.crash_limit;
            self.broken(6, format!("crashed after {died} of {most} deaths"));
        }
    }

    /// 7
    fn deletes(&mut self) {
        let job = self.job;
        let ended = |before: Micros| {
            let ends = |run: &Run| {
                let end = |end: &(Micros, Ended)| {
                    let finished = Ended::Finished(End::Done) == end.1
                        || Ended::Finished(End::Discarded) == end.1;
                    finished && end.0 <= before
                };
                run.end.as_ref().is_some_and(end)
            };
            job.runs.iter().any(ends) || job.copied.iter().any(|copied| *copied <= before)
        };
        for (sent, _) in job.messages.values().filter_map(|message| message.deleted) {
            if !ended(sent) {
                self.broken(7, "it was deleted before it was done or in poison");
            }
        }
    }

    /// 8
    fn overlaps(&mut self) {
        let runs = &self.job.runs;
        for (index, first) in runs.iter().enumerate() {
            for second in &runs[index + 1..] {
                let over = first.end.is_none_or(|(end, _)| second.start < end);
                if over && !self.has_lost_lease(first, second) {
                    self.broken(
                        8,
                        format!(
                            "workers {} and {} ran it at once, with no lease lost",
                            first.worker, second.worker
                        ),
                    );
                }
            }
        }
    }

    fn has_lost_lease(&self, first: &Run, second: &Run) -> bool {
        let (Some((one, from)), Some((other, to))) = (&first.delivery, &second.delivery) else {
            return false;
        };
        // A repeated send made two messages of it: the service knows nothing of job ids.
        if one != other {
            return self.job.lost_answers() > 0;
        }
        let expired = &self.job.messages[one].expired;
        expired.iter().any(|count| (from.min(to) + 1..=*from.max(to)).contains(count))
    }

    /// Whether it ended as it had to.
    fn expected(&self, kind: Kind, collateral: &mut u64) -> Result<(), String> {
        let job = self.job;
        let reasons: Vec<_> = job.poison.iter().map(|(reason, _)| *reason).collect();
        let (completed, discarded) = (job.count(End::Done) > 0, job.count(End::Discarded) > 0);
        // A job that was there when others killed its worker, again and again. Where suspects run
        // alone, that cannot be, unless the harness did it.
        let framed = job.messages.values().any(|message| self.story.is_framed(message));
        // A start that ends with its process is an attempt, and may be the last.
        let tried = job.count(End::Failed) + job.sum(|message| message.suspected);
        let exhausted = tried >= kind.max_attempts();
        let exclusive = self.story.rules.suspects_alone && !framed && !exhausted;
        let went_down = reasons.contains(&Reason::Crashed);
        let others = |own: Option<Reason>| {
            let fits =
                |reason: Reason| Some(reason) == own || (reason == Reason::Crashed && !exclusive);
            reasons.iter().any(|reason| !fits(*reason))
        };
        let said = || format!("completed {completed}, discarded {discarded}, poison {reasons:?}");
        let own = kind.expected() == Expected::Poison(Reason::Crashed);
        *collateral += u64::from(went_down && !own);
        let went_down = went_down && !exclusive;
        let good = match kind.expected() {
            Expected::Completed => (completed || went_down) && !discarded && !others(None),
            Expected::Discarded => (discarded || went_down) && !completed && !others(None),
            Expected::Poison(reason) => {
                let there = reasons.contains(&reason) || went_down;
                there && !completed && !discarded && !others(Some(reason))
            }
        };
        if good {
            Ok(())
        } else {
            Err(format!("it should have been {:?}: {}", kind.expected(), said()))
        }
    }
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / SECOND as f64
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (name, count) in &self.counts {
            writeln!(f, "  {name:<38} {count:>7}")?;
        }
        let struck: u32 = self.faults.values().sum();
        writeln!(f, "  {:<38} {struck:>7}", "requests struck")?;
        for (fault, count) in &self.faults {
            writeln!(f, "    {fault:<36} {count:>7}")?;
        }
        if let Some(last) = self.recoveries.len().checked_sub(1) {
            let at = |percent: usize| seconds(self.recoveries[last * percent / 100]);
            let limit = seconds(self.recovery_limit);
            writeln!(
                f,
                "  from a kill to the redelivery: p50 {:.1} s, p99 {:.1} s of {} jobs; \
                 at most {limit:.0} s without faults",
                at(50),
                at(99),
                self.recoveries.len(),
            )?;
        }
        for (number, what) in INVARIANTS {
            let count = self.broken.iter().filter(|broken| broken.invariant == number).count();
            let said = if count == 0 { "held".to_owned() } else { format!("BROKEN {count} times") };
            writeln!(f, "  {number:>2} {what:<42} {said}")?;
        }
        for broken in self.broken.iter().take(4 * TOLD) {
            let Broken { invariant, job, why } = broken;
            writeln!(f, "! {invariant}: {}: {why}", job.as_deref().unwrap_or("the run"))?;
        }
        for timeline in &self.timelines {
            write!(f, "\n{timeline}")?;
        }
        f.write_str(if self.is_good() { "good" } else { "BROKEN" })
    }
}
