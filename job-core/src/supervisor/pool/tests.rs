//! A pool whose processes are made up.

#[cfg(feature = "metrics")]
mod counted;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::advance;

use super::super::Supervisor;
use super::super::wire::{Suspect, line};
use super::suspects::MARGIN;
use super::*;
use crate::QueueName;
use crate::backend::{MessageId, Receipt, Token};
use crate::worker::{CLAIM_LIMIT, Counters, Fate, Handed, Held};

/// What a process is told.
struct Ears(UnboundedReceiver<Order>);

impl Ears {
    fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Ok(order) = self.0.try_recv() {
            heard.push(match order {
                Order::Tell(down) => String::from_utf8(line(&down)).unwrap().trim().to_owned(),
                Order::KillAt(_) => "killed later".to_owned(),
            });
        }
        heard
    }
}

fn answer(claim: u64, granted: bool) -> Vec<String> {
    vec![format!(r#"{{"claimed":{{"claim":{claim},"granted":{granted}}}}}"#)]
}

/// The answer to question 9.
fn fate(fate: Fate) -> String {
    String::from_utf8(line(&Down::Answer { question: 9, fate })).unwrap().trim().to_owned()
}

/// A supervisor of one process, which serves. It can start no others.
fn pool() -> (Pool, Id, Ears) {
    let Supervisor { mut settings, handle } =
        Supervisor::new().crash_loop(3, Duration::from_secs(60));
    settings.max_jobs = Some(100);
    let mut pool = Pool::new(Program::at("/nowhere/no-program"), settings, handle);
    let (id, ears) = join(&mut pool, 0);
    (pool, id, ears)
}

/// A process that serves has that place.
fn join(pool: &mut Pool, place: usize) -> (Id, Ears) {
    let (orders, ears) = unbounded_channel();
    pool.last_id += 1;
    let id = pool.last_id;
    let member = Member {
        place,
        pid: None,
        orders,
        started: Instant::now(),
        serving: true,
        ending: false,
        remind_at: None,
        grace: None,
        too_large: false,
        open: BTreeMap::new(),
        jobs: Report::default(),
        ended: None,
    };
    pool.members.insert(id, member);
    pool.places[place].current = Some(id);
    pool.places[place].started += 1;
    (id, Ears(ears))
}

fn dies(pool: &mut Pool, id: Id) {
    let status = Ok(ExitStatus::from_raw(6));
    pool.on(id, Event::Exited(Exit { status, killed: None }));
}

fn ends(pool: &mut Pool, id: Id) {
    let status = Ok(ExitStatus::from_raw(0));
    pool.on(id, Event::Exited(Exit { status, killed: None }));
}

fn says(pool: &mut Pool, id: Id, said: Up) {
    pool.on(id, Event::Said(said));
}

fn suspect() -> Suspect {
    let queue = QueueName::new("mail").unwrap();
    let receipt = Receipt::new(queue, MessageId::from(7), Token::from(8));
    Suspect::new(Handed {
        held: Held { receipt, deadline: Instant::now() + Duration::from_secs(30) },
        count: Some(3),
        inserted_at: UNIX_EPOCH,
        server_now: UNIX_EPOCH,
        body: "".into(),
    })
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
/// To end within its grace time.
const DRAIN: [&str; 2] = [r#""drain""#, "killed later"];

fn mark(count: u32) -> Mark {
    Mark::new(&QueueName::new("mail").unwrap(), &MessageId::from(7), count)
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_start_can_be_asked() {
    let (mut pool, asker, mut ears) = pool();
    let (other, _their_ears) = join(&mut pool, 1);
    let mut ask = |pool: &mut Pool, count| {
        says(pool, asker, Up::Ask { question: 9, mark: mark(count) });
        ears.heard().pop().unwrap()
    };
    assert_eq!(ask(&mut pool, 3), fate(Fate::Unknown));
    says(&mut pool, other, Up::Marked { mark: mark(3), within_millis: 60_000 });
    assert_eq!(ask(&mut pool, 3), fate(Fate::Open));
    assert_eq!(ask(&mut pool, 2), fate(Fate::Unknown), "another start of it");
    says(&mut pool, other, Up::Over { mark: mark(3), survived: true });
    assert_eq!(ask(&mut pool, 3), fate(Fate::Survived));

    says(&mut pool, other, Up::Marked { mark: mark(4), within_millis: 60_000 });
    says(&mut pool, other, Up::Over { mark: mark(4), survived: true });
    assert_eq!(ask(&mut pool, 3), fate(Fate::Survived), "the latter need not have been written");
    says(&mut pool, other, Up::Marked { mark: mark(5), within_millis: 60_000 });
    says(&mut pool, other, Up::Over { mark: mark(5), survived: false });
    assert_eq!(ask(&mut pool, 5), fate(Fate::Unknown));

    says(&mut pool, other, Up::Marked { mark: mark(6), within_millis: 60_000 });
    dies(&mut pool, other);
    assert_eq!(ask(&mut pool, 6), fate(Fate::Unknown), "it died of that");
    assert_eq!(ask(&mut pool, 4), fate(Fate::Survived));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_not_waited_for() {
    let (mut pool, asker, mut ears) = pool();
    says(&mut pool, asker, Up::Marked { mark: mark(3), within_millis: 60_000 });
    advance(2 * MINUTE).await;
    says(&mut pool, asker, Up::Ask { question: 9, mark: mark(3) });
    assert_eq!(ears.heard(), [fate(Fate::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_hangs_in_the_process_for_suspects_is_ended_with_it() {
    let hand_over = || {
        let (mut pool, giver, mut ears) = pool();
        let (apart, mut their_ears) = join(&mut pool, 1);
        says(&mut pool, giver, Up::Claim { claim: 1 });
        says(&mut pool, giver, Up::HandOver { claim: 1, suspect: suspect() });
        ears.heard();
        their_ears.heard();
        (pool, apart, their_ears)
    };
    let waits = |pool: &Pool, time| {
        let left = pool.wake_at().unwrap() - Instant::now();
        assert!(left.abs_diff(time) < SECOND, "{left:?}");
    };

    let (mut pool, apart, mut their_ears) = hand_over();
    says(&mut pool, apart, Up::Marked { mark: mark(3), within_millis: 600_000 });
    waits(&pool, 10 * MINUTE + MARGIN);
    advance(11 * MINUTE).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), ["killed later"]);
    pool.on_time();
    assert_eq!(their_ears.heard(), [""; 0], "once is enough");

    // It was handed over with a lease of half a minute.
    let (mut pool, _, mut their_ears) = hand_over();
    waits(&pool, MINUTE / 2 + MARGIN);
    advance(MINUTE).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), ["killed later"], "it was never marked");

    let (mut pool, apart, mut their_ears) = hand_over();
    says(&mut pool, apart, Up::Done { claim: 1 });
    advance(MINUTE / 2 + 2 * MARGIN).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_claims_the_process_for_suspects_and_does_not_come_loses_the_claim() {
    let (mut pool, giver, mut ears) = pool();
    let (_, mut their_ears) = join(&mut pool, 1);
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, true));
    let left = pool.wake_at().unwrap() - Instant::now();
    assert!(left.abs_diff(CLAIM_LIMIT + MARGIN) < SECOND, "{left:?}");
    advance(MINUTE).await;
    pool.on_time();
    assert_eq!((ears.heard(), their_ears.heard()), (answer(1, false), vec![]));
    // It is too late now.
    says(&mut pool, giver, Up::HandOver { claim: 1, suspect: suspect() });
    assert_eq!(their_ears.heard(), [""; 0]);
    says(&mut pool, giver, Up::Claim { claim: 2 });
    assert_eq!(ears.heard(), answer(2, true));
}

#[tokio::test(start_paused = true)]
async fn the_process_for_suspects_ends_when_it_has_had_nothing_to_do_for_a_while() {
    let (mut pool, giver, mut ears) = pool();
    let (apart, mut their_ears) = join(&mut pool, 1);
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, true));
    says(&mut pool, giver, Up::HandOver { claim: 1, suspect: suspect() });
    assert_eq!(their_ears.heard().len(), 1);
    // It runs for as long as it said.
    says(&mut pool, apart, Up::Marked { mark: mark(3), within_millis: 600_000 });
    advance(10 * MINUTE).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), [""; 0]);

    says(&mut pool, apart, Up::Done { claim: 1 });
    let until = Instant::now() + MINUTE;
    assert_eq!(pool.wake_at(), Some(until));
    advance(MINUTE - SECOND).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), Vec::<String>::new());
    // Whatever it gets to do starts the time anew.
    says(&mut pool, giver, Up::Claim { claim: 2 });
    assert_eq!(ears.heard(), answer(2, true));
    advance(MINUTE / 2).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), Vec::<String>::new());
    says(&mut pool, giver, Up::Withdraw { claim: 2 });
    advance(MINUTE).await;
    assert_eq!(pool.wake_at(), Some(Instant::now()));
    pool.on_time();
    assert_eq!(their_ears.heard(), DRAIN);

    // Until it is gone nobody is handed over; then another one is started.
    says(&mut pool, giver, Up::Claim { claim: 3 });
    assert_eq!(ears.heard(), answer(3, false));
    ends(&mut pool, apart);
    assert_eq!((pool.report.died, pool.places[1].keep_until), (0, None));
    says(&mut pool, giver, Up::Claim { claim: 4 });
    assert!(pool.places[1].keep_until.is_some(), "it was tried");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_handed_over_is_told_and_the_others_go_on() {
    let (mut pool, giver, mut ears) = pool();
    for claim in 1..10 {
        says(&mut pool, giver, Up::Claim { claim });
        assert_eq!(ears.heard(), answer(claim, false));
        assert!(pool.desk.claim.is_none());
        // Sooner nobody tries again.
        let wait = pool.places[1].keep_until.unwrap() - Instant::now();
        let deaths = pool.places[1].past.deaths;
        says(&mut pool, giver, Up::Claim { claim });
        assert_eq!((ears.heard(), pool.places[1].past.deaths), (answer(claim, false), deaths));
        let expected = [SECOND, 2 * SECOND, MINUTE][deaths.min(3) as usize - 1];
        assert_eq!((u64::from(deaths), wait), (claim, expected));
        advance(wait).await;
        pool.on_time();
    }
    assert!(!pool.stopping && pool.failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_gives_its_claim_up() {
    let (mut pool, giver, mut ears) = pool();
    let (apart, _) = join(&mut pool, 1);
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, true));
    dies(&mut pool, giver);
    assert!(pool.desk.claim.is_none());

    // One that runs is not its giver's any more.
    let (giver, mut ears) = join(&mut pool, 0);
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, true));
    says(&mut pool, giver, Up::HandOver { claim: 1, suspect: suspect() });
    dies(&mut pool, giver);
    let (other, mut ears) = join(&mut pool, 0);
    says(&mut pool, other, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, false));
    // It took its process with it; that is no reason to wait for the next one.
    dies(&mut pool, apart);
    assert!(pool.desk.claim.is_none());
    assert_eq!(pool.places[1].keep_until, None);
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_until_the_process_for_suspects_serves_or_dies() {
    let (mut pool, giver, mut ears) = pool();
    let (apart, _) = join(&mut pool, 1);
    pool.members.get_mut(&apart).unwrap().serving = false;
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), Vec::<String>::new());
    dies(&mut pool, apart);
    assert_eq!(ears.heard(), answer(1, false));
    let rests_until = pool.places[1].keep_until.unwrap();
    assert!(rests_until > Instant::now());

    advance(rests_until - Instant::now()).await;
    let (apart, _) = join(&mut pool, 1);
    pool.members.get_mut(&apart).unwrap().serving = false;
    says(&mut pool, giver, Up::Claim { claim: 2 });
    assert_eq!(ears.heard(), Vec::<String>::new());
    says(&mut pool, apart, Up::Serving { grace_millis: 1 });
    assert_eq!(ears.heard(), answer(2, true));
}

