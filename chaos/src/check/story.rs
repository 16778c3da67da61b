//! The history, told job by job.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{End, Entry, Event, Mark, Micros, Op, Reason, Rules, SECOND, Signal, Wire};
use crate::jobs::{Kind, QUEUE};
use crate::worker::SUSPECTS;

/// An answer that takes longer than this may have come too late, faults or none.
const SLOW: Micros = 700_000;

/// A run that was cut off after this long may have been so by its timeout.
const TIMEOUT: Micros = 25 * SECOND;

/// How long a process is paused, or a thread of it blocked, at most.
const PAUSE: Micros = 12 * SECOND;

/// What its enqueue was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Enqueued,
    Rejected,
    Unknown,
}

/// All that is known of one job.
#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) invoked: Option<(Micros, Kind)>,
    pub(super) told: Option<Told>,
    pub(super) runs: Vec<Run>,
    /// Calls of the stack around the handler.
    pub(super) entered: u32,
    pub(super) messages: BTreeMap<String, Message>,
    /// When copies for the poison queue were accepted.
    pub(super) copied: Vec<Micros>,
    pub(super) poison: Vec<(Reason, bool)>,
    pub(super) remains: bool,
    /// Requests that were carried out and not answered, or too late.
    pub(super) lost_answers: u32,
    /// When a request about it was last struck, or slow.
    struck: Option<Micros>,
    /// It was charged with failures or crashes that there were none of.
    pub(super) overcharged: bool,
    /// A copy was made of what had no poison mark.
    pub(super) unfenced: bool,
}

/// One run of its handler.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) worker: u32,
    run: u64,
    pub(super) intact: bool,
    pub(super) start: Micros,
    pub(super) end: Option<(Micros, Ended)>,
    /// Of which delivery: the message and its count.
    pub(super) delivery: Option<(String, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Finished(End),
    Cancelled,
    /// With its process.
    Died,
}

/// One message of a job's in its queue. A repeated send makes a second one.
#[derive(Debug, Default)]
pub(super) struct Message {
    mark: Mark,
    /// What happened to it last.
    last: Last,
    pub(super) fenced: Option<Micros>,
    pub(super) deleted: Option<(Micros, Micros)>,
    given_back: u32,
    pub(super) give_backs: u32,
    pub(super) put_offs: u32,
    /// The counts of deliveries that came because the lease of the one before had run out.
    pub(super) expired: BTreeSet<u32>,
    /// How many of those for no reason that can be seen.
    pub(super) unexplained: u32,
    /// How many of those found a start announced.
    pub(super) suspected: u32,
    /// Whether the last of these may have been the harness's doing: a kill, a pause, a fault.
    pub(super) framed: bool,
    pub(super) deliveries: Vec<Delivery>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// It is due when it is due.
    #[default]
    PutOff,
    /// It is leased.
    Held,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) at: Micros,
    /// Who received it, or has it now: a suspect is handed over.
    pub(super) worker: u32,
    pub(super) count: u32,
    pub(super) answered: bool,
    /// Whether it was run.
    run: bool,
    /// When the lease was settled, one way or the other.
    pub(super) settled: Option<Micros>,
}

impl Job {
    pub(super) fn count(&self, end: End) -> u32 {
        let ended = |run: &&Run| matches!(run.end, Some((_, Ended::Finished(own))) if own == end);
        self.runs.iter().filter(ended).count() as u32
    }

    /// Runs that failed, by their own account or by their timeout.
    fn failures(&self) -> u32 {
        let failed = |run: &&Run| match run.end {
            Some((_, Ended::Finished(end))) => matches!(end, End::Failed | End::Permanent),
            Some((at, Ended::Cancelled)) => at - run.start >= TIMEOUT,
            _ => false,
        };
        self.runs.iter().filter(failed).count() as u32
    }

    pub(super) fn crashes(&self) -> u32 {
        let died = |run: &&Run| matches!(run.end, Some((_, Ended::Died)));
        self.runs.iter().filter(died).count() as u32
    }

    pub(super) fn starts(&self) -> u32 {
        self.entered.max(self.runs.len() as u32)
    }

    pub(super) fn expiries(&self) -> u32 {
        self.sum(|message| message.expired.len() as u32)
    }

