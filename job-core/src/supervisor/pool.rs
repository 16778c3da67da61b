//! The supervisor itself: all its processes, and what becomes of them.

mod suspects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::suspects::Desk;
use super::child::{Event, Exit, Killed, Order, Program};
use super::handle::SupervisorHandle;
use super::report::{ProcessState, ProcessStatus, SupervisorError, SupervisorReport, words};
use super::slot::{Life, Next, Past};
use super::wire::{Down, Mark, SUSPECTS, Up};
use super::{AFTER_GRACE, DEFAULT_GRACE, Settings};
use crate::Report;
use crate::telemetry::{events, processes};
use crate::worker::{Recent, Signals};

/// The process for suspects ends when it had nothing to do for so long.
const SUSPECTS_IDLE: Duration = Duration::from_secs(60);

/// How often to say that a process that was replaced finishes its jobs still: no time ends that.
const REMIND: Duration = Duration::from_secs(600);

type Id = u64;

/// All processes of a supervisor.
pub(super) struct Pool {
    program: Program,
    settings: Settings,
    handle: SupervisorHandle,
    /// One for each process that runs jobs; the last is for suspects.
    places: Vec<Place>,
    members: BTreeMap<Id, Member>,
    last_id: Id,
    desk: Desk,
    /// The starts that processes have told to be survived, where their messages do not say so.
    survived: Recent<Mark>,
    tell: UnboundedSender<(Id, Event)>,
    events: UnboundedReceiver<(Id, Event)>,
    tasks: JoinSet<()>,
    stopping: bool,
    signalled: bool,
    report: SupervisorReport,
    failure: Option<Failure>,
}

/// Where one process is, and another one after it.
#[derive(Default)]
struct Place {
    name: String,
    current: Option<Id>,
    /// It is to take the current one's place.
    successor: Option<Id>,
    past: Past,
    start_at: Option<Instant>,
    /// It is not replaced before then: a successor died or could not be started, or would be as
    /// large as it is.
    keep_until: Option<Instant>,
    started: u64,
    last_exit: Option<String>,
    /// Of those that are gone.
    jobs: Report,
}

/// A process.
struct Member {
    place: usize,
    pid: Option<u32>,
    orders: UnboundedSender<Order>,
    started: Instant,
    serving: bool,
    /// It was asked to end.
    ending: bool,
    /// When to say that it finishes its jobs still.
    remind_at: Option<Instant>,
    grace: Option<Duration>,
    /// It was over its limit of memory soon after its start.
    too_large: bool,
    /// The starts that it has marked and not told to be over, and by when they are, or hang.
    open: BTreeMap<Mark, Instant>,
    jobs: Report,
    /// What it said when it ended.
    ended: Option<Option<String>>,
}

struct Failure {
    process: String,
    deaths: u32,
    last_exit: String,
}

impl Member {
    fn tell(&self, down: Down) {
        let _ = self.orders.send(Order::Tell(down));
    }

    /// Within its grace time, and then by force.
    fn drain(&mut self, now: Instant) {
        self.ending = true;
        self.remind_at = None;
        self.tell(Down::Drain);
        let grace = self.grace.unwrap_or(DEFAULT_GRACE);
        let _ = self.orders.send(Order::KillAt(now + grace + AFTER_GRACE));
    }

    /// When its jobs are done, however long they take: none is given back.
    fn retire(&mut self, now: Instant) {
        self.ending = true;
        self.remind_at = Some(now + REMIND);
        self.tell(Down::Retire);
    }
}

impl Pool {
    pub(super) fn new(program: Program, settings: Settings, handle: SupervisorHandle) -> Self {
        let names = (1..=settings.processes).map(|n| n.to_string());
        let names = names.chain([SUSPECTS.to_owned()]);
        let (tell, events) = unbounded_channel();
        Self {
            program,
            settings,
            handle,
            places: names.map(|name| Place { name, ..Place::default() }).collect(),
            members: BTreeMap::new(),
            last_id: 0,
            desk: Desk::default(),
            survived: Recent::default(),
            tell,
            events,
            tasks: JoinSet::new(),
            stopping: false,
            signalled: false,
            report: SupervisorReport::default(),
            failure: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut signals: Signals,
    ) -> Result<SupervisorReport, SupervisorError> {
        processes::announce();
        let (stop, skip) = (self.handle.stop.clone(), self.handle.now.clone());
        for place in 0..self.settings.processes {
            self.start(place);
        }
        let mut hurried = false;
        while !(self.stopping && self.members.is_empty()) {
            self.publish();
            let wake = self.wake_at();
            let wake = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.stopping => self.stop(),
                () = skip.cancelled(), if !hurried => {
                    hurried = true;
                    self.hurry();
                }
                () = signals.next() => self.signal(),
                Some((id, event)) = self.events.recv() => self.on(id, event),
                () = wake => self.on_time(),
            }
        }
        self.publish();
        let mut report = self.report;
        report.jobs = self.places.iter().fold(Report::default(), |sum, place| sum + place.jobs);
        events::supervisor_stopped(&report);
        match self.failure {
            None => Ok(report),
            Some(Failure { process, deaths, last_exit }) => Err(SupervisorError::CrashLoop {
                process,
                deaths,
                last_exit,
                report: Box::new(report),
            }),
        }
    }

