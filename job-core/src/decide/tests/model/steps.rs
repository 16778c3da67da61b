//! What can happen next, and what comes of it.
//!
//! A worker does what `worker/slot.rs` and `worker/settle.rs` do, a request at a time; between any
//! two requests it may be killed, its lease may run out, and its keeper may renew.

use super::Protocol;
use super::mutants::Mutant;
use super::oracle::{Body, Delivered, End, Plan, Question};
use super::state::{
    Breach, Copied, Lease, MESSAGES, Message, Phase, Place, State, WORKERS, Worker,
};
use crate::PoisonReason;
use crate::envelope::PoisonState;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Enqueue {
        job: u8,
        wire: Wire,
    },
    Receive {
        worker: u8,
        message: u8,
        by: By,
    },
    Request {
        worker: u8,
        wire: Wire,
    },
    GiveUp {
        worker: u8,
    },
    Start {
        worker: u8,
    },
    StopBeforeStart {
        worker: u8,
    },
    /// A suspect, to the worker for them; or that is busy, or does not answer.
    HandOver {
        worker: u8,
    },
    PlaceIsTaken {
        worker: u8,
    },
    Finish {
        worker: u8,
        end: End,
    },
    Kill {
        worker: u8,
    },
    NoticeLoss {
        worker: u8,
    },
    /// To settle takes so long that the start is told to be survived.
    Believe {
        worker: u8,
    },
    Crash {
        worker: u8,
    },
    Renew {
        worker: u8,
    },
    RenewalAnswered {
        worker: u8,
    },
    RenewalAnswerLost {
        worker: u8,
    },
    DelayOver {
        message: u8,
    },
    LeaseOver {
        message: u8,
    },
    Replay {
        copy: u8,
        wire: Wire,
    },
    ReplayDeletes {
        copy: u8,
    },
    ReplayCrashes {
        copy: u8,
    },
    Repost {
        message: u8,
    },
}

/// What the wire does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wire {
    Works,
    LosesRequest,
    LosesResponse,
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum By {
    /// A worker that knows the job.
    Known,
    /// One that does not, amid a deploy.
    Stranger,
    /// One that is asked to stop at that moment.
    Stopping,
    /// Nobody: the answer is lost.
    Nobody,
}

/// The worker for suspects, where there is one.
const APART: usize = 1;

/// What became of a marked start.
enum Fate {
    Survived,
    Open,
    Unknown,
}

const ENDS: [End; 6] =
    [End::Done, End::Retry, End::Permanent, End::Discard, End::Snooze, End::GivenBack];

impl Protocol {
    pub(super) fn enabled(&self, s: &State, actions: &mut Vec<Action>) {
        let left = s.left;
        for job in 0..self.setup.jobs {
            if !s.jobs[usize::from(job)].acknowledged && s.has_room() {
                actions.push(Action::Enqueue { job, wire: Wire::Works });
                if left.lost_responses > 0 {
                    actions.push(Action::Enqueue { job, wire: Wire::LosesResponse });
                }
            }
        }
        for (at, message) in (0..).zip(&s.queue) {
            if let Some(message) = message {
                self.enabled_of_message(s, at, message, actions);
            }
        }
        for at in 0..WORKERS {
            self.enabled_of_worker(s, at, actions);
        }
        for (copy, copied) in (0..).zip(&s.poison) {
            match copied {
                Some(Copied { sent_back: true, .. }) => {
                    actions.push(Action::ReplayDeletes { copy });
                    if left.crashes > 0 {
                        actions.push(Action::ReplayCrashes { copy });
                    }
                }
                Some(_) if left.replays > 0 && s.has_room() => {
                    actions.push(Action::Replay { copy, wire: Wire::Works });
                    if left.lost_responses > 0 {
                        actions.push(Action::Replay { copy, wire: Wire::LosesResponse });
                    }
                }
                _ => {}
            }
        }
    }

