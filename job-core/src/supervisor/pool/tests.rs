//! The process for suspects, in a pool whose processes are made up.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::advance;

use super::super::Supervisor;
use super::super::wire::line;
use super::*;
use crate::QueueName;
use crate::backend::{MessageId, Receipt, Token};
use crate::worker::{Handed, Held};

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
        grace: None,
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
const RETIRE: &str = r#""retire""#;

#[tokio::test(start_paused = true)]
async fn the_process_for_suspects_ends_when_it_has_had_nothing_to_do_for_a_while() {
    let (mut pool, giver, mut ears) = pool();
    let (apart, mut their_ears) = join(&mut pool, 1);
    says(&mut pool, giver, Up::Claim { claim: 1 });
    assert_eq!(ears.heard(), answer(1, true));
    says(&mut pool, giver, Up::HandOver { claim: 1, suspect: suspect() });
    assert_eq!(their_ears.heard().len(), 1);
    // It runs for as long as it likes.
    advance(10 * MINUTE).await;
    pool.on_time();
    assert_eq!((pool.wake_at(), their_ears.heard()), (None, vec![]));

    says(&mut pool, apart, Up::Done { claim: 1 });
    let until = Instant::now() + MINUTE;
    assert_eq!(pool.wake_at(), Some(until));
    advance(MINUTE - SECOND).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), Vec::<String>::new());
    // Whatever it gets to do starts the time anew.
    says(&mut pool, giver, Up::Claim { claim: 2 });
    assert_eq!(ears.heard(), answer(2, true));
    advance(MINUTE).await;
    pool.on_time();
    assert_eq!(their_ears.heard(), Vec::<String>::new());
    says(&mut pool, giver, Up::Withdraw { claim: 2 });
    advance(MINUTE).await;
    assert_eq!(pool.wake_at(), Some(Instant::now()));
    pool.on_time();
    assert_eq!(their_ears.heard(), [RETIRE]);

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
    assert_eq!(their_ears.heard(), [RETIRE]);
    pool.on(apart, Event::OverMemory(1));
    assert_eq!(pool.report.recycled_for_memory, 1);
}
