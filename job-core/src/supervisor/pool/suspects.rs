//! Where suspects go: jobs that may take their process with them run in one of their own, one at a
//! time. Here is who may hand one over, and what became of them.

use std::time::Duration;

use tokio::time::Instant;

use super::{Id, Member, Pool};
use crate::supervisor::child::Order;
use crate::supervisor::wire::{Down, Mark, SUSPECTS, Suspect};
use crate::telemetry::events;
use crate::worker::{CLAIM_LIMIT, Fate};

/// By how much a process may be late in what it tells.
pub(super) const MARGIN: Duration = Duration::from_secs(10);

/// Where suspects are handed over: one at a time.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) claim: Option<Claim>,
    last: u64,
    pub(super) idle_since: Option<Instant>,
}

pub(super) struct Claim {
    from: Id,
    /// Its number there.
    number: u64,
    phase: Phase,
    /// When it is done with, or hangs.
    hangs_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The process for suspects is starting.
    Waiting,
    Granted,
    /// It runs there, under that number.
    Running(u64),
}

impl Pool {
    /// Somebody has a suspect.
    pub(super) fn claim(&mut self, id: Id, number: u64) {
        let at = self.places.len() - 1;
        let resting = self.places[at].keep_until.is_some_and(|until| Instant::now() < until);
        let ending = self.places[at].current.and_then(|id| self.members.get(&id));
        let ending = ending.is_some_and(|member| member.ending);
        if self.desk.claim.is_some() || self.stopping || resting || ending {
            if let Some(member) = self.members.get(&id) {
                member.tell(Down::Claimed { claim: number, granted: false });
            }
            return;
        }
        // Whoever claims withdraws before that, unless it hangs itself.
        let hangs_at = Some(Instant::now() + CLAIM_LIMIT + MARGIN);
        self.desk.claim = Some(Claim { from: id, number, phase: Phase::Waiting, hangs_at });
        self.desk.idle_since = None;
        if self.places[at].current.is_none() && self.start(at).is_none() {
            self.answer(false);
            self.desk.free();
            return;
        }
        self.grant();
    }

    /// Answers who waits, once the process for suspects is ready.
    pub(super) fn grant(&mut self) {
        let ready = self.suspects().is_some_and(|member| member.serving && !member.ending);
        if ready && self.desk.claim.as_ref().is_some_and(|claim| claim.phase == Phase::Waiting) {
            self.answer(true);
        }
    }

    fn answer(&mut self, granted: bool) {
        let Some(claim) = &mut self.desk.claim else { return };
        if granted {
            claim.phase = Phase::Granted;
        }
        if let Some(member) = self.members.get(&claim.from) {
            member.tell(Down::Claimed { claim: claim.number, granted });
        }
    }

    pub(super) fn hand_over(&mut self, id: Id, number: u64, suspect: Suspect) {
        let Some(claim) = &mut self.desk.claim else { return };
        if (claim.from, claim.number, claim.phase) != (id, number, Phase::Granted) {
            return;
        }
        self.desk.last += 1;
        let running = self.desk.last;
        claim.phase = Phase::Running(running);
        // It is marked before its lease ends, or given up.
        claim.hangs_at = Some(Instant::now() + suspect.left() + MARGIN);
        self.report.suspects += 1;
        if let Some(member) = self.suspects() {
            member.tell(Down::Suspect { claim: running, suspect });
        }
    }

    /// A process is about to mark a start.
    pub(super) fn marked(&mut self, id: Id, mark: Mark, within_millis: u64) {
        let over_at = Instant::now() + Duration::from_millis(within_millis) + MARGIN;
        let Some(member) = self.members.get_mut(&id) else { return };
        member.open.insert(mark, over_at);
        if self.places[member.place].name == SUSPECTS
            && let Some(claim) = &mut self.desk.claim
            && matches!(claim.phase, Phase::Running(_))
        {
            claim.hangs_at = Some(over_at);
        }
    }

    /// A marked start is over.
    pub(super) fn over(&mut self, id: Id, mark: Mark, survived: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            member.open.remove(&mark);
        }
        if survived {
            self.survived.remember(mark);
        }
    }

    /// What became of a marked start. A process that died has said before what it knew: its death is
    /// heard of last.
    pub(super) fn fate(&self, mark: &Mark) -> Fate {
        let now = Instant::now();
        let is_open = |member: &Member| member.open.get(mark).is_some_and(|over_at| now < *over_at);
        if self.members.values().any(is_open) {
            Fate::Open
        } else if self.survived.contains(mark) {
            Fate::Survived
        } else {
            Fate::Unknown
        }
    }

    /// Kills the process for suspects if its job hangs, and forgets who has claimed it and does not
    /// come: others wait for their turn.
    pub(super) fn end_what_hangs(&mut self, now: Instant) {
        if self.desk.hangs_at().is_none_or(|at| now < at) {
            return;
        }
        let Some(claim) = &mut self.desk.claim else { return };
        claim.hangs_at = None;
        if !matches!(claim.phase, Phase::Running(_)) {
            self.answer(false);
            return self.desk.free();
        }
        match self.suspects() {
            Some(member) => {
                events::suspect_hangs(member.pid);
                let _ = member.orders.send(Order::KillAt(now));
            }
            None => self.desk.free(),
        }
    }

    fn suspects(&self) -> Option<&Member> {
        self.members.get(&self.places.last()?.current?)
    }

    pub(super) fn withdraw(&mut self, id: Id, number: u64) {
        if self.desk.claim.as_ref().is_some_and(|it| {
            it.from == id && it.number == number && !matches!(it.phase, Phase::Running(_))
        }) {
            self.desk.free();
        }
    }

    /// The process for suspects is done with that one.
    pub(super) fn done(&mut self, number: u64) {
        if self.desk.claim.as_ref().is_some_and(|it| it.phase == Phase::Running(number)) {
            self.desk.free();
        }
    }

    /// A process is gone: the one for suspects, or another that may have had one to hand over.
    pub(super) fn release_desk(&mut self, id: Id, suspects: bool) {
        if let Some(claim) = &self.desk.claim {
            match claim.phase {
                Phase::Waiting if suspects => {
                    self.answer(false);
                    self.desk.free();
                }
                // Whoever has it is told by nobody; it comes again when its lease ends.
                Phase::Granted | Phase::Running(_) if suspects => self.desk.free(),
                Phase::Waiting | Phase::Granted if claim.from == id => self.desk.free(),
                _ => {}
            }
        }
    }
}

impl Desk {
    pub(super) fn hangs_at(&self) -> Option<Instant> {
        self.claim.as_ref()?.hangs_at
    }

    fn free(&mut self) {
        self.claim = None;
        self.idle_since = Some(Instant::now());
    }
}