    fn enabled_of_message(&self, s: &State, at: u8, message: &Message, actions: &mut Vec<Action>) {
        let left = s.left;
        match message.place {
            Place::Delayed => actions.push(Action::DelayOver { message: at }),
            Place::Leased if message.holder.is_none() || left.expiries > 0 => {
                actions.push(Action::LeaseOver { message: at });
            }
            Place::Leased => {}
            Place::Visible => {
                let receive = |worker: usize, by| Action::Receive {
                    worker: u8::try_from(worker).unwrap_or(u8::MAX),
                    message: at,
                    by,
                };
                let receivers = if self.setup.suspects_apart { APART } else { WORKERS };
                // It would be given back until that is over.
                if left.give_backs == 0 && self.is_open(s, usize::from(at), message.marked_in) {
                    return;
                }
                for worker in (0..receivers).filter(|worker| s.workers[*worker].is_idle()) {
                    actions.push(receive(worker, By::Known));
                    if left.strangers > 0 {
                        actions.push(receive(worker, By::Stranger));
                    }
                    if left.give_backs > 0 {
                        actions.push(receive(worker, By::Stopping));
                    }
                }
                if left.lost_responses > 0 {
                    actions.push(receive(0, By::Nobody));
                }
                if left.reposts > 0 && s.has_room() {
                    actions.push(Action::Repost { message: at });
                }
            }
        }
    }

    fn enabled_of_worker(&self, s: &State, at: usize, actions: &mut Vec<Action>) {
        let (w, left) = (&s.workers[at], s.left);
        let worker = u8::try_from(at).unwrap_or(u8::MAX);
        let is_lost = w.lapsed || w.lease == Lease::Lost;
        match w.phase {
            Phase::Idle => {
                if left.crashes > 0 && *w != Worker::IDLE {
                    actions.push(Action::Crash { worker });
                }
                return;
            }
            Phase::Ready if is_lost => actions.push(Action::NoticeLoss { worker }),
            Phase::Ready => {
                actions.push(Action::Start { worker });
                if w.marked && left.give_backs > 0 {
                    actions.push(Action::StopBeforeStart { worker });
                }
            }
            Phase::Running => {
                if is_lost {
                    actions.push(Action::NoticeLoss { worker });
                }
                let can_end = |end: &End| match end {
                    End::Snooze => left.snoozes > 0,
                    End::GivenBack => left.give_backs > 0,
                    end => self.setup.ends.contains(end),
                };
                let finish = |end| Action::Finish { worker, end };
                actions.extend(ENDS.into_iter().filter(can_end).map(finish));
                if self.setup.kills {
                    actions.push(Action::Kill { worker });
                }
            }
            // To settle waits for a renewal in flight, and so does to hand over.
            _ if self.awaits_renewal(w) => {}
            Phase::HandingOver(_) if is_lost => actions.push(Action::NoticeLoss { worker }),
            Phase::HandingOver(_) => {
                if s.workers[APART].is_idle() {
                    actions.push(Action::HandOver { worker });
                }
                if left.give_backs > 0 {
                    actions.push(Action::PlaceIsTaken { worker });
                }
            }
            _ => {
                let told = s.told[usize::from(w.delivered.message)];
                let is_told = told & (1 << w.delivered.count) != 0;
                // It may do so a moment after it has returned.
                let kills = self.setup.kills && self.setup.suspects_apart;
                if kills && w.marked && w.phase == Phase::Deleting && !is_told {
                    actions.push(Action::Kill { worker });
                }
                actions.push(Action::Request { worker, wire: Wire::Works });
                if !Self::is_refused_here(w) {
                    if left.lost_requests > 0 {
                        actions.push(Action::Request { worker, wire: Wire::LosesRequest });
                    }
                    if left.lost_responses > 0 {
                        actions.push(Action::Request { worker, wire: Wire::LosesResponse });
                    }
                    if w.uncertain || w.lapsed {
                        actions.push(Action::GiveUp { worker });
                    }
                    if self.setup.suspects_apart && w.marked && w.uncertain && !is_told {
                        actions.push(Action::Believe { worker });
                    }
                }
            }
        }
        if left.crashes > 0 {
            actions.push(Action::Crash { worker });
        }
        match w.lease {
            Lease::Held if left.renewals > 0 && self.is_kept(w) => {
                actions.push(Action::Renew { worker });
            }
            Lease::Renewing { .. } => {
                actions.push(Action::RenewalAnswered { worker });
                if left.lost_responses > 0 {
                    actions.push(Action::RenewalAnswerLost { worker });
                }
            }
            _ => {}
        }
    }