    /// SIGTERM or ctrl-c. Only a second one is in a hurry: whoever sends the first need not know that
    /// a handle or a crash loop has stopped the supervisor already.
    fn signal(&mut self) {
        if self.signalled {
            self.handle.now.cancel();
        } else {
            self.signalled = true;
            events::shutting_down();
            self.handle.stop.cancel();
        }
    }

    /// All processes are to end.
    fn stop(&mut self) {
        self.stopping = true;
        events::supervisor_stopping(self.members.len());
        let now = Instant::now();
        for place in &mut self.places {
            place.start_at = None;
        }
        for member in self.members.values_mut() {
            member.drain(now);
        }
    }

    /// Without their grace time.
    fn hurry(&mut self) {
        for member in self.members.values() {
            member.tell(Down::Now);
            let _ = member.orders.send(Order::KillAt(Instant::now() + AFTER_GRACE));
        }
    }

    /// Starts a process, as the place's current one or the successor of it.
    fn start(&mut self, at: usize) -> Option<Id> {
        let place = &mut self.places[at];
        place.start_at = None;
        let started = match self.program.start(&place.name) {
            Ok(started) => started,
            // The one that there is goes on; it must not be stopped for want of a better one.
            Err(error) if place.current.is_some() => {
                let pause = self.settings.restarts.longest;
                place.keep_until = Some(Instant::now() + pause);
                events::process_not_replaced(&place.name, &error, pause);
                return None;
            }
            Err(error) => {
                events::process_not_started(&place.name, &error);
                let exit =
                    Exit { status: Err(format!("it cannot be started: {error}")), killed: None };
                let life = Life { lived: Duration::ZERO, served: false, useful: false };
                self.died(at, words(&exit, None), life);
                return None;
            }
        };
        place.started += 1;
        self.report.started += 1;
        self.last_id += 1;
        let id = self.last_id;
        let pid = started.pid();
        events::process_started(&place.name, pid);
        processes::started(&place.name);
        if place.current.is_none() {
            place.current = Some(id);
        } else {
            place.successor = Some(id);
        }
        let (orders, ordered) = unbounded_channel();
        let tell = self.tell.clone();
        let limits = self.settings.limits;
        self.tasks.spawn(started.watch(limits, ordered, move |event| {
            let _ = tell.send((id, event));
        }));
        self.members.insert(
            id,
            Member {
                place: at,
                pid,
                orders,
                started: Instant::now(),
                serving: false,
                ending: false,
                remind_at: None,
                grace: None,
                too_large: false,
                open: BTreeMap::new(),
                jobs: Report::default(),
                ended: None,
            },
        );
        Some(id)
    }

    fn on(&mut self, id: Id, event: Event) {
        match event {
            Event::Said(said) => self.hear(id, said),
            Event::OverMemory(resident) => {
                let limit = self.settings.limits.memory;
                if self.too_large_at_once(id, resident) {
                    return;
                }
                if self.recycle(id) {
                    self.report.recycled_for_memory += 1;
                    let member = &self.members[&id];
                    let process = &self.places[member.place].name;
                    events::process_too_large(process, member.pid, resident, limit);
                    processes::recycled(process, "memory");
                }
            }
            Event::Exited(exit) => self.exited(id, exit),
        }
    }

    /// A process over its limit so soon would have successors that are so, too, one after the
    /// other: it is kept for a while, and somebody is told.
    fn too_large_at_once(&mut self, id: Id, resident: u64) -> bool {
        let Settings { limits, restarts, .. } = self.settings;
        let Some(member) = self.members.get_mut(&id) else { return false };
        let place = &mut self.places[member.place];
        if member.too_large || member.started.elapsed() >= restarts.well || place.name == SUSPECTS {
            return false;
        }
        member.too_large = true;
        place.keep_until = Some(Instant::now() + restarts.longest);
        let (process, pid, kept) = (&place.name, member.pid, restarts.longest);
        events::process_too_large_at_once(process, pid, resident, limits.memory, kept);
        true
    }

