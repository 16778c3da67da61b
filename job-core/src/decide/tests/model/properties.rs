//! The promises, by the numbers of the invariants that they are.

use stateright::{Model, Property};

use super::Protocol;
use super::state::{Breach, COPIES, Copied, Ledger, Phase, State, WORKERS};
use crate::PoisonReason;

pub(super) const LOST: &str = "1: nothing that was acknowledged is lost";
pub(super) const CHANGED: &str = "2: no job appears or changes";
pub(super) const STARTS: &str = "3: starts are bounded";
pub(super) const KILLS: &str = "3: a job that kills its worker is quarantined";
pub(super) const UNMARKED: &str = "3: after a start without a word, the next is marked";
pub(super) const FENCE: &str = "3: nothing starts once it is bound for poison";
pub(super) const FEW_COPIES: &str = "4: copies in poison are bounded";
pub(super) const COMPLETIONS: &str = "5: completions are bounded";
pub(super) const ONCE: &str = "5: without faults nothing happens twice";
pub(super) const REASON: &str = "6: the reason in poison is on record";
pub(super) const SLANDER: &str = "6: under a supervisor, what is condemned took its worker with it";
pub(super) const DELETE: &str = "7: no delete before a finish or a copy";
pub(super) const OVERLAP: &str = "8: overlapping runs follow a lost lease";
pub(super) const DRAINED: &str = "9: where nothing can happen any more, all is settled";

pub(super) fn all() -> Vec<Property<Protocol>> {
    fn always(name: &'static str, is_kept: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
        Property::always(name, is_kept)
    }
    vec![
        always(LOST, |_, s| {
            (0..).zip(&s.jobs).all(|(job, ledger)| {
                !ledger.acknowledged
                    || ledger.completions > 0
                    || ledger.discarded
                    || s.queue.iter().flatten().any(|message| message.job == job)
                    || s.poison.iter().flatten().any(|copied| copied.job == job)
            })
        }),
        always(CHANGED, |_, s| !s.breached(Breach::Changed)),
        // A start that is neither an attempt nor put off ends with its lease, also if its worker
        // was killed: the promise is a little weaker.
        always(STARTS, |model, s| {
            s.jobs.iter().all(|job| {
                let attempts = job.sent * model.setup.max_attempts;
                job.starts <= attempts + job.put_off + job.expiries
            })
        }),
        // All but the first after each word of it is a crash on record.
        always(KILLS, |model, s| {
            s.jobs.iter().all(|job| {
                let words = job.sent + job.failures + job.put_off;
                job.kills <= job.sent * model.setup.crash_limit + words
            })
        }),
        always(UNMARKED, |_, s| !s.breached(Breach::UnmarkedStart)),
        always(FENCE, |_, s| !s.breached(Breach::StartBehindFence)),
        always(FEW_COPIES, |model, s| {
            let (budget, left) = (model.setup.budget, s.left);
            let crashes = budget.crashes - left.crashes;
            let responses = budget.lost_responses - left.lost_responses;
            s.jobs
                .iter()
                .all(|job| job.copies <= job.sent + crashes + job.kills + responses + job.expiries)
        }),
        always(COMPLETIONS, |_, s| {
            s.jobs.iter().all(|job| job.completions <= job.sent + job.expiries)
        }),
        always(ONCE, |model, s| {
            let had_faults = s.jobs.iter().any(|job| job.kills > 0) || !no_faults(model, s);
            let ends = |job: &Ledger| job.completions + job.copies + u8::from(job.discarded);
            had_faults || s.jobs.iter().all(|job| ends(job) <= 1)
        }),
        always(REASON, |_, s| !s.breached(Breach::ReasonNotOnRecord)),
        always(SLANDER, |_, s| !s.breached(Breach::Slandered)),
        always(DELETE, |_, s| !s.breached(Breach::EarlyDelete)),
        always(OVERLAP, |_, s| {
            let runs =
                |at: &usize| s.workers[*at].phase == Phase::Running && !s.workers[*at].lapsed;
            let at = |at: usize| s.workers[at].delivered.message;
            let mut unlapsed = (0..WORKERS).filter(runs).map(at);
            match (unlapsed.next(), unlapsed.next()) {
                (Some(one), Some(other)) => one != other,
                _ => true,
            }
        }),
        // No state comes again (see `nothing_goes_on_for_ever`), so this is where all paths lead.
        always(DRAINED, |model, s| {
            let is_settled = s.queue.iter().all(Option::is_none)
                && s.workers.iter().all(|worker| worker.is_idle())
                && s.jobs[..usize::from(model.setup.jobs)].iter().all(|job| job.acknowledged);
            if is_settled {
                return true;
            }
            let mut actions = Vec::new();
            model.actions(s, &mut actions);
            !actions.is_empty()
        }),
    ]
}