    /// Whether the receipt is in the book of leases, and not taken to settle.
    fn is_kept(&self, w: &Worker) -> bool {
        let settles = !matches!(
            w.phase,
            Phase::Ready | Phase::Running | Phase::Copying(_) | Phase::HandingOver(_)
        );
        !settles || self.is(Mutant::RenewAfterSettle)
    }

    fn awaits_renewal(&self, w: &Worker) -> bool {
        matches!(w.lease, Lease::Renewing { .. })
            && !matches!(w.phase, Phase::Copying(_))
            && !self.is(Mutant::RenewAfterSettle)
    }

    /// The book knows that the lease is lost: no request is made.
    fn is_refused_here(w: &Worker) -> bool {
        w.lease == Lease::Lost && !matches!(w.phase, Phase::Copying(_))
    }

    pub(super) fn take(&self, s: &mut State, action: Action) {
        match action {
            Action::Enqueue { job, wire } => {
                s.send(job, self.oracle.enqueued(job));
                match wire {
                    Wire::Works => s.jobs[usize::from(job)].acknowledged = true,
                    // The producer sends it again.
                    _ => s.left.lost_responses -= 1,
                }
            }
            Action::Receive { worker, message, by } => self.receive(s, worker, message, by),
            Action::Request { worker, wire } => self.request(s, usize::from(worker), wire),
            Action::GiveUp { worker } => self.give_up(s, usize::from(worker)),
            Action::Start { worker } => self.start(s, usize::from(worker)),
            Action::StopBeforeStart { worker } => {
                s.left.give_backs -= 1;
                let job = self.job(s, usize::from(worker));
                s.jobs[job].put_off += 1;
                let w = &mut s.workers[usize::from(worker)];
                self.follow(w, Question::Decide(End::GivenBack));
            }
            Action::HandOver { worker } => self.hand_over(s, usize::from(worker)),
            Action::PlaceIsTaken { worker } => {
                s.left.give_backs -= 1;
                let job = self.job(s, usize::from(worker));
                s.jobs[job].put_off += 1;
                let w = &mut s.workers[usize::from(worker)];
                if let Phase::HandingOver(body) = w.phase {
                    w.phase = match body {
                        Some(body) => Phase::Rewriting { body, ran: false },
                        None => Phase::Releasing,
                    };
                }
            }
            Action::Finish { worker, end } => self.finish(s, usize::from(worker), end),
            Action::Kill { worker } => {
                let job = self.job(s, usize::from(worker));
                s.jobs[job].kills += 1;
                self.crash(s, usize::from(worker));
            }
            Action::Believe { worker } => self.survives(s, usize::from(worker)),
            Action::NoticeLoss { worker } => {
                if s.workers[usize::from(worker)].marked {
                    self.survives(s, usize::from(worker));
                }
                s.idle(usize::from(worker));
            }
            Action::Crash { worker } => {
                s.left.crashes -= 1;
                self.crash(s, usize::from(worker));
            }
            Action::Renew { worker } => {
                s.left.renewals -= 1;
                let renewed = match s.message(usize::from(worker)) {
                    Some(message) if message.is_held_by(usize::from(worker)) => {
                        message.place = Place::Leased;
                        true
                    }
                    _ => false,
                };
                s.workers[usize::from(worker)].lease = Lease::Renewing { renewed };
            }
            Action::RenewalAnswered { worker } => {
                let at = usize::from(worker);
                let is_held =
                    s.message(at).is_some_and(|m| m.is_held_by(at) && m.place == Place::Leased);
                let w = &mut s.workers[at];
                w.lapsed &= !is_held;
                w.lease = match w.lease {
                    Lease::Renewing { renewed: true } => Lease::Held,
                    _ => Lease::Lost,
                };
            }
            Action::RenewalAnswerLost { worker } => {
                s.left.lost_responses -= 1;
                let at = usize::from(worker);
                if s.workers[at].lease == (Lease::Renewing { renewed: true }) {
                    s.drop_receipt(at);
                }
                s.workers[at].lease = Lease::Ending;
            }
            Action::DelayOver { message } => {
                if let Some(message) = &mut s.queue[usize::from(message)] {
                    message.place = Place::Visible;
                }
            }
            Action::LeaseOver { message } => lease_over(s, message),
            Action::Replay { copy, wire } => {
                s.left.replays -= 1;
                let Some(copied) = s.poison[usize::from(copy)] else { return };
                let Copied { job, body, .. } = copied;
                let delivered = Delivered { message: 0, count: 1, body };
                let plan = self.oracle.ask(delivered, Question::Revive);
                let Plan::Read(revived) = plan else { panic!("{plan:?}") };
                s.send(job, revived);
                self.look_at(s, job, revived);
                match wire {
                    Wire::Works => {
                        s.poison[usize::from(copy)] = Some(Copied { sent_back: true, ..copied });
                        s.sort_poison();
                    }
                    _ => s.left.lost_responses -= 1,
                }
            }
            Action::ReplayDeletes { copy } => {
                s.poison[usize::from(copy)] = None;
                s.sort_poison();
            }
            Action::ReplayCrashes { copy } => {
                s.left.crashes -= 1;
                if let Some(copied) = &mut s.poison[usize::from(copy)] {
                    copied.sent_back = false;
                }
                s.sort_poison();
            }
            Action::Repost { message } => {
                s.left.reposts -= 1;
                let Some(old) = s.queue[usize::from(message)].take() else { return };
                s.send(old.job, old.body).bound = old.bound;
                for w in &mut s.workers {
                    w.lapsed |= w.has(usize::from(message));
                }
            }
        }
    }

