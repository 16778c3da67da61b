//! The protocol as a whole, in every order of events: two workers, a queue service, producers and
//! replays, with all that the wire, leases and crashes can do to them.
//!
//! The checker walks through every state that can be reached with a budget of faults, and holds
//! the promises ([`properties`]) against each. Bodies are real envelopes, and what becomes of a
//! delivery is decided by the real functions ([`oracle`]). The service ([`state`]) and the worker's
//! requests ([`steps`]) are written anew, as small as they can be.
//!
//! Time is not modelled: delays end, leases run out and answers come at any moment. An expired
//! receipt works until somebody else receives the message, as it does in Azure. Not in here: expiry
//! of jobs, delays in hops, raw queues, backends that cannot rewrite, messages without room, deletes
//! in groups; for those see `life` and the tests of the worker.

#![expect(clippy::print_stderr, reason = "how many states there were, and what broke the mutants")]

mod mutants;
mod oracle;
mod properties;
mod state;
mod steps;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use stateright::{Checker, Expectation, Model, Property};

use self::mutants::Mutant;
use self::oracle::{End, Oracle};
use self::state::{Budget, State};
use self::steps::Action;
use super::Suspects;

/// How much of the protocol one check covers.
#[derive(Clone, Copy, Debug)]
struct Setup {
    jobs: u8,
    max_attempts: u8,
    crash_limit: u8,
    /// Whether the service counts deliveries.
    counts: bool,
    /// How a run can end, besides what the budget has of snoozes and give-backs.
    ends: &'static [End],
    /// Any run may take its worker with it. There is no budget for that: the protocol bounds it.
    kills: bool,
    /// The second worker is the one for suspects: it receives nothing, and is handed them over.
    suspects_apart: bool,
    budget: Budget,
    /// What has to be seen.
    sights: &'static [&'static str],
}

const SETUP: Setup = Setup {
    jobs: 1,
    max_attempts: 2,
    crash_limit: 2,
    counts: true,
    ends: &[End::Done, End::Retry],
    kills: false,
    suspects_apart: false,
    budget: Budget {
        crashes: 0,
        lost_requests: 0,
        lost_responses: 0,
        expiries: 0,
        renewals: 0,
        snoozes: 0,
        give_backs: 0,
        strangers: 0,
        replays: 0,
        reposts: 0,
    },
    sights: &[],
};

#[derive(Clone)]
struct Protocol {
    setup: Setup,
    mutant: Option<Mutant>,
    oracle: Arc<Oracle>,
}

