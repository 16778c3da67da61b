//! The history, told job by job.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{
    Body, End, Entry, Event, Mark, Micros, Op, Reason, Rules, SECOND, Seen, Signal, Wire,
};
use crate::jobs::{Kind, QUEUE};
use crate::worker::{HAD_TO_KILL, SUSPECTS};

/// An answer that takes longer than this may have come too late, faults or none.
const SLOW: Micros = 700_000;

/// A run that was cut off after this long may have been so by its timeout.
const TIMEOUT: Micros = 25 * SECOND;

/// How long a process is paused, or a thread of it blocked, at most.
const PAUSE: Micros = 12 * SECOND;

/// With so many crashes a job is a suspect: each of its starts is announced.
pub(super) const SUSPECT: u32 = 2;

/// How long a failed attempt waits at most, in milliseconds, by what the jobs say.
const LONGEST_BACKOFF: u64 = 3_000;

/// How long a job puts itself off, in milliseconds.
const SNOOZE: u64 = 2_000;

/// How long a worker puts off what it does not know, in milliseconds: longer each time.
const FIRST_PUT_BACK: u64 = 5_000;
const LONGEST_PUT_BACK: u64 = 15 * 60_000;

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
    /// Its number.
    n: u64,
    pub(super) told: Option<Told>,
    pub(super) runs: Vec<Run>,
    /// Calls of the stack around the handler.
    pub(super) entered: u32,
    pub(super) messages: BTreeMap<String, Message>,
    /// When copies for the poison queue were accepted.
    pub(super) copied: Vec<Micros>,
    pub(super) poison: Vec<(Reason, bool)>,
    pub(super) remains: bool,
    /// Requests that were carried out and not answered, or too late: when each was sent.
    unheard: BTreeSet<Micros>,
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
    /// It is a suspect's, and not alone in the process for suspects.
    pub(super) in_company: bool,
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
    /// A start of it is announced, and no delivery has found that yet.
    announced: bool,
    /// What happened to it last.
    last: Last,
    pub(super) fenced: Option<Micros>,
    pub(super) deleted: Option<(Micros, Micros)>,
    pub(super) give_backs: u32,
    /// How often it was put off as no suspect: its next start may not be announced.
    pub(super) put_offs: u32,
    /// As it was seen last.
    body: Body,
    /// The counts of deliveries that came because the lease of the one before had run out.
    pub(super) expired: BTreeSet<u32>,
    /// How many of those for no reason that can be seen.
    pub(super) unexplained: u32,
    /// How many of those since a process that ended in good order did not give it back.
    pub(super) kept: u32,
    /// How many of those found a start announced.
    pub(super) suspected: u32,
    /// Whether the last of these may have been the harness's doing.
    framed: bool,
    /// Or that of a request that was struck, after a delivery of that time. Its process knows, and
    /// tells its supervisor.
    witnessed: Option<Micros>,
    pub(super) deliveries: Vec<Delivery>,
    /// It was put off for longer than there is a reason for.
    pub(super) too_long: bool,
}

/// The entries in the order in which the service did what they tell of. They are written down as
/// requests end, and one that was begun before a receive's end, with the receipt that this made
/// worthless, and that was carried out, was so before it.
fn in_order(entries: &[Entry]) -> Vec<&Entry> {
    let mut received = HashMap::<&str, Vec<(usize, Micros)>>::new();
    let mut ordered: Vec<_> = (0..)
        .zip(entries)
        .map(|(at, entry)| {
            let mut place = (at, 1);
            if let Event::Wire(wire) = &entry.event
                && wire.applied()
            {
                for id in wire.messages.iter().filter_map(|seen| seen.id.as_deref()) {
                    let receives = received.entry(id).or_default();
                    if wire.op == Op::Receive {
                        receives.push((at, entry.at));
                    } else if let Some((before, _)) =
                        receives.iter().find(|(_, ended)| *ended > wire.sent)
                    {
                        place = (*before, 0);
                    }
                }
            }
            (place, entry)
        })
        .collect();
    ordered.sort_by_key(|(place, _)| *place);
    ordered.into_iter().map(|(_, entry)| entry).collect()
}