    fn receive(&self, s: &mut State, worker: u8, at: u8, by: By) {
        let Some(message) = &mut s.queue[usize::from(at)] else { return };
        message.count += 1;
        message.place = Place::Leased;
        message.holder = Some(worker).filter(|_| by != By::Nobody);
        let delivered = Delivered { message: at, count: message.count, body: message.body };
        let question = match by {
            By::Nobody => {
                s.left.lost_responses -= 1;
                return;
            }
            By::Known => Question::Admit { known: true, asked: false },
            By::Stranger => {
                s.left.strangers -= 1;
                Question::Admit { known: false, asked: false }
            }
            By::Stopping => {
                s.left.give_backs -= 1;
                let job = usize::from(message.job);
                s.jobs[job].put_off += 1;
                Question::GiveBack
            }
        };
        s.workers[usize::from(worker)].delivered = delivered;
        self.process(s, usize::from(worker), question);
    }

    /// What it was given.
    fn process(&self, s: &mut State, worker: usize, question: Question) {
        let w = &mut s.workers[worker];
        let message = usize::from(w.delivered.message);
        if w.vain & (1 << message) != 0 {
            w.phase = Phase::Deleting;
            return;
        }
        if self.oracle.ask(w.delivered, question) != Plan::Ask {
            return self.follow(w, question);
        }
        match self.fate(s, worker, message) {
            Fate::Open => {
                s.left.give_backs -= 1;
                let job = self.job(s, worker);
                s.jobs[job].put_off += 1;
                s.workers[worker].phase = Phase::Releasing;
                return;
            }
            Fate::Survived => {
                let w = &mut s.workers[worker];
                let plan = self.oracle.ask(w.delivered, Question::Unmark);
                let Plan::Read(body) = plan else { panic!("{plan:?}") };
                w.delivered.body = body;
            }
            Fate::Unknown => {}
        }
        let question = match question {
            Question::Admit { known, .. } => Question::Admit { known, asked: true },
            _ => Question::AdmitApart { asked: true },
        };
        self.follow(&mut s.workers[worker], question);
    }