impl Protocol {
    fn new(setup: Setup, mutant: Option<Mutant>) -> Self {
        let mut given = super::job()
            .max_attempts(u32::from(setup.max_attempts))
            .but(|g| g.rules.crash_limit = u32::from(setup.crash_limit));
        given.capabilities.counts = setup.counts;
        if setup.suspects_apart {
            given.rules.suspects = Suspects::Elsewhere { longest_wait: super::S };
        }
        Self { setup, mutant, oracle: Arc::new(Oracle::new(given, mutant)) }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.setup.budget)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.enabled(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        self.take(&mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = properties::all();
        let is_asked_for = |sight: &Property<Self>| self.setup.sights.contains(&sight.name);
        all.extend(properties::sights().into_iter().filter(is_asked_for));
        all
    }
}

/// Walks through all states; none may break a promise. Says how many there are.
fn check(name: &str, setup: Setup) -> usize {
    let model = Protocol::new(setup, None);
    let started = Instant::now();
    let checker = model.clone().checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let (answers, bodies) = model.oracle.asked();
    let took = started.elapsed();
    eprintln!("{name}: {states} states, {answers} decisions about {bodies} bodies, {took:.1?}");
    for property in model.properties() {
        let found = checker.discovery(property.name);
        if property.expectation == Expectation::Sometimes {
            assert!(found.is_some(), "{name}: never seen: {}", property.name);
        } else if let Some(path) = found {
            let trace = shortest(&model, property.name, depth).unwrap_or(path.into_actions());
            panic!("{name}: broken: \"{}\": {trace:#?}", property.name);
        }
    }
    states
}

/// The shortest way to break a property, at most so long. (The checker itself goes on for a while
/// after the first, and tells of the last.)
fn shortest(model: &Protocol, property: &'static str, longest: usize) -> Option<Vec<Action>> {
    (2..=longest + 1).find_map(|depth| {
        let checker = model.clone().checker().target_max_depth(depth).spawn_bfs().join();
        Some(checker.discovery(property)?.into_actions())
    })
}

const ALL_ENDS: &[End] = &[End::Done, End::Retry, End::Permanent, End::Discard];

#[test]
fn all_promises_are_kept_amid_faults_of_every_kind() {
    let budget = Budget { crashes: 1, lost_responses: 1, expiries: 1, renewals: 1, ..SETUP.budget };
    let sights = &[
        properties::POISONED_ATTEMPTS,
        properties::OVERLAPPED,
        properties::COMPLETED_TWICE,
        properties::COPIED_TWICE,
        properties::DELETED_LATER,
    ];
    let states = check("faults of every kind", Setup { budget, sights, ..SETUP });
    assert!(states >= 1_000_000, "{states}");
    let budget = Budget { lost_requests: 1, renewals: 0, ..budget };
    let sights = &[properties::OVERLAPPED, properties::DELETED_LATER];
    check("lost requests", Setup { max_attempts: 1, budget, sights, ..SETUP });
}

#[test]
fn all_promises_are_kept_where_a_job_kills_its_workers() {
    let budget = Budget { lost_responses: 1, expiries: 1, strangers: 1, ..SETUP.budget };
    let sights = &[properties::POISONED_CRASHES];
    let states = check("kills", Setup { kills: true, budget, sights, ..SETUP });
    assert!(states >= 1_000_000, "{states}");
}

#[test]
fn all_promises_are_kept_where_suspects_are_handed_over() {
    let sights = &[properties::POISONED_CRASHES, properties::APART];
    let setup = Setup { kills: true, suspects_apart: true, sights, ..SETUP };
    let budget = Budget { lost_responses: 1, give_backs: 1, ..SETUP.budget };
    check("suspects apart, answers lost", Setup { budget, ..setup });
    check("suspects apart, and nobody counts", Setup { budget, counts: false, ..setup });
    let budget = Budget { expiries: 1, renewals: 1, ..SETUP.budget };
    check("suspects apart, leases lost", Setup { budget, ..setup });
    let budget = Budget { crashes: 1, ..SETUP.budget };
    check("two suspects, one place", Setup { jobs: 2, budget, ..setup });
    let budget = Budget { lost_requests: 1, lost_responses: 2, ..SETUP.budget };
    let setup = Setup { crash_limit: 1, kills: false, budget, sights: &[], ..setup };
    check("suspects apart, one mark after the other", setup);
}

#[test]
fn all_promises_are_kept_over_replays_and_reposts() {
    let budget = Budget { crashes: 1, lost_responses: 1, replays: 1, reposts: 1, ..SETUP.budget };
    let sights = &[properties::REPLAYED, properties::COPIED_TWICE];
    let states = check("replays", Setup { budget, sights, ..SETUP });
    assert!(states >= 1_000_000, "{states}");
}

#[test]
fn all_promises_are_kept_over_deploys_and_snoozes() {
    let budget = Budget {
        expiries: 1,
        renewals: 1,
        strangers: 1,
        give_backs: 1,
        snoozes: 1,
        ..SETUP.budget
    };
    check("deploys", Setup { ends: ALL_ENDS, budget, ..SETUP });
    let budget = Budget { strangers: 1, give_backs: 2, snoozes: 1, ..SETUP.budget };
    check("deploys and kills", Setup { kills: true, budget, ..SETUP });
}

#[test]
fn all_promises_are_kept_between_two_jobs() {
    let budget = Budget { crashes: 1, lost_responses: 1, ..SETUP.budget };
    let sights = &[properties::COPIED_TWICE];
    check("two jobs", Setup { jobs: 2, budget, sights, ..SETUP });
    let budget = Budget { expiries: 1, renewals: 1, ..SETUP.budget };
    let sights = &[properties::ANOTHER_COMPLETES];
    let kills = Setup { jobs: 2, crash_limit: 1, kills: true, budget, sights, ..SETUP };
    check("two jobs, one of which kills its workers", kills);
}

#[test]
fn all_promises_are_kept_where_nobody_counts_deliveries() {
    let budget =
        Budget { crashes: 1, lost_responses: 1, expiries: 1, give_backs: 1, ..SETUP.budget };
    check("no counts", Setup { counts: false, budget, ..SETUP });
    let budget = Budget { lost_responses: 1, reposts: 1, ..SETUP.budget };
    check("no counts, and kills", Setup { counts: false, kills: true, budget, ..SETUP });
}

/// Known, and within the promise: a start is on record once its mark is written. If no answer to
/// that comes, or the worker is killed just then, nobody can tell that the job never started.
#[test]
fn a_mark_is_a_start_even_if_nothing_came_of_it() {
    let budget = Budget { lost_responses: 2, ..SETUP.budget };
    let sights = &[properties::CRASHED_UNSTARTED];
    check("marks alone", Setup { crash_limit: 1, budget, sights, ..SETUP });
}

/// No state ever comes again, whatever happens: every path comes to an end, and by
/// [`properties::DRAINED`] all is settled there.
#[test]
fn nothing_goes_on_for_ever() {
    let budget = Budget {
        crashes: 1,
        lost_requests: 1,
        expiries: 1,
        renewals: 1,
        strangers: 1,
        ..SETUP.budget
    };
    let faults = Setup { max_attempts: 1, budget, ..SETUP };
    let budget = Budget { lost_responses: 1, snoozes: 1, give_backs: 1, ..SETUP.budget };
    let kills = Setup { kills: true, crash_limit: 1, budget, ..SETUP };
    let budget = Budget { replays: 1, reposts: 1, crashes: 1, ..SETUP.budget };
    let replays = Setup { max_attempts: 1, budget, ..SETUP };
    for (name, setup) in [("faults", faults), ("kills", kills), ("replays", replays)] {
        let (states, ends) = assert_acyclic(&Protocol::new(setup, None));
        eprintln!("{name}: {states} states, none comes again; {ends} of them are the end");
    }
}

/// Depth first; says how many states there are, and how many of them are the last of a path.
fn assert_acyclic(model: &Protocol) -> (usize, usize) {
    let next = |state: &State| {
        let mut actions = Vec::new();
        model.actions(state, &mut actions);
        actions.into_iter().filter_map(|action| model.next_state(state, action)).collect()
    };
    // Whether all that comes after a state is known.
    let mut known: HashMap<State, bool> = HashMap::new();
    let mut ends = 0;
    let mut path: Vec<(State, Vec<State>)> = Vec::new();
    for state in model.init_states() {
        known.insert(state.clone(), false);
        let after = next(&state);
        path.push((state, after));
    }
    while let Some((state, after)) = path.last_mut() {
        let Some(later) = after.pop() else {
            known.insert(state.clone(), true);
            path.pop();
            continue;
        };
        match known.get(&later) {
            Some(true) => {}
            Some(false) => panic!("it comes again: {later:#?}"),
            None => {
                known.insert(later.clone(), false);
                let after: Vec<State> = next(&later);
                ends += usize::from(after.is_empty());
                path.push((later, after));
            }
        }
    }
    (known.len(), ends)
}