pub(super) const POISONED_CRASHES: &str = "a job that kills its worker ends in poison";
pub(super) const POISONED_ATTEMPTS: &str = "attempts run out";
pub(super) const OVERLAPPED: &str = "a job runs twice at a time";
pub(super) const COMPLETED_TWICE: &str = "a job completes twice";
pub(super) const COPIED_TWICE: &str = "a job is in poison twice";
pub(super) const REPLAYED: &str = "a replayed job completes";
pub(super) const DELETED_LATER: &str = "what was deleted in vain is deleted when it comes again";
pub(super) const ANOTHER_COMPLETES: &str =
    "one job ends in poison for its crashes, the other completes";
pub(super) const APART: &str = "a suspect that was handed over completes";
pub(super) const CRASHED_UNSTARTED: &str = "marks alone end in poison, without a start";

/// What has to come about somewhere, or the promises would be kept for want of trouble.
pub(super) fn sights() -> Vec<Property<Protocol>> {
    fn crashed(s: &State, job: u8) -> bool {
        let is_crashed = |it: &&Copied| it.job == job && it.reason == PoisonReason::Crashed;
        s.poison.iter().flatten().any(|it| is_crashed(&it))
    }
    vec![
        Property::sometimes(POISONED_CRASHES, |_, s: &State| s.jobs[0].kills > 0 && crashed(s, 0)),
        Property::sometimes(POISONED_ATTEMPTS, |_, s: &State| {
            let exhausted = PoisonReason::AttemptsExhausted;
            s.poison.iter().flatten().any(|it| it.reason == exhausted)
        }),
        Property::sometimes(OVERLAPPED, |_, s: &State| {
            let [one, other] = &s.workers;
            one.phase == Phase::Running
                && other.phase == Phase::Running
                && one.delivered.message == other.delivered.message
        }),
        Property::sometimes(COMPLETED_TWICE, |_, s: &State| s.jobs[0].completions > 1),
        Property::sometimes(COPIED_TWICE, |_, s: &State| {
            s.poison.iter().flatten().filter(|it| it.job == 0).count() > 1
        }),
        Property::sometimes(REPLAYED, |_, s: &State| {
            let [job, _] = s.jobs;
            job.copies > 0 && job.sent > 1 && job.completions > 0 && s.poison == [None; COPIES]
        }),
        Property::sometimes(DELETED_LATER, |_, s: &State| {
            s.workers
                .iter()
                .any(|w| w.phase == Phase::Deleting && w.vain & (1 << w.delivered.message) != 0)
        }),
        Property::sometimes(ANOTHER_COMPLETES, |_, s: &State| {
            crashed(s, 0) && s.jobs[0].kills > 0 && s.jobs[1].completions > 0
        }),
        Property::sometimes(APART, |model: &Protocol, s: &State| {
            let apart = &s.workers[1];
            model.setup.suspects_apart
                && apart.phase == Phase::Deleting
                && s.jobs[0].completions > 0
                && s.jobs[0].copies == 0
        }),
        Property::sometimes(CRASHED_UNSTARTED, |_, s: &State| {
            crashed(s, 0) && s.jobs[0].starts == 0
        }),
    ]
}

/// Nothing was done to anybody so far.
fn no_faults(model: &Protocol, s: &State) -> bool {
    let (budget, left) = (model.setup.budget, s.left);
    budget.crashes == left.crashes
        && budget.lost_requests == left.lost_requests
        && budget.lost_responses == left.lost_responses
        && budget.expiries == left.expiries
        && budget.replays == left.replays
        && budget.reposts == left.reposts
}