    pub(super) fn sum(&self, count: impl Fn(&Message) -> u32) -> u32 {
        self.messages.values().map(count).sum()
    }

    /// How many messages there are of it beyond the first.
    pub(super) fn extra(&self) -> u32 {
        (self.messages.len() as u32).saturating_sub(1)
    }
}

/// What happened to one process.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// It is the one that suspects are handed over to.
    for_suspects: bool,
    pub(super) asked: Option<Micros>,
    pub(super) killed: Option<Micros>,
    pub(super) exited: Option<Micros>,
    /// When it was paused last.
    stopped: Option<Micros>,
    /// When a handler last began to block one of its threads.
    blocked: Option<Micros>,
}

impl Process {
    /// Whether it could not keep a lease that it was given at `from`.
    fn lets_go(&self, from: Micros) -> bool {
        self.exited.is_some()
            || self.killed.is_some()
            || self.stopped.is_some_and(|stopped| stopped + PAUSE >= from)
            // What it receives meanwhile, it may not get to see in time.
            || self.blocked.is_some_and(|blocked| blocked + PAUSE >= from)
    }

    /// Whether it was killed, paused or asked to end since then, so that nothing that it had is to
    /// blame.
    fn is_framed(&self, from: Micros) -> bool {
        let since = |at: Option<Micros>| at.is_some_and(|at| at + PAUSE >= from);
        since(self.killed) || since(self.stopped) || since(self.asked)
    }

    fn gone_since(&self, from: Micros) -> bool {
        self.exited.is_some_and(|exited| exited >= from)
            || self.stopped.is_some_and(|stopped| stopped + PAUSE >= from)
    }
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) rules: Rules,
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) quiet: Option<Micros>,
    pub(super) drained: Option<Micros>,
    pub(super) longest_put_off: Micros,
    pub(super) leaks: Vec<String>,
    /// What supervisors did wrong.
    pub(super) supervisors: Vec<String>,
    /// Messages at the end that are no jobs.
    pub(super) strangers: u32,
    pub(super) faults: BTreeMap<String, u32>,
}

impl Story {
    pub(super) fn of(entries: &[Entry]) -> anyhow::Result<Self> {
        let rules = entries.iter().find_map(|entry| match &entry.event {
            Event::Run { rules } => Some(*rules),
            _ => None,
        });
        let rules =
            rules.ok_or_else(|| anyhow::anyhow!("the history does not say what it is of"))?;
        anyhow::ensure!(
            entries.iter().any(|entry| entry.event == Event::End),
            "the history has no end"
        );
        let mut story = Self {
            rules,
            jobs: BTreeMap::new(),
            processes: BTreeMap::new(),
            quiet: None,
            drained: None,
            longest_put_off: 0,
            leaks: Vec::new(),
            supervisors: Vec::new(),
            strangers: 0,
            faults: BTreeMap::new(),
        };
        let mut owners = HashMap::new();
        for entry in entries {
            story.take(entry, &mut owners);
        }
        Ok(story)
    }

    fn job(&mut self, id: &str) -> &mut Job {
        self.jobs.entry(id.to_owned()).or_default()
    }

