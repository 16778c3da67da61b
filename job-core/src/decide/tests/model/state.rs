//! All that is to be known at one moment: the queue service, the workers, and what happened so far.

use super::oracle::{Body, Delivered};
use crate::PoisonReason;

/// The most messages that are ever sent to the queue.
pub(super) const MESSAGES: usize = 5;
/// The most copies that are in the poison queue at a time.
pub(super) const COPIES: usize = 7;
pub(super) const JOBS: usize = 2;
pub(super) const WORKERS: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// By message id; ids are never used again.
    pub(super) queue: [Option<Message>; MESSAGES],
    pub(super) sent: u8,
    pub(super) poison: [Option<Copied>; COPIES],
    pub(super) workers: [Worker; WORKERS],
    pub(super) jobs: [Ledger; JOBS],
    pub(super) left: Budget,
    /// The starts that the supervisor was told to be survived, the same way.
    pub(super) told: [u16; MESSAGES],
    /// What was seen to happen that must not, a bit for each [`Breach`].
    pub(super) breaches: u8,
}

/// A message of the queue service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Message {
    pub(super) job: u8,
    pub(super) body: Body,
    /// How often it was delivered.
    pub(super) count: u8,
    pub(super) place: Place,
    /// Who was given the receipt that is valid: every change makes a new one. Nobody, if the answer
    /// that it was in got lost, or its worker.
    pub(super) holder: Option<u8>,
    /// On record: its poison mark was written, or it was copied to the poison queue.
    pub(super) bound: bool,
    /// On record: it was copied to the poison queue.
    pub(super) copied: bool,
    /// On record: the delivery in which a start was marked last, and whether its worker went away
    /// before it was over.
    pub(super) marked_in: u8,
    pub(super) took_its_worker: bool,
    /// On record: it was started, and nobody who ran it wrote anything into it since.
    pub(super) open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Visible,
    /// Hidden until its delay is over.
    Delayed,
    /// Hidden until its lease ends.
    Leased,
}

/// A message of the poison queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Copied {
    pub(super) job: u8,
    pub(super) body: Body,
    pub(super) reason: PoisonReason,
    /// Sent back by a replay that is about to delete it here.
    pub(super) sent_back: bool,
}

/// A worker with one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) phase: Phase,
    pub(super) delivered: Delivered,
    /// It wrote the mark of this start.
    pub(super) marked: bool,
    /// Some try of the request it is at may have been carried out.
    pub(super) uncertain: bool,
    /// The lease ran out under it, by its own clock too.
    pub(super) lapsed: bool,
    pub(super) lease: Lease,
    /// What it deleted in vain, a bit a message.
    pub(super) vain: u8,
    /// The starts that it survived without being able to say so: by message, a bit for each delivery.
    pub(super) survived: [u16; MESSAGES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Idle,
    Marking(Body),
    /// It has a suspect; that is its body should it be given back.
    HandingOver(Option<Body>),
    /// About to start.
    Ready,
    Running,
    Deleting,
    /// After a run, or in its place.
    Rewriting {
        body: Body,
        ran: bool,
    },
    Releasing,
    Fencing {
        fence: Body,
        copy: Body,
    },
    Copying(Body),
    /// Of mutants only.
    DeletingUncopied(Body),
    CopyingDeleted(Body),
}

/// The lease, as the keeper sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lease {
    Held,
    /// A renewal is in flight; it was carried out or refused.
    Renewing {
        renewed: bool,
    },
    /// The outcome of a renewal is unknown.
    Ending,
    Lost,
}

/// What happened to a job so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// The producer was told that it is on the queue.
    pub(super) acknowledged: bool,
    /// How often it was sent to the queue: by its producer, by replays, by hand.
    pub(super) sent: u8,
    pub(super) starts: u8,
    pub(super) completions: u8,
    pub(super) failures: u8,
    /// Snoozes and give-backs.
    pub(super) put_off: u8,
    pub(super) discarded: bool,
    /// Leases that ran out, whatever for.
    pub(super) expiries: u8,
    /// Starts that took their worker with them.
    pub(super) kills: u8,
    /// Start marks that were written.
    pub(super) marks: u8,
    /// Copies that were ever sent to the poison queue.
    pub(super) copies: u8,
}