    /// What became of the last start that was marked in a message, as far as is known to a worker or
    /// its supervisor.
    fn fate(&self, s: &State, worker: usize, message: usize) -> Fate {
        let Some(mark) = s.queue[message].map(|message| message.marked_in) else {
            return Fate::Unknown;
        };
        let is_in = |starts: &[u16; MESSAGES]| starts[message] & (1 << mark) != 0;
        if self.is(Mutant::NobodyAsks) {
            Fate::Unknown
        } else if is_in(&s.workers[worker].survived) {
            Fate::Survived
        } else if !self.setup.suspects_apart || worker == APART {
            Fate::Unknown
        } else if self.is_open(s, message, mark) {
            Fate::Open
        } else if is_in(&s.told) {
            Fate::Survived
        } else {
            Fate::Unknown
        }
    }

    /// Whether some worker is at that start, and has told its supervisor no more than that.
    fn is_open(&self, s: &State, message: usize, mark: u8) -> bool {
        let told = s.told[message] & (1 << mark) != 0;
        let is_at = |w: &Worker| {
            let marks = w.marked || matches!(w.phase, Phase::Marking(_));
            marks && w.has(message) && w.delivered.count == mark
        };
        self.setup.suspects_apart && !told && s.workers.iter().any(is_at)
    }

    /// Lease and all. Should it get lost on the way, it is as if whoever gets it were killed.
    fn hand_over(&self, s: &mut State, from: usize) {
        let Worker { delivered, lease, .. } = s.workers[from];
        if let Some(message) = s.message(from).filter(|message| message.is_held_by(from)) {
            message.holder = u8::try_from(APART).ok();
        }
        s.idle(from);
        let w = &mut s.workers[APART];
        (w.delivered, w.lease) = (delivered, lease);
        self.process(s, APART, Question::AdmitApart { asked: false });
    }

    fn follow(&self, w: &mut Worker, question: Question) {
        let plan = self.oracle.ask(w.delivered, question);
        let ran = matches!(question, Question::Decide(_));
        let apart = matches!(question, Question::AdmitApart { .. });
        w.phase = match plan {
            Plan::Run { mark: Some(_) } if apart && self.is(Mutant::NoMarkApart) => Phase::Ready,
            Plan::Run { mark: Some(mark) } => Phase::Marking(mark),
            Plan::HandOver(body) => Phase::HandingOver(body),
            Plan::Run { mark: None } => Phase::Ready,
            Plan::Delete => Phase::Deleting,
            Plan::Rewrite(body) => Phase::Rewriting { body, ran },
            Plan::Release => Phase::Releasing,
            Plan::Poison { fence: Some(fence), copy } if !self.is(Mutant::NoPoisonMark) => {
                Phase::Fencing { fence, copy }
            }
            Plan::Poison { copy, .. } => self.behind_fence(copy),
            Plan::Ask | Plan::Read(_) => panic!("{plan:?}"),
        };
    }

    fn behind_fence(&self, copy: Body) -> Phase {
        if self.is(Mutant::DeleteBeforePoisonSend) {
            Phase::DeletingUncopied(copy)
        } else {
            Phase::Copying(copy)
        }
    }

    fn start(&self, s: &mut State, at: usize) {
        let marked = s.workers[at].marked;
        let job = self.job(s, at);
        let (mut unmarked, mut bound) = (false, false);
        if let Some(message) = s.message(at) {
            unmarked = message.open && !marked;
            bound = message.bound;
            message.open = true;
        }
        if unmarked {
            s.breach(Breach::UnmarkedStart);
        }
        if bound {
            s.breach(Breach::StartBehindFence);
        }
        s.jobs[job].starts += 1;
        s.workers[at].phase = Phase::Running;
    }