/// By message: when requests about it were under way that were struck, or slow.
fn struck(entries: &[Entry]) -> HashMap<String, Vec<(Micros, Micros)>> {
    let mut all = HashMap::<_, Vec<_>>::new();
    for Entry { at, event, .. } in entries {
        let Event::Wire(wire) = event else { continue };
        // A receive that is slow itself does not explain what it finds.
        if wire.op == Op::Receive {
            continue;
        }
        if wire.fault.is_some() || wire.is_lost(*at) {
            for id in wire.messages.iter().filter_map(|seen| seen.id.clone()) {
                all.entry(id).or_default().push((wire.sent, *at));
            }
        }
    }
    all
}

impl Wire {
    /// Whether nobody may have heard the answer to it in time.
    fn is_lost(&self, at: Micros) -> bool {
        let took = at.saturating_sub(self.sent) + self.delayed_ms.unwrap_or_default() * 1_000;
        !self.answered || took > SLOW
    }
}

impl Seen {
    /// The job that it is of, by its own account or as the message of that id.
    fn job(&self, owners: &HashMap<String, String>) -> Option<String> {
        let told = self.body.as_ref().map(|body| &body.job);
        told.or_else(|| owners.get(self.id.as_ref()?)).cloned()
    }
}

/// For how long a message may be hidden at most whose body changed in that way, in milliseconds. A
/// second's part is rounded up.
fn longest_put_off(earlier: &Body, body: &Body, lease: u64) -> Option<u64> {
    if body.failed > earlier.failed {
        Some(LONGEST_BACKOFF)
    } else if body.snoozed > earlier.snoozed {
        Some(SNOOZE)
    } else if body.put_back > earlier.put_back {
        let doublings = (body.put_back - 1).min(10);
        Some((FIRST_PUT_BACK << doublings).min(LONGEST_PUT_BACK))
    } else if body.given_back > earlier.given_back {
        // A suspect waits until it can be handed over; at a shutdown nobody waits.
        Some(if body.crashed > 0 { lease } else { 0 })
    } else {
        None
    }
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

    /// Requests that were carried out, whose answer was lost or came too late.
    pub(super) fn lost_answers(&self) -> u32 {
        self.unheard.len() as u32
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
    /// Whether it ended so that it could give nothing back: under a job that takes it along, while
    /// a handler blocked one of its threads, or after the machine stood still.
    cut_off: bool,
    /// When it was paused last. If that was for long, its supervisor has killed it.
    stopped: Option<Micros>,
    /// When handlers began to block one of its threads.
    blocked: Vec<Micros>,
}

impl Process {
    /// Whether it could not keep the lease of a delivery of its own.
    fn lets_go(&self, delivery: &Delivery) -> bool {
        let from = delivery.at;
        self.cut_off
            || self.killed.is_some()
            || self.stopped.is_some_and(|stopped| stopped + PAUSE >= from)
            // What it receives meanwhile, it may not get to see in time. What it has seen, it
            // keeps: renewals have a thread of their own.
            || (!delivery.run && self.blocked.iter().any(|it| {
                (it.saturating_sub(SLOW)..it + PAUSE).contains(&from)
            }))
    }

    /// Whether it was killed or paused since then, so that nothing that it had is to blame. It may
    /// be asked to end: then it gives back what can be cancelled.
    fn is_framed(&self, from: Micros, kind: Option<Kind>) -> bool {
        let since = |at: Option<Micros>| at.is_some_and(|at| at + PAUSE >= from);
        let asked = kind == Some(Kind::Block) && since(self.asked);
        since(self.killed) || since(self.stopped) || asked
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
    /// When a supervisor was asked to end or killed, for another one to follow.
    successions: Vec<Micros>,
    /// When the machine stood still.
    still: Vec<(Micros, Micros)>,
    /// What supervisors did wrong.
    pub(super) supervisors: Vec<String>,
    /// Messages at the end that are no jobs.
    pub(super) strangers: u32,
    pub(super) faults: BTreeMap<String, u32>,
    /// When requests about a message were under way that were struck, or slow: one that began before
    /// a lease ran out may end after it.
    struck: HashMap<String, Vec<(Micros, Micros)>>,
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
            successions: Vec::new(),
            still: entries.iter().filter_map(still).collect(),
            supervisors: Vec::new(),
            strangers: 0,
            faults: BTreeMap::new(),
            struck: struck(entries),
        };
        let mut owners = HashMap::new();
        for entry in in_order(entries) {
            story.take(entry, &mut owners);
        }
        Ok(story)
    }

    fn job(&mut self, id: &str) -> &mut Job {
        self.jobs.entry(id.to_owned()).or_default()
    }

    fn is_running(&self, worker: u32) -> bool {
        let mut runs = self.jobs.values().flat_map(|job| &job.runs);
        runs.any(|run| run.worker == worker && run.end.is_none())
    }

    fn take(&mut self, entry: &Entry, owners: &mut HashMap<String, String>) {
        let Entry { at, pid, .. } = *entry;
        match &entry.event {
            Event::Invoke { job, kind, n } => {
                let job = self.job(job);
                job.invoked = Some((at, *kind));
                job.n = *n;
                job.told.get_or_insert(Told::Nothing);
            }
            Event::Enqueued { job } => self.job(job).told = Some(Told::Enqueued),
            Event::Rejected { job } => self.job(job).told = Some(Told::Rejected),
            Event::Unknown { job } => self.job(job).told = Some(Told::Unknown),
            Event::Entered { job, .. } => self.job(job).entered += 1,
            Event::Start { job, run, n, kind, intact, .. } => {
                let for_suspects = self.processes.get(&pid).is_some_and(|it| it.for_suspects);
                let in_company = for_suspects && self.is_running(pid);
                let ordinary = self.rules.suspects_alone && !for_suspects;
                let job = self.jobs.entry(job.clone()).or_default();
                if job.invoked.is_some_and(|(_, kind)| kind == Kind::Block) {
                    self.processes.entry(pid).or_default().blocked.push(at);
                }
                let delivery = job.take_delivery(pid, for_suspects, at);
                let is_suspect = delivery.as_ref().is_some_and(|(message, _)| {
                    job.messages.get(message).is_some_and(|it| it.body.crashed >= SUSPECT)
                });
                let run = Run {
                    worker: pid,
                    run: *run,
                    intact: *intact && job.is_of(*n, *kind),
                    start: at,
                    end: None,
                    delivery,
                    in_company: in_company || (ordinary && is_suspect),
                };
                job.runs.push(run);
            }
            Event::Finish { job, run, end } => {
                self.job(job).end(pid, *run, at, Ended::Finished(*end));
            }
            Event::Cancelled { job, run } => self.job(job).end(pid, *run, at, Ended::Cancelled),
            Event::Wire(wire) => self.wire(at, wire, owners),
            Event::Unheard(wire) => self.unheard(wire, owners),
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
                let asked = self.processes.get(worker).and_then(|process| process.asked);
                let grace = self.rules.grace_ms * 1_000;
                let late = asked
                    .is_some_and(|asked| at >= asked + grace && self.stood_still_in(asked, at));
                let process = self.processes.entry(*worker).or_default();
                process.exited = Some(at);
                // Its grace time passed and its supervisor killed it.
                process.cut_off |= late;
                for job in self.jobs.values_mut() {
                    let kind = job.invoked.map(|(_, kind)| kind);
                    for run in &mut job.runs {
                        if run.worker == *worker && run.end.is_none() {
                            run.end = Some((at, Ended::Died));
                            process.cut_off |=
                                kind.is_some_and(|it| it.is_deadly() || it == Kind::Block);
                        }
                    }
                }
            }
            Event::Quiet => self.quiet = Some(at),
            Event::Drained => self.drained = Some(at),
            Event::Remains { job: Some(job) } => self.job(job).remains = true,
            Event::Remains { job: None } => self.strangers += 1,
            Event::Poisoned { job, reason, n, kind, intact } => {
                let job = self.job(job);
                let intact = *intact && n.zip(*kind).is_some_and(|(n, kind)| job.is_of(n, kind));
                job.poison.push((*reason, intact));
            }
            Event::Leaked { secret, file } => self.leaks.push(format!("{secret} in {file}")),
            Event::Succession => self.successions.push(at),
            Event::Supervisor { why } => {
                let ending = at.saturating_sub(self.rules.grace_ms * 1_000 + 4 * SECOND);
                let late = why.starts_with(HAD_TO_KILL) && self.stood_still_in(ending, at);
                if !late {
                    self.supervisors.push(why.clone());
                }
            }
            Event::Spawned { worker, process, .. } => {
                self.processes.entry(*worker).or_default().for_suspects = process == SUSPECTS;
            }
            Event::Left { .. } | Event::Run { .. } | Event::StoodStill { .. } | Event::End => {}
        }
    }

    fn unheard(&mut self, wire: &Wire, owners: &HashMap<String, String>) {
        for seen in wire.applied().then_some(&wire.messages).into_iter().flatten() {
            if let Some(job) = seen.job(owners) {
                self.job(&job).unheard.insert(wire.sent);
            }
        }
    }

    fn wire(&mut self, at: Micros, wire: &Wire, owners: &mut HashMap<String, String>) {
        if let Some(fault) = &wire.fault {
            *self.faults.entry(fault.clone()).or_default() += 1;
        }
        let Rules { lease_ms: lease, .. } = self.rules;
        let processes = &self.processes;
        let lost = wire.is_lost(at);
        for seen in &wire.messages {
            let (Some(id), body) = (&seen.id, &seen.body) else { continue };
            let Some(job) = seen.job(owners) else { continue };
            owners.insert(id.clone(), job.clone());
            let job = self.jobs.entry(job).or_default();
            let struck_before = job.struck;
            if lost || wire.fault.is_some() {
                job.struck = Some(at);
            }
            if !wire.applied() {
                continue;
            }
            if lost {
                job.unheard.insert(wire.sent);
            }
            if wire.queue != QUEUE {
                if wire.op == Op::Send {
                    job.copied.push(at);
                    job.unfenced |= job.messages.values().all(|message| message.fenced.is_none());
                }
                continue;
            }
            let mut overcharges = None;
            let kind = job.invoked.map(|(_, kind)| kind);
            let message = job.messages.entry(id.clone()).or_default();
            let earlier = message.body.clone();
            message.body = body.clone().unwrap_or_else(|| earlier.clone());
            match wire.op {
                Op::Send => {}
                Op::Receive => {
                    let count = seen.count.unwrap_or_default();
                    if message.last == Last::Held {
                        let before = message.deliveries.last();
                        let since = |from| {
                            let mut all = self.struck.get(id).into_iter().flatten();
                            all.any(|(sent, ended)| *ended >= from && *sent <= at)
                        };
                        let struck = before.is_none_or(|before| {
                            let earlier = struck_before.is_some_and(|it| it >= before.at);
                            // What was to renew it stood still, too, for longer than a renewal
                            // is early.
                            let lately = before.at.max(at.saturating_sub(2_000 * lease));
                            let moved = took(&self.still, lately, at);
                            let still = at - lately - moved >= 500 * lease;
                            !before.answered || earlier || since(before.at) || still
                        });
                        let holder = before.and_then(|it| Some((it, processes.get(&it.worker)?)));
                        // One that was handed over, and not touched since.
                        let handed = |before: &Delivery| {
                            let mut all = processes.values().filter(|it| it.for_suspects);
                            all.any(|it| it.gone_since(before.at))
                        };
                        let known = struck
                            || holder.is_some_and(|(it, process)| process.lets_go(it))
                            || before
                                .is_some_and(|it| message.suspected > 0 && !it.run && handed(it));
                        // In good order, or it would be known.
                        let ended = holder.is_some_and(|(_, process)| process.exited.is_some());
                        message.kept += u32::from(!known && ended);
                        message.unexplained += u32::from(!known && !ended);
                        message.expired.insert(count);
                        // Whoever did not hear of its delivery has started nothing.
                        if std::mem::take(&mut message.announced) {
                            message.suspected += 1;
                            message.framed =
                                holder.is_none_or(|(it, process)| process.is_framed(it.at, kind));
                            message.witnessed = before.map(|it| it.at).filter(|_| struck);
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
                        message.announced = body.mark == Mark::Started;
                        message.give_backs += u32::from(body.given_back > earlier.given_back);
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
                        message.put_offs += u32::from(message.body.crashed < SUSPECT);
                        message.give_backs += u32::from(body.is_none());
                        message.settle(at);
                        if let Some(most) = longest_put_off(&earlier, &message.body, lease) {
                            message.too_long |= hidden > most;
                            self.longest_put_off = self.longest_put_off.max(most * 1_000);
                        }
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

    /// Whether the last start of it that was open may have been so for another reason than its own.
    pub(super) fn is_framed(&self, message: &Message) -> bool {
        // What a supervisor was told ends with it.
        let forgotten = |from| {
            let until = message.fenced.unwrap_or(Micros::MAX);
            self.successions.iter().any(|at| (from..until).contains(at))
        };
        message.framed || message.witnessed.is_some_and(forgotten)
    }

    /// For how long in all.
    pub(super) fn stood_still(&self) -> Micros {
        self.still.iter().map(|(began, ended)| ended - began).sum()
    }

    fn stood_still_in(&self, from: Micros, to: Micros) -> bool {
        self.took(from, to) < to.saturating_sub(from)
    }

    /// How long that took, without what nobody could have done anything in.
    pub(super) fn took(&self, from: Micros, to: Micros) -> Micros {
        took(&self.still, from, to)
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
                    recoveries.push(self.took(at, next.at));
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

fn took(still: &[(Micros, Micros)], from: Micros, to: Micros) -> Micros {
    let overlap =
        |(began, ended): &(Micros, Micros)| to.min(*ended).saturating_sub(from.max(*began));
    to.saturating_sub(from) - still.iter().map(overlap).sum::<Micros>()
}

fn still(entry: &Entry) -> Option<(Micros, Micros)> {
    match entry.event {
        Event::StoodStill { micros } => Some((entry.at.saturating_sub(micros), entry.at)),
        _ => None,
    }
}

impl Job {
    /// Whether that is what was sent. What was never sent is told of elsewhere.
    fn is_of(&self, n: u64, kind: Kind) -> bool {
        self.invoked.is_none_or(|(_, own)| own == kind && self.n == n)
    }

    /// The delivery that a run in that process must be of. Each has one run at most.
    fn take_delivery(
        &mut self,
        worker: u32,
        handed_over: bool,
        before: Micros,
    ) -> Option<(String, u32)> {
        // Which of two messages it is of, nobody can tell: it may be the one that is settled. Most
        // likely it is one that is not in poison yet, and whose start was announced.
        let twins = self.messages.len() > 1;
        let latest = self
            .messages
            .iter_mut()
            .flat_map(|(id, message)| {
                let likely = (message.fenced.is_none(), message.announced);
                message.deliveries.iter_mut().map(move |it| (id, likely, it))
            })
            .filter(|(_, _, it)| it.worker == worker || handed_over)
            .filter(|(_, _, it)| it.answered && !it.run && it.at <= before)
            .filter(|(_, _, it)| twins || it.settled.is_none())
            .max_by_key(|(_, likely, it)| (it.settled.is_none(), *likely, it.at));
        let (id, _, delivery) = latest?;
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