#[tokio::test(start_paused = true)]
async fn the_process_for_suspects_is_replaced_between_two_of_them() {
    let (mut pool, giver, mut ears) = pool();
    let (apart, mut their_ears) = join(&mut pool, 1);
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, true));
    pool.on(apart, Event::OverMemory(1));
    says(&mut pool, giver, Up::HandOver { claim: 1, suspect: suspect() });
    pool.on(apart, Event::OverMemory(1));
    assert_eq!((their_ears.heard().len(), pool.report.recycled_for_memory), (1, 0));
    says(&mut pool, apart, Up::Done { claim: 1 });
    pool.on(apart, Event::OverMemory(1));
    assert_eq!(their_ears.heard(), DRAIN);
    pool.on(apart, Event::OverMemory(1));
    assert_eq!(pool.report.recycled_for_memory, 1);
}

/// A process that was started says that it did so much.
fn works(pool: &mut Pool, id: Id, started: u64, completed: u64) {
    let counters = Counters::default();
    counters.started.add(started);
    counters.completed.add(completed);
    says(pool, id, Up::Alive(counters.report()));
}

fn dies_at_its_start(pool: &mut Pool, id: Id) {
    pool.members.get_mut(&id).unwrap().serving = false;
    dies(pool, id);
}

/// After how many seconds it is started again.
fn pause(pool: &mut Pool) -> Option<u64> {
    Some((pool.places[0].start_at.take()? - Instant::now()).as_secs())
}