    fn finish(&self, s: &mut State, at: usize, end: End) {
        let job = self.job(s, at);
        let ledger = &mut s.jobs[job];
        match end {
            End::Done => ledger.completions += 1,
            End::Retry | End::Permanent => ledger.failures += 1,
            End::Discard => ledger.discarded = true,
            End::Snooze => {
                ledger.put_off += 1;
                s.left.snoozes -= 1;
            }
            End::GivenBack => {
                ledger.put_off += 1;
                s.left.give_backs -= 1;
            }
        }
        let w = &mut s.workers[at];
        self.follow(w, Question::Decide(end));
    }

    /// The request that a worker is at.
    fn request(&self, s: &mut State, at: usize, wire: Wire) {
        if Self::is_refused_here(&s.workers[at]) {
            return self.answered(s, at, false);
        }
        if wire == Wire::LosesRequest {
            s.left.lost_requests -= 1;
            s.workers[at].uncertain = true;
            return;
        }
        let done = self.serve(s, at);
        if wire == Wire::Works {
            return self.answered(s, at, done);
        }
        s.left.lost_responses -= 1;
        let w = &mut s.workers[at];
        w.uncertain = true;
        if done && matches!(w.phase, Phase::Marking(_) | Phase::Fencing { .. }) {
            s.drop_receipt(at);
        }
    }

    /// What the service does; whether the receipt was valid.
    fn serve(&self, s: &mut State, at: usize) -> bool {
        let w = s.workers[at];
        let slot = usize::from(w.delivered.message);
        if let Phase::Copying(copy) | Phase::CopyingDeleted(copy) = w.phase {
            self.send_to_poison(s, at, copy);
            return true;
        }
        // A renewal that was carried out made the receipt a stale one.
        let is_stale = w.lease == Lease::Renewing { renewed: true };
        let is_valid = |m: &Message| m.is_held_by(at) && !is_stale;
        let any = self.is(Mutant::SettleWithStaleLease);
        let Some(message) = s.queue[slot].as_mut().filter(|m| any || is_valid(m)) else {
            return false;
        };
        let job = message.job;
        let mut written = None;
        match w.phase {
            Phase::Marking(mark) => {
                written = Some(mark);
                message.place = Place::Leased;
                message.marked_in = w.delivered.count;
                message.took_its_worker = false;
            }
            Phase::Fencing { fence, .. } => {
                written = Some(fence);
                message.place = Place::Leased;
                message.bound = true;
            }
            Phase::Rewriting { body, ran } => {
                written = Some(body);
                message.place = Place::Delayed;
                message.holder = None;
                message.open &= !ran;
            }
            Phase::Releasing => {
                message.place = Place::Delayed;
                message.holder = None;
            }
            _ => {
                let ledger = s.jobs[usize::from(job)];
                if ledger.completions == 0 && !ledger.discarded && !message.copied {
                    s.breach(Breach::EarlyDelete);
                }
                s.queue[slot] = None;
            }
        }
        if let Some(body) = written {
            if let Some(message) = &mut s.queue[slot] {
                message.body = body;
            }
            if matches!(w.phase, Phase::Marking(_)) {
                s.jobs[usize::from(job)].marks += 1;
            }
            self.look_at(s, job, body);
        }
        true
    }

    /// What the worker makes of an answer: `done`, or its lease is lost.
    fn answered(&self, s: &mut State, at: usize, done: bool) {
        let w = &mut s.workers[at];
        w.uncertain = false;
        match w.phase {
            Phase::Marking(_) if done => {
                w.marked = true;
                w.lapsed = false;
                w.phase = Phase::Ready;
            }
            Phase::Marking(_) => {
                self.survives(s, at);
                s.idle(at);
            }
            Phase::Fencing { copy, .. } if done || self.is(Mutant::CopyDespiteLostFence) => {
                w.lapsed &= !done;
                w.phase = self.behind_fence(copy);
            }
            Phase::Copying(_) => w.phase = Phase::Deleting,
            Phase::Deleting if !done => {
                w.remember_vain();
                if w.marked {
                    self.survives(s, at);
                }
                s.idle(at);
            }
            Phase::DeletingUncopied(copy) if done => w.phase = Phase::CopyingDeleted(copy),
            _ => {
                if w.marked && !done {
                    self.survives(s, at);
                }
                s.idle(at);
            }
        }
    }