    fn hear(&mut self, id: Id, said: Up) {
        let Some(member) = self.members.get_mut(&id) else { return };
        match said {
            Up::Alive(jobs) => {
                member.jobs = jobs;
                if self.settings.max_jobs.is_some_and(|most| jobs.started() >= most)
                    && self.recycle(id)
                {
                    self.report.recycled_for_jobs += 1;
                    let member = &self.members[&id];
                    let process = &self.places[member.place].name;
                    events::process_has_run_enough(process, member.pid, jobs.started());
                    processes::recycled(process, "jobs");
                }
            }
            Up::Serving { grace_millis } => {
                let grace = Duration::from_millis(grace_millis);
                member.grace = member.grace.max(Some(grace));
                member.serving = true;
                let at = member.place;
                if self.stopping {
                    // Its grace time was not known when it was asked to end.
                    let kill_at = Instant::now() + grace + AFTER_GRACE;
                    let _ = member.orders.send(Order::KillAt(kill_at));
                }
                self.succeed(at, id);
                self.grant();
            }
            Up::Claim { claim } => self.claim(id, claim),
            Up::Withdraw { claim } => self.withdraw(id, claim),
            Up::HandOver { claim, suspect } => self.hand_over(id, claim, suspect),
            Up::Done { claim } => self.done(claim),
            Up::Marked { mark, within_millis } => self.marked(id, mark, within_millis),
            Up::Over { mark, survived } => self.over(id, mark, survived),
            Up::Ask { question, mark } => {
                let fate = self.fate(&mark);
                if let Some(member) = self.members.get(&id) {
                    member.tell(Down::Answer { question, fate });
                }
            }
            Up::Ended { error, report } => {
                member.jobs = report;
                member.ended = Some(error);
            }
        }
    }

    /// A successor that has found its queues takes over.
    fn succeed(&mut self, at: usize, id: Id) {
        let place = &mut self.places[at];
        if place.successor != Some(id) {
            return;
        }
        place.successor = None;
        let before = place.current.replace(id);
        if let Some(before) = before.and_then(|id| self.members.get_mut(&id)) {
            events::process_succeeded(&place.name, before.pid);
            before.retire(Instant::now());
        }
    }

    /// Starts a successor, where there is to be one: one at a time, or all would be doubled.
    fn recycle(&mut self, id: Id) -> bool {
        let now = Instant::now();
        let Some(member) = self.members.get_mut(&id) else { return false };
        let at = member.place;
        if self.stopping || member.ending || !member.serving {
            return false;
        }
        if self.places[at].name == SUSPECTS {
            // It is started again when it is needed.
            let idle = self.desk.claim.is_none();
            if idle {
                // Nothing runs there: it needs no longer than its grace time.
                member.drain(now);
            }
            return idle;
        }
        if self.places.iter().any(|place| place.successor.is_some())
            || self.places[at].current != Some(id)
            || self.places[at].keep_until.is_some_and(|until| now < until)
        {
            return false;
        }
        self.start(at).is_some()
    }

    fn exited(&mut self, id: Id, exit: Exit) {
        let Some(member) = self.members.remove(&id) else { return };
        let Member { place: at, pid, started, serving, ending, jobs, ended, .. } = member;
        let place = &mut self.places[at];
        place.jobs = place.jobs + jobs;
        let clean = exit.status.as_ref().is_ok_and(|status| status.success());
        let text = words(&exit, ended.flatten().as_deref());
        match exit.killed {
            Some(Killed::Silent) => {
                self.report.killed_silent += 1;
                processes::killed(&place.name, "silent");
            }
            Some(Killed::Late) => {
                self.report.killed_late += 1;
                processes::killed(&place.name, "late");
            }
            None => {}
        }
        if clean {
            events::process_ended(&place.name, pid);
        } else {
            events::process_died(&place.name, pid, &text);
        }
        let asked = ending || self.stopping;
        if !asked && !clean {
            self.report.died += 1;
            processes::died(&place.name);
        }
        place.last_exit = Some(text.clone());

        let suspects = place.name == SUSPECTS;
        self.release_desk(id, suspects);

        let place = &mut self.places[at];
        if place.successor == Some(id) {
            place.successor = None;
            place.keep_until = Some(Instant::now() + self.settings.restarts.longest);
            return;
        }
        if place.current != Some(id) {
            return;
        }
        place.current = place.successor.take();
        if place.current.is_some() || asked {
            return;
        }
        // The process for suspects dies of its jobs, so there is no reason to wait.
        let useful = jobs.completed() > 0 || (suspects && serving);
        self.died(at, text, Life { lived: started.elapsed(), served: serving, useful });
    }

