//! The protocol with one thing wrong with it, each time another: the checker has to see it, or it
//! would not see it in the protocol either.

use super::oracle::End;
use super::state::Budget;
use super::{Protocol, SETUP, Setup, check, properties, shortest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Fence, delete, copy.
    DeleteBeforePoisonSend,
    /// Copy, delete, without the fence.
    NoPoisonMark,
    /// The poison mark is written, and not looked at.
    PoisonMarkIgnored,
    /// Whether or not the fence could be written, the copy is sent.
    CopyDespiteLostFence,
    /// No delivery is taken for one whose predecessor was never reported.
    NoCrashCheck,
    /// Every delivery whose predecessor was never reported counts as a crash.
    UnreportedIsCrashed,
    /// The keeper renews what is being settled, and nobody waits for it.
    RenewAfterSettle,
    /// A message is settled with whatever receipt is valid.
    SettleWithStaleLease,
    GiveBacksAreAttempts,
    /// A suspect that was handed over is started at once.
    NoMarkApart,
    /// What is known of a start that was survived is not asked for.
    NobodyAsks,
    /// What is accounted for is, whatever message it was of.
    SettledNotTiedToMessage,
}

/// The checker finds that the mutant breaks the property, where the protocol itself breaks none.
fn caught(mutant: Mutant, property: &'static str, change: impl FnOnce(&mut Setup)) {
    let mut setup = SETUP;
    change(&mut setup);
    let sound = check("the protocol itself", setup);
    let trace = shortest(&Protocol::new(setup, Some(mutant)), property, 40);
    let trace = trace.unwrap_or_else(|| panic!("{mutant:?} does not break \"{property}\""));
    let steps = trace.len();
    eprintln!("{mutant:?} breaks \"{property}\" in {steps} steps (of {sound} states):");
    trace.iter().for_each(|step| eprintln!("  {step:?}"));
}

fn with(budget: impl FnOnce(&mut Budget)) -> impl FnOnce(&mut Setup) {
    |setup| budget(&mut setup.budget)
}

const POISONED: &[End] = &[End::Done, End::Permanent];

#[test]
fn delete_before_the_send_to_poison_is_caught() {
    let change = |setup: &mut Setup| {
        setup.ends = POISONED;
        setup.budget.crashes = 1;
    };
    caught(Mutant::DeleteBeforePoisonSend, properties::LOST, change);
    caught(Mutant::DeleteBeforePoisonSend, properties::DELETE, change);
}

#[test]
fn no_poison_mark_is_caught() {
    let change = |setup: &mut Setup| {
        setup.ends = POISONED;
        setup.budget.crashes = 1;
    };
    caught(Mutant::NoPoisonMark, properties::FENCE, change);
}

#[test]
fn a_poison_mark_that_nobody_looks_at_is_caught() {
    let change = |setup: &mut Setup| {
        setup.ends = POISONED;
        setup.budget.crashes = 1;
    };
    caught(Mutant::PoisonMarkIgnored, properties::FENCE, change);
}

#[test]
fn a_copy_despite_a_lost_fence_is_caught() {
    let change = |setup: &mut Setup| {
        setup.ends = POISONED;
        setup.budget.expiries = 1;
    };
    caught(Mutant::CopyDespiteLostFence, properties::FENCE, change);
}

#[test]
fn no_crash_check_is_caught() {
    let change = |setup: &mut Setup| setup.kills = true;
    caught(Mutant::NoCrashCheck, properties::KILLS, change);
    caught(Mutant::NoCrashCheck, properties::UNMARKED, change);
}

#[test]
fn taking_lost_receives_for_crashes_is_caught() {
    let change = with(|budget| budget.lost_responses = 2);
    caught(Mutant::UnreportedIsCrashed, properties::REASON, change);
}

#[test]
fn renewing_after_the_settle_is_caught() {
    caught(Mutant::RenewAfterSettle, properties::ONCE, with(|budget| budget.renewals = 1));
}

#[test]
fn settling_with_a_stale_lease_is_caught() {
    caught(Mutant::SettleWithStaleLease, properties::OVERLAP, with(|budget| budget.expiries = 1));
}

#[test]
fn counting_give_backs_as_attempts_is_caught() {
    let change = with(|budget| budget.give_backs = 2);
    caught(Mutant::GiveBacksAreAttempts, properties::REASON, change);
}

#[test]
fn a_settled_count_that_is_not_tied_to_its_message_is_caught() {
    let change = |setup: &mut Setup| {
        setup.kills = true;
        setup.max_attempts = 4;
        setup.budget.reposts = 1;
    };
    caught(Mutant::SettledNotTiedToMessage, properties::UNMARKED, change);
}

#[test]
fn asking_nobody_whether_a_start_was_survived_is_caught() {
    let change = |setup: &mut Setup| {
        setup.kills = true;
        setup.suspects_apart = true;
        setup.budget.lost_responses = 1;
    };
    caught(Mutant::NobodyAsks, properties::SLANDER, change);
}

#[test]
fn starting_what_was_handed_over_at_once_is_caught() {
    let change = |setup: &mut Setup| {
        setup.kills = true;
        setup.suspects_apart = true;
        setup.max_attempts = 3;
    };
    caught(Mutant::NoMarkApart, properties::UNMARKED, change);
    caught(Mutant::NoMarkApart, properties::KILLS, change);
}