    fn take(&mut self, entry: &Entry, owners: &mut HashMap<String, String>) {
        let Entry { at, pid, .. } = *entry;
        match &entry.event {
            Event::Invoke { job, kind, .. } => {
                let job = self.job(job);
                job.invoked = Some((at, *kind));
                job.told.get_or_insert(Told::Nothing);
            }
            Event::Enqueued { job } => self.job(job).told = Some(Told::Enqueued),
            Event::Rejected { job } => self.job(job).told = Some(Told::Rejected),
            Event::Unknown { job } => self.job(job).told = Some(Told::Unknown),
            Event::Entered { job, .. } => self.job(job).entered += 1,
            Event::Start { job, run, intact, .. } => {
                let for_suspects = self.processes.get(&pid).is_some_and(|it| it.for_suspects);
                let job = self.jobs.entry(job.clone()).or_default();
                if job.invoked.is_some_and(|(_, kind)| kind == Kind::Block) {
                    self.processes.entry(pid).or_default().blocked = Some(at);
                }
                let run = Run {
                    worker: pid,
                    run: *run,
                    intact: *intact,
                    start: at,
                    end: None,
                    delivery: job.take_delivery(pid, for_suspects, at),
                };
                job.runs.push(run);
            }
            Event::Finish { job, run, end } => {
                self.job(job).end(pid, *run, at, Ended::Finished(*end));
            }
            Event::Cancelled { job, run } => self.job(job).end(pid, *run, at, Ended::Cancelled),
            Event::Wire(wire) => self.wire(at, wire, owners),
            Event::Signal { worker, signal } => {
                let process = self.processes.entry(*worker).or_default();
                match signal {
                    Signal::Term => process.asked = process.asked.or(Some(at)),
                    Signal::Kill => process.killed = process.killed.or(Some(at)),
                    Signal::Stop => process.stopped = Some(at),
                    Signal::Cont => {}
                }
            }
            Event::Exited { worker, .. } => {
                self.processes.entry(*worker).or_default().exited = Some(at);
                for run in self.jobs.values_mut().flat_map(|job| &mut job.runs) {
                    if run.worker == *worker && run.end.is_none() {
                        run.end = Some((at, Ended::Died));
                    }
                }
            }
            Event::Quiet => self.quiet = Some(at),
            Event::Drained => self.drained = Some(at),
            Event::Remains { job: Some(job) } => self.job(job).remains = true,
            Event::Remains { job: None } => self.strangers += 1,
            Event::Poisoned { job, reason, intact } => {
                self.job(job).poison.push((*reason, *intact));
            }
            Event::Leaked { secret, file } => self.leaks.push(format!("{secret} in {file}")),
            Event::Supervisor { why } => self.supervisors.push(why.clone()),
            Event::Spawned { worker, process, .. } => {
                self.processes.entry(*worker).or_default().for_suspects = process == SUSPECTS;
            }
            Event::Left { .. } | Event::Run { .. } | Event::End => {}
        }
    }

    fn wire(&mut self, at: Micros, wire: &Wire, owners: &mut HashMap<String, String>) {
        if let Some(fault) = &wire.fault {
            *self.faults.entry(fault.clone()).or_default() += 1;
        }
        let lease = self.rules.lease_ms;
        let processes = &self.processes;
        let lost = !wire.answered || wire.fault.is_some() || at.saturating_sub(wire.sent) > SLOW;
        for seen in &wire.messages {
            let (Some(id), body) = (&seen.id, &seen.body) else { continue };
            let job = match body {
                Some(body) => body.job.clone(),
                None => match owners.get(id) {
                    Some(job) => job.clone(),
                    None => continue,
                },
            };
            owners.insert(id.clone(), job.clone());
            let job = self.jobs.entry(job).or_default();
            if lost {
                job.struck = Some(at);
            }
            if !wire.applied() {
                continue;
            }
            job.lost_answers += u32::from(lost);
            if wire.queue != QUEUE {
                if wire.op == Op::Send {
                    job.copied.push(at);
                    job.unfenced |= job.messages.values().all(|message| message.fenced.is_none());
                }
                continue;
            }
            let mut overcharges = None;
            let message = job.messages.entry(id.clone()).or_default();
            match wire.op {
                Op::Send => {}
                Op::Receive => {
                    let count = seen.count.unwrap_or_default();
                    if message.last == Last::Held {
                        let before = message.deliveries.last();
                        let struck = before.is_none_or(|before| {
                            !before.answered || job.struck.is_some_and(|it| it >= before.at)
                        });
                        let holder = before.and_then(|it| Some((it, processes.get(&it.worker)?)));
                        // One that was handed over, and not touched since.
                        let handed = |before: &Delivery| {
                            let mut all = processes.values().filter(|it| it.for_suspects);
                            all.any(|it| it.gone_since(before.at))
                        };
                        let known = struck
                            || holder.is_some_and(|(it, process)| process.lets_go(it.at))
                            || before.is_some_and(|it| message.suspected > 0 && handed(it));
                        message.unexplained += u32::from(!known);
                        message.expired.insert(count);
                        if message.mark == Mark::Started {
                            message.suspected += 1;
                            message.framed = struck
                                || holder.is_none_or(|(it, process)| process.is_framed(it.at));
                        }
                    }
                    message.last = Last::Held;
                    message.deliveries.push(Delivery {
                        at,
                        worker: wire.worker,
                        count,
                        answered: wire.answered,
                        run: false,
                        settled: None,
                    });
                }
                Op::Update => {
                    let hidden = wire.hidden_ms.unwrap_or_default();
                    if let Some(last) = message.deliveries.last_mut()
                        && processes.get(&wire.worker).is_some_and(|it| it.for_suspects)
                    {
                        last.worker = wire.worker;
                    }
                    if let Some(body) = body {
                        overcharges = Some((body.failed, body.crashed));
                        message.mark = body.mark;
                        message.give_backs += u32::from(body.given_back > message.given_back);
                        message.given_back = body.given_back;
                        if body.mark == Mark::Fenced {
                            message.fenced.get_or_insert(at);
                        }
                    }
                    let holds = match body {
                        Some(body) => matches!(body.mark, Mark::Started | Mark::Fenced),
                        None => hidden == lease,
                    };
                    if holds {
                        message.last = Last::Held;
                    } else {
                        message.last = Last::PutOff;
                        message.put_offs += 1;
                        message.give_backs += u32::from(body.is_none());
                        message.settle(at);
                        self.longest_put_off = self.longest_put_off.max(hidden * 1_000);
                    }
                }
                Op::Delete => {
                    message.deleted.get_or_insert((wire.sent, at));
                    message.settle(at);
                }
                Op::Other => {}
            }
            if let Some((failed, crashed)) = overcharges {
                let suspected = job.sum(|message| message.suspected);
                job.overcharged |= failed > job.failures() || crashed > suspected;
            }
        }
    }