#[tokio::test(start_paused = true)]
async fn who_has_served_is_started_again_however_often_it_dies() {
    let (mut pool, mut id, _) = pool();
    for expected in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        dies(&mut pool, id);
        assert_eq!(pause(&mut pool), Some(expected));
        (id, _) = join(&mut pool, 0);
    }
    // It did something, so there is no reason to wait for long.
    works(&mut pool, id, 1, 1);
    dies(&mut pool, id);
    assert_eq!(pause(&mut pool), Some(1));
    // The limit is 3, and each time that one serves it begins anew.
    for serves in [false, false, true, false, false] {
        (id, _) = join(&mut pool, 0);
        if serves {
            dies(&mut pool, id)
        } else {
            dies_at_its_start(&mut pool, id)
        }
        assert!(pause(&mut pool).is_some() && !pool.handle.stop.is_cancelled());
    }
    (id, _) = join(&mut pool, 0);
    dies_at_its_start(&mut pool, id);
    assert_eq!((pause(&mut pool), pool.handle.stop.is_cancelled()), (None, true));
    assert_eq!(pool.failure.unwrap().deaths, 3);
}

#[tokio::test(start_paused = true)]
async fn a_good_life_is_no_part_of_a_crash_loop() {
    let (mut pool, id, _) = pool();
    pool.settings.restarts.limit = 1;
    works(&mut pool, id, 1, 1);
    dies(&mut pool, id);
    assert_eq!((pause(&mut pool), pool.handle.stop.is_cancelled()), (Some(1), false));
    let (id, _) = join(&mut pool, 0);
    dies_at_its_start(&mut pool, id);
    assert_eq!((pause(&mut pool), pool.handle.stop.is_cancelled()), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_successor_cannot_be_started_goes_on() {
    let (mut pool, id, mut ears) = pool();
    for _ in 0..10 {
        works(&mut pool, id, 100, 100);
        assert_eq!(pool.places[0].keep_until, Some(Instant::now() + MINUTE));
        advance(MINUTE - SECOND).await;
        // Nobody tries before then.
        let keep_until = pool.places[0].keep_until;
        works(&mut pool, id, 100, 100);
        assert_eq!((pool.places[0].keep_until, pool.wake_at()), (keep_until, None));
        advance(SECOND).await;
    }
    assert_eq!((pool.places[0].current, pool.places[0].past.deaths), (Some(id), 0));
    assert_eq!((ears.heard(), pool.report.recycled_for_jobs), (vec![], 0));
    assert!(!pool.handle.stop.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_too_large_soon_after_its_start_is_kept_for_a_while() {
    let (mut pool, id, _) = pool();
    // It can be started, and ends with its stdin.
    pool.program = Program::at("/bin/sh");
    pool.on(id, Event::OverMemory(1));
    assert_eq!((pool.places[0].successor, pool.report.recycled_for_memory), (None, 0));
    assert_eq!(pool.places[0].keep_until, Some(Instant::now() + MINUTE));
    advance(MINUTE - SECOND).await;
    pool.on(id, Event::OverMemory(1));
    assert_eq!((pool.places[0].successor, pool.report.recycled_for_memory), (None, 0));
    advance(SECOND).await;
    pool.on(id, Event::OverMemory(1));
    assert!(pool.places[0].successor.is_some());
    assert_eq!(pool.report.recycled_for_memory, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_retired_is_shown_until_it_is_gone() {
    let (mut pool, before, _) = pool();
    pool.members.get_mut(&before).unwrap().pid = Some(11);
    works(&mut pool, before, 2, 1);
    let (after, _) = join(&mut pool, 0);
    pool.members.get_mut(&after).unwrap().pid = Some(12);
    works(&mut pool, after, 1, 1);
    pool.places[0].current = Some(before);
    pool.places[0].successor = Some(after);
    let shown = |pool: &Pool| {
        pool.publish();
        let shown = |it: ProcessStatus| {
            (it.process, it.state, it.pid.unwrap(), it.jobs.started(), it.jobs.completed())
        };
        pool.handle.processes().into_iter().map(shown).collect::<Vec<_>>()
    };
    let one = || "1".to_owned();
    assert_eq!(shown(&pool), [(one(), ProcessState::Recycling, 11, 3, 2)]);
    says(&mut pool, after, Up::Serving { grace_millis: 1 });
    assert_eq!(
        shown(&pool),
        [(one(), ProcessState::Running, 12, 3, 2), (one(), ProcessState::Draining, 11, 0, 0)]
    );
    // Now and then somebody is told.
    for _ in 0..3 {
        assert_eq!(pool.wake_at(), Some(Instant::now() + 10 * MINUTE));
        advance(10 * MINUTE).await;
        pool.on_time();
    }
    ends(&mut pool, before);
    assert_eq!(pool.wake_at(), None);
    assert_eq!(shown(&pool), [(one(), ProcessState::Running, 12, 3, 2)]);
}

#[tokio::test]
async fn the_first_signal_leaves_the_grace_time_whoever_has_stopped_it() {
    for stopped in [false, true] {
        let (mut pool, ..) = pool();
        if stopped {
            pool.handle.shutdown();
            pool.stop();
        }
        pool.signal();
        let SupervisorHandle { stop, now, .. } = pool.handle.clone();
        assert!(stop.is_cancelled() && !now.is_cancelled());
        pool.signal();
        assert!(now.is_cancelled());
    }
}