    /// A place is empty that should not be.
    fn died(&mut self, at: usize, exit: String, life: Life) {
        let now = Instant::now();
        let place = &mut self.places[at];
        let next = place.past.died(life, &self.settings.restarts, now);
        place.last_exit = Some(exit.clone());
        if self.stopping {
            return;
        }
        let suspects = place.name == SUSPECTS;
        match next {
            // It is started when there is something to do, but not before then.
            Next::StartAt(_) if suspects && life.useful => {}
            Next::StartAt(at) if suspects => place.keep_until = Some(at),
            // The others can go on without it, and it is tried for ever: what is wrong may end.
            Next::GiveUp if suspects => {
                let (deaths, pause) = (place.past.unserved, self.settings.restarts.longest);
                place.keep_until = Some(now + pause);
                events::suspects_not_started(deaths, &exit);
            }
            Next::StartAt(at) => {
                events::process_backing_off(&place.name, at - now);
                place.start_at = Some(at);
            }
            Next::GiveUp => {
                let deaths = place.past.unserved;
                events::process_given_up(&place.name, deaths, &exit);
                self.failure =
                    Some(Failure { process: place.name.clone(), deaths, last_exit: exit });
                self.handle.stop.cancel();
            }
        }
    }

    /// When there is something to do by itself.
    fn wake_at(&self) -> Option<Instant> {
        let starts = self.places.iter().filter_map(|place| place.start_at);
        let idle = self.desk.idle_since.map(|since| since + SUSPECTS_IDLE);
        let reminders = self.members.values().filter_map(|member| member.remind_at);
        let hung = self.desk.hangs_at();
        starts.chain(idle).chain(reminders).chain(hung).min()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        for at in 0..self.places.len() {
            if self.places[at].start_at.is_some_and(|start| start <= now) {
                self.start(at);
            }
        }
        for member in self.members.values_mut() {
            if member.remind_at.is_some_and(|at| at <= now) {
                member.remind_at = Some(now + REMIND);
                let process = &self.places[member.place].name;
                events::process_retires_long(process, member.pid, member.started.elapsed());
            }
        }
        self.end_what_hangs(now);
        if self.desk.idle_since.is_some_and(|since| since + SUSPECTS_IDLE <= now) {
            self.desk.idle_since = None;
            let current = self.places.last().and_then(|place| place.current);
            if let Some(member) = current.and_then(|id| self.members.get_mut(&id)) {
                member.drain(now);
            }
        }
    }

    /// Tells how the processes are.
    fn publish(&self) {
        // Of each place: what was done there, and who is there beside the current one.
        let mut there: Vec<_> = self.places.iter().map(|place| (place.jobs, Vec::new())).collect();
        for (id, member) in &self.members {
            let place = &self.places[member.place];
            let (jobs, retired) = &mut there[member.place];
            *jobs = *jobs + member.jobs;
            if ![place.current, place.successor].contains(&Some(*id)) {
                retired.push(member.pid);
            }
        }
        let mut states = Vec::new();
        for (place, (jobs, retired)) in self.places.iter().zip(there) {
            if place.name == SUSPECTS && place.started == 0 {
                continue;
            }
            let status = self.status(place, jobs);
            // What it did is in its successor's.
            let retired = retired.into_iter().map(|pid| ProcessStatus {
                state: ProcessState::Draining,
                pid,
                jobs: Report::default(),
                ..status.clone()
            });
            let retired: Vec<_> = retired.collect();
            states.push(status);
            states.extend(retired);
        }
        self.handle.states.send_if_modified(|before| {
            let changed = *before != states;
            if changed {
                *before = states;
            }
            changed
        });
    }

    fn status(&self, place: &Place, jobs: Report) -> ProcessStatus {
        let current = place.current.and_then(|id| self.members.get(&id));
        let state = match current {
            Some(member) if member.ending => ProcessState::Draining,
            Some(_) if place.successor.is_some() => ProcessState::Recycling,
            Some(member) if member.serving => ProcessState::Running,
            Some(_) => ProcessState::Starting,
            None if place.start_at.is_some() => ProcessState::BackingOff,
            None => ProcessState::Ended,
        };
        ProcessStatus {
            process: place.name.clone(),
            state,
            pid: current.and_then(|member| member.pid),
            restarts: place.started.saturating_sub(1),
            last_exit: place.last_exit.clone(),
            jobs,
        }
    }
}