    /// For each job that a kill took from its worker: how long until it was delivered again.
    pub(super) fn recoveries(&self) -> Vec<Micros> {
        let mut recoveries = Vec::new();
        let killed = |worker: u32| self.processes.get(&worker).and_then(|process| process.killed);
        for message in self.jobs.values().flat_map(|job| job.messages.values()) {
            for (index, held) in message.deliveries.iter().enumerate() {
                let Some(at) = killed(held.worker) else { continue };
                let next = message.deliveries[index + 1..].iter().find(|next| next.answered);
                let Some(next) = next else { continue };
                let was_held = held.answered && held.at < at && next.at > at;
                if was_held && held.settled.is_none_or(|settled| settled > at) {
                    recoveries.push(next.at - at);
                }
            }
        }
        recoveries.sort_unstable();
        recoveries
    }

    /// By when the queue has to be empty. Suspects run one after the other.
    pub(super) fn drain_limit(&self) -> Micros {
        let lane = self.jobs.values().flat_map(|job| &job.runs).filter_map(|run| {
            let alone = self.processes.get(&run.worker).is_some_and(|it| it.for_suspects);
            let (end, _) = run.end.filter(|_| alone)?;
            Some(end.saturating_sub(run.start.max(self.quiet?)))
        });
        self.rules.lease_ms * 1_000 + self.longest_put_off + 60 * SECOND + lane.sum::<Micros>()
    }
}

impl Job {
    /// The delivery that a run in that process must be of. Each has one run at most.
    fn take_delivery(
        &mut self,
        worker: u32,
        handed_over: bool,
        before: Micros,
    ) -> Option<(String, u32)> {
        let latest = self
            .messages
            .iter_mut()
            .flat_map(|(id, message)| message.deliveries.iter_mut().map(move |it| (id, it)))
            .filter(|(_, it)| it.worker == worker || handed_over)
            .filter(|(_, it)| it.answered && !it.run && it.at <= before)
            .max_by_key(|(_, it)| it.at);
        let (id, delivery) = latest?;
        delivery.run = true;
        delivery.worker = worker;
        Some((id.clone(), delivery.count))
    }

    fn end(&mut self, worker: u32, run: u64, at: Micros, ended: Ended) {
        let found = self.runs.iter_mut().find(|own| own.worker == worker && own.run == run);
        if let Some(found) = found {
            found.end.get_or_insert((at, ended));
        }
    }
}

impl Message {
    fn settle(&mut self, at: Micros) {
        if let Some(last) = self.deliveries.last_mut() {
            last.settled.get_or_insert(at);
        }
    }
}