/// What may still go wrong, and what else there is only so much of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Workers and replays killed from outside.
    pub(super) crashes: u8,
    pub(super) lost_requests: u8,
    pub(super) lost_responses: u8,
    /// Leases that run out under a living worker: paused, partitioned, starved.
    pub(super) expiries: u8,
    pub(super) renewals: u8,
    pub(super) snoozes: u8,
    pub(super) give_backs: u8,
    /// Deliveries to a worker that does not know the job.
    pub(super) strangers: u8,
    pub(super) replays: u8,
    /// Messages that somebody posts again as they are and deletes.
    pub(super) reposts: u8,
}

/// What must never happen, where the state alone does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    Changed = 1,
    UnmarkedStart = 2,
    StartBehindFence = 4,
    ReasonNotOnRecord = 8,
    EarlyDelete = 16,
    Slandered = 32,
}

impl State {
    pub(super) fn new(left: Budget) -> Self {
        Self {
            queue: [None; MESSAGES],
            sent: 0,
            poison: [None; COPIES],
            workers: [Worker::IDLE; WORKERS],
            jobs: [Ledger::default(); JOBS],
            left,
            told: [0; MESSAGES],
            breaches: 0,
        }
    }

    pub(super) fn breach(&mut self, breach: Breach) {
        self.breaches |= breach as u8;
    }

    pub(super) fn breached(&self, breach: Breach) -> bool {
        self.breaches & breach as u8 != 0
    }

    /// A new message.
    pub(super) fn send(&mut self, job: u8, body: Body) -> &mut Message {
        let ledger = &mut self.jobs[usize::from(job)];
        ledger.sent += 1;
        let message = Message {
            job,
            body,
            count: 0,
            place: Place::Visible,
            holder: None,
            bound: false,
            copied: false,
            marked_in: 0,
            took_its_worker: false,
            open: false,
        };
        self.sent += 1;
        self.queue[usize::from(self.sent) - 1].insert(message)
    }

    pub(super) fn has_room(&self) -> bool {
        usize::from(self.sent) < MESSAGES
    }

    /// The message that a worker works on, if it is still there.
    pub(super) fn message(&mut self, worker: usize) -> Option<&mut Message> {
        self.queue[usize::from(self.workers[worker].delivered.message)].as_mut()
    }

    /// A new copy in the poison queue; in order, so that states do not differ by it.
    pub(super) fn send_to_poison(&mut self, copied: Copied) {
        let free = self.poison.iter_mut().find(|place| place.is_none());
        *free.expect("COPIES is too small for this setup") = Some(copied);
        self.sort_poison();
    }

    pub(super) fn sort_poison(&mut self) {
        self.poison.sort_by_key(|copied| copied.map(|it| (it.job, it.body, it.sent_back)));
        self.poison.reverse();
    }

    /// The worker is done with its message, and nobody has the receipt any more.
    pub(super) fn idle(&mut self, worker: usize) {
        self.drop_receipt(worker);
        let Worker { vain, survived, .. } = self.workers[worker];
        self.workers[worker] = Worker { vain, survived, ..Worker::IDLE };
    }

    pub(super) fn drop_receipt(&mut self, worker: usize) {
        if let Some(message) = self.message(worker).filter(|m| m.is_held_by(worker)) {
            message.holder = None;
        }
    }
}

impl Message {
    pub(super) fn is_held_by(&self, worker: usize) -> bool {
        self.holder.is_some_and(|holder| usize::from(holder) == worker)
    }
}

impl Worker {
    pub(super) const IDLE: Self = Self {
        phase: Phase::Idle,
        delivered: Delivered { message: 0, count: 0, body: Body::NONE },
        marked: false,
        uncertain: false,
        lapsed: false,
        lease: Lease::Held,
        vain: 0,
        survived: [0; MESSAGES],
    };

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// It is at work on that message.
    pub(super) fn has(&self, message: usize) -> bool {
        !self.is_idle() && usize::from(self.delivered.message) == message
    }

    pub(super) fn remember_vain(&mut self) {
        self.vain |= 1 << self.delivered.message;
    }
}