    /// It was tried for as long as the lease lasts.
    fn give_up(&self, s: &mut State, at: usize) {
        let w = &mut s.workers[at];
        if matches!(w.phase, Phase::Deleting) {
            w.remember_vain();
        }
        if w.marked || matches!(w.phase, Phase::Marking(_)) {
            self.survives(s, at);
        }
        s.idle(at);
    }

    fn send_to_poison(&self, s: &mut State, at: usize, copy: Body) {
        let job = self.job(s, at);
        let facts = self.oracle.facts(copy);
        let ledger = &mut s.jobs[job];
        ledger.copies += 1;
        let (failures, marks) = (u32::from(ledger.failures), u32::from(ledger.marks));
        let is_on_record = match facts.poison {
            Some((PoisonState::Final, PoisonReason::AttemptsExhausted)) => {
                (1..=failures).contains(&facts.failed)
                    && facts.crashed <= marks
                    && facts.failed + facts.crashed >= u32::from(self.setup.max_attempts)
            }
            Some((PoisonState::Final, PoisonReason::Permanent)) => failures > 0,
            Some((PoisonState::Final, PoisonReason::Crashed)) => {
                (1..=marks).contains(&facts.crashed)
            }
            _ => false,
        };
        if !is_on_record {
            s.breach(Breach::ReasonNotOnRecord);
        }
        let is_condemned =
            matches!(facts.poison, Some((PoisonState::Final, PoisonReason::Crashed)));
        let is_well = s.message(at).is_some_and(|message| !message.took_its_worker);
        if self.setup.suspects_apart && is_condemned && is_well {
            s.breach(Breach::Slandered);
        }
        let reason = facts.poison.map_or(PoisonReason::Other, |(_, reason)| reason);
        let job = u8::try_from(job).unwrap_or(u8::MAX);
        s.send_to_poison(Copied { job, body: copy, reason, sent_back: false });
        self.look_at(s, job, copy);
        if let Some(message) = s.message(at) {
            message.bound = true;
            message.copied = true;
        }
    }

    /// Everything that is ever written is the job that was enqueued.
    fn look_at(&self, s: &mut State, job: u8, body: Body) {
        if self.oracle.facts(body).job != Some(job) {
            s.breach(Breach::Changed);
        }
    }

    /// A marked start is over, and its message does not say so.
    fn survives(&self, s: &mut State, at: usize) {
        let Delivered { message, count, .. } = s.workers[at].delivered;
        s.workers[at].survived[usize::from(message)] |= 1 << count;
        if self.setup.suspects_apart {
            s.told[usize::from(message)] |= 1 << count;
        }
    }

    /// What a worker knows goes with it.
    fn crash(&self, s: &mut State, at: usize) {
        let w = s.workers[at];
        if (w.marked || matches!(w.phase, Phase::Marking(_)))
            && let Some(message) = s.message(at)
        {
            let is_last = message.marked_in == w.delivered.count;
            message.took_its_worker |= is_last && self.setup.suspects_apart;
        }
        s.idle(at);
        s.workers[at] = Worker::IDLE;
    }

    /// Whose job a worker is at.
    fn job(&self, s: &State, at: usize) -> usize {
        let job = self.oracle.facts(s.workers[at].delivered.body).job;
        usize::from(job.expect("all bodies are the jobs'"))
    }
}

fn lease_over(s: &mut State, at: u8) {
    let Some(message) = &mut s.queue[usize::from(at)] else { return };
    message.place = Place::Visible;
    s.jobs[usize::from(message.job)].expiries += 1;
    if message.holder.is_some() {
        s.left.expiries -= 1;
    }
    for w in &mut s.workers {
        w.lapsed |= w.has(usize::from(at));
    }
}
