//! Histories made by hand: a good one, and for each invariant some that must be found broken.

use super::*;
use crate::history::{Body, Event, Mark, Op, Rules, Seen, Signal, Wire};
use crate::jobs::QUEUE;

const JOB: &str = "job-1";
const OTHER: &str = "job-2";
const FIRST: u32 = 101;
const SECOND_WORKER: u32 = 102;
const NONE: [u8; 0] = [];
const RULES: Rules = Rules {
    seed: 7,
    lease_ms: 5_000,
    grace_ms: 4_000,
    longest_poll_ms: 1_000,
    crash_limit: 3,
    fair: false,
    only_kills: false,
    suspects_alone: false,
};

/// A history in the making. Times are in milliseconds.
struct Tale {
    rules: Rules,
    entries: Vec<Entry>,
    runs: u64,
    kind: Kind,
}

impl Tale {
    fn new() -> Self {
        Self { rules: RULES, entries: Vec::new(), runs: 0, kind: Kind::Ok }
    }

    fn tell(&mut self, at: u64, pid: u32, event: Event) -> &mut Self {
        self.entries.push(Entry { at: at * 1_000, wall: 0, pid, event });
        self
    }

    fn enqueue(&mut self, at: u64, kind: Kind) -> &mut Self {
        let job = || JOB.to_owned();
        self.kind = kind;
        self.tell(at, 1, Event::Invoke { job: job(), kind, n: 1 });
        self.wire(at, 0, Op::Send, |_| {});
        self.tell(at, 1, Event::Enqueued { job: job() })
    }

    fn wire(&mut self, at: u64, worker: u32, op: Op, change: impl FnOnce(&mut Wire)) -> &mut Self {
        let body = Body { job: JOB.into(), ..Body::default() };
        let seen = Seen { id: Some("m".into()), count: None, body: Some(body) };
        let mut wire = Wire {
            op,
            queue: QUEUE.into(),
            worker,
            sent: at * 1_000,
            status: Some(if op == Op::Send { 201 } else { 200 }),
            answered: true,
            messages: vec![seen],
            ..Wire::default()
        };
        change(&mut wire);
        self.tell(at, 1, Event::Wire(wire))
    }

    fn receive(&mut self, at: u64, worker: u32, count: u32) -> &mut Self {
        self.wire(at, worker, Op::Receive, |wire| wire.messages[0].count = Some(count))
    }

    fn update(&mut self, at: u64, worker: u32, hidden: u64, mark: Mark) -> &mut Self {
        self.wire(at, worker, Op::Update, |wire| {
            wire.hidden_ms = Some(hidden);
            wire.messages[0].body.as_mut().unwrap().mark = mark;
        })
    }

    fn delete(&mut self, at: u64, worker: u32) -> &mut Self {
        self.wire(at, worker, Op::Delete, |wire| wire.messages[0].body = None)
    }

    fn copy(&mut self, at: u64, worker: u32) -> &mut Self {
        self.wire(at, worker, Op::Send, |wire| wire.queue = format!("{QUEUE}-poison"))
    }

    fn start(&mut self, at: u64, worker: u32) -> u64 {
        self.runs += 1;
        let (job, run, kind) = (JOB.to_owned(), self.runs, self.kind);
        self.tell(at, worker, Event::Start { job, attempt: 1, run, n: 1, kind, intact: true });
        run
    }

    fn finish(&mut self, at: u64, worker: u32, run: u64, end: End) -> &mut Self {
        self.tell(at, worker, Event::Finish { job: JOB.into(), run, end })
    }

    /// Received, run to that end, all in a moment.
    fn ran(&mut self, at: u64, worker: u32, count: u32, end: End) -> &mut Self {
        self.receive(at, worker, count);
        let run = self.start(at, worker);
        self.finish(at, worker, run, end)
    }

    fn died(&mut self, at: u64, worker: u32) -> &mut Self {
        self.tell(at, 1, Event::Exited { worker })
    }

    fn start_other(&mut self, at: u64, worker: u32, kind: Kind, run: u64) -> &mut Self {
        let job = OTHER.to_owned();
        self.tell(at, worker, Event::Start { job, attempt: 1, run, n: 2, kind, intact: true })
    }

    /// A deadly job, which is started in that process and takes it along.
    fn died_of_another(&mut self, at: u64, worker: u32, count: u32) -> &mut Self {
        let job = || OTHER.to_owned();
        if count == 1 {
            self.tell(at, 1, Event::Invoke { job: job(), kind: Kind::Abort, n: 2 });
            self.tell(90_000, 1, Event::Remains { job: Some(job()) });
        }
        self.wire(at, worker, Op::Receive, |wire| {
            let body = Some(Body { job: job(), ..Body::default() });
            wire.messages = vec![Seen { id: Some("other".into()), count: Some(count), body }];
        });
        let run = 1_000 + u64::from(count);
        self.start_other(at, worker, Kind::Abort, run).died(at, worker)
    }

    fn poisoned(&mut self, reason: Reason) -> &mut Self {
        let (job, n, kind) = (JOB.to_owned(), Some(1), Some(self.kind));
        self.tell(90_000, 1, Event::Poisoned { job, reason, n, kind, intact: true })
    }

    /// What is broken about it: the numbers of the invariants.
    fn broken(&mut self) -> Vec<u8> {
        let mut entries = self.entries.clone();
        let mut frame = |at: u64, event| entries.push(Entry { at, wall: 0, pid: 1, event });
        frame(0, Event::Run { rules: self.rules });
        frame(60_000_000, Event::Quiet);
        if !self.entries.iter().any(|entry| matches!(entry.event, Event::Drained)) {
            frame(61_000_000, Event::Drained);
        }
        frame(Micros::MAX, Event::End);
        entries.sort_by_key(|entry| entry.at);
        let verdict = judge(&entries).unwrap();
        let text = verdict.to_string();
        assert_eq!(verdict.is_good(), !text.ends_with("BROKEN"), "{text}");
        let mut broken: Vec<_> = verdict.broken.iter().map(|broken| broken.invariant).collect();
        broken.dedup();
        broken
    }
}

/// An `ok` job that was enqueued, run and deleted.
fn good() -> Tale {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Ok).ran(200, FIRST, 1, End::Done).delete(210, FIRST);
    tale
}

/// One that was killed and ran again.
fn killed() -> Tale {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Ok).receive(200, FIRST, 1);
    tale.start(200, FIRST);
    tale.tell(300, 1, Event::Signal { worker: FIRST, signal: Signal::Kill }).died(310, FIRST);
    tale.ran(5_300, SECOND_WORKER, 2, End::Done).delete(5_310, SECOND_WORKER);
    tale
}

/// One that failed as often as it may.
fn hopeless(attempts: u32) -> Tale {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Hopeless);
    for count in 1..=attempts {
        let at = u64::from(count) * 2_000;
        tale.ran(at, FIRST, count, End::Failed);
        if count < attempts {
            tale.update(at + 5, FIRST, 1_000, Mark::None);
        }
    }
    tale.update(8_000, FIRST, 5_000, Mark::Fenced).copy(8_010, FIRST).delete(8_020, FIRST);
    tale.poisoned(Reason::AttemptsExhausted);
    tale
}

/// One that took its worker with it until it was condemned.
fn deadly(deaths: u32) -> Tale {
    fatal(Kind::Abort, deaths)
}

/// One that was there when its worker died, or did it itself, until it was condemned.
fn fatal(kind: Kind, deaths: u32) -> Tale {
    let mut tale = Tale::new();
    tale.enqueue(100, kind);
    for count in 1..=deaths {
        let (at, worker) = (u64::from(count) * 6_000, 200 + count);
        tale.receive(at, worker, count);
        if count > 1 {
            tale.update(at, worker, 5_000, Mark::Started);
        }
        tale.start(at + 1, worker);
        match kind.is_deadly() {
            true => tale.died(at + 50, worker),
            false => tale.died_of_another(at + 50, worker, count),
        };
    }
    let at = u64::from(deaths + 1) * 6_000;
    tale.receive(at, FIRST, deaths + 1).update(at + 1, FIRST, 5_000, Mark::Fenced);
    tale.copy(at + 2, FIRST).delete(at + 3, FIRST).poisoned(Reason::Crashed);
    tale
}

#[test]
fn what_is_as_promised_is_good() {
    assert_eq!(good().broken(), NONE);
    assert_eq!(killed().broken(), NONE);
    assert_eq!(hopeless(3).broken(), NONE);
    assert_eq!(deadly(4).broken(), NONE);
}

#[test]
fn a_kill_tells_how_long_its_jobs_waited() {
    let mut tale = killed();
    tale.tell(0, 1, Event::Run { rules: RULES }).tell(99_000, 1, Event::End);
    tale.entries.sort_by_key(|entry| entry.at);
    assert_eq!(judge(&tale.entries).unwrap().recoveries, [5_000_000]);
}

#[test]
fn a_job_that_waits_too_long_after_a_kill_is_told() {
    let mut tale = Tale::new();
    tale.rules.only_kills = true;
    tale.enqueue(100, Kind::Ok).receive(200, FIRST, 1);
    tale.start(200, FIRST);
    tale.tell(300, 1, Event::Signal { worker: FIRST, signal: Signal::Kill }).died(310, FIRST);
    tale.ran(8_400, SECOND_WORKER, 2, End::Done).delete(8_410, SECOND_WORKER);
    assert_eq!(tale.broken(), [0]);
}

#[test]
fn a_history_without_a_beginning_or_an_end_proves_nothing() {
    let mut tale = good();
    assert!(judge(&tale.entries).is_err());
    tale.tell(0, 1, Event::Run { rules: RULES });
    assert!(judge(&tale.entries).is_err());
}

#[test]
fn breaks_1_a_lost_job() {
    assert_eq!(Tale::new().enqueue(100, Kind::Ok).broken(), [1]);
    // What nobody was told of may be gone, and what is in the queue is not lost.
    let mut unsure = Tale::new();
    unsure.tell(100, 1, Event::Invoke { job: JOB.into(), kind: Kind::Ok, n: 1 });
    assert_eq!(unsure.tell(101, 1, Event::Unknown { job: JOB.into() }).broken(), NONE);
    // What was seen in the queue was there, whatever its producer was told.
    unsure.wire(100, 0, Op::Send, |wire| wire.answered = false);
    assert_eq!(unsure.broken(), [1]);
    let mut left = Tale::new();
    left.enqueue(100, Kind::Ok);
    assert_eq!(left.tell(90_000, 1, Event::Remains { job: Some(JOB.into()) }).broken(), NONE);
}

#[test]
fn breaks_2_a_job_that_nobody_enqueued() {
    let mut tale = good();
    assert_eq!(tale.start_other(300, FIRST, Kind::Ok, 9).broken(), [2]);
    let mut tale = good();
    let (job, reason, n, kind) = (OTHER.to_owned(), Reason::Permanent, Some(2), Some(Kind::Ok));
    let poisoned = Event::Poisoned { job, reason, n, kind, intact: true };
    assert_eq!(tale.tell(90_000, 1, poisoned).broken(), [2]);
    assert_eq!(good().tell(90_000, 1, Event::Remains { job: None }).broken(), [2]);
    assert_eq!(good().tell(120, 1, Event::Rejected { job: JOB.into() }).broken(), [2]);
}

#[test]
fn breaks_2_changed_args() {
    let mut tale = good();
    for entry in &mut tale.entries {
        if let Event::Start { intact, .. } = &mut entry.event {
            *intact = false;
        }
    }
    assert_eq!(tale.broken(), [2]);
}

#[test]
fn breaks_2_the_args_of_another_job() {
    // Whole, and not its own.
    for (other, with) in [(2, Kind::Ok), (1, Kind::Slow)] {
        let mut tale = good();
        for entry in &mut tale.entries {
            if let Event::Start { n, kind, .. } = &mut entry.event {
                (*n, *kind) = (other, with);
            }
        }
        assert_eq!(tale.broken(), [2]);
        let mut tale = hopeless(3);
        for entry in &mut tale.entries {
            if let Event::Poisoned { n, kind, .. } = &mut entry.event {
                (*n, *kind) = (Some(other), Some(with));
            }
        }
        assert_eq!(tale.broken(), [2]);
    }
}

#[test]
fn breaks_3_too_many_starts() {
    // It fails a fourth time, of three.
    assert_eq!(hopeless(4).broken(), [3]);
    // A job that kills its worker, and is never condemned in time.
    assert_eq!(deadly(5).broken(), [3]);
    // Started twice from one delivery.
    let mut tale = good();
    let run = tale.start(205, FIRST);
    assert_eq!(tale.finish(206, FIRST, run, End::Failed).broken(), [3]);
}

#[test]
fn breaks_3_a_start_of_what_was_given_back() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Ok).receive(200, FIRST, 1).update(210, FIRST, 1_000, Mark::None);
    let run = tale.start(220, FIRST);
    tale.finish(230, FIRST, run, End::Failed);
    tale.ran(1_300, FIRST, 2, End::Done).delete(1_310, FIRST);
    assert_eq!(tale.broken(), [3]);
    // The same of what was handed over.
    let mut tale = handed_over(Kind::Ok);
    tale.update(24_015, ALONE, 2_000, Mark::None);
    let run = tale.start(24_020, ALONE);
    tale.finish(24_030, ALONE, run, End::Done).delete(24_040, ALONE);
    assert_eq!(tale.broken(), [3]);
}

#[test]
fn a_job_that_was_sent_twice_runs_twice() {
    let other = |wire: &mut Wire| wire.messages[0].id = Some("n".into());
    let mut tale = Tale::new();
    tale.wire(90, 0, Op::Send, |wire| {
        other(wire);
        wire.answered = false;
    });
    tale.enqueue(100, Kind::Ok).receive(200, FIRST, 1).wire(200, FIRST, Op::Receive, |wire| {
        other(wire);
        wire.messages[0].count = Some(1);
    });
    let run = tale.start(201, FIRST);
    tale.finish(202, FIRST, run, End::Done).delete(203, FIRST);
    let run = tale.start(204, FIRST);
    tale.finish(205, FIRST, run, End::Done).wire(206, FIRST, Op::Delete, |wire| {
        other(wire);
        wire.messages[0].body = None;
    });
    assert_eq!(tale.broken(), NONE);
}

/// Both are received at once, and the one that came first is started and fenced first.
#[test]
fn two_messages_of_a_job_have_a_start_each() {
    let mut tale = Tale::new();
    let other = |wire: &mut Wire| wire.messages[0].id = Some("n".into());
    tale.wire(90, 0, Op::Send, |wire| {
        other(wire);
        wire.answered = false;
    });
    tale.enqueue(100, Kind::Permanent).receive(200, SECOND_WORKER, 1).died(210, SECOND_WORKER);
    tale.tell(205, 1, Event::Signal { worker: SECOND_WORKER, signal: Signal::Kill });
    tale.wire(201, SECOND_WORKER, Op::Receive, |wire| {
        other(wire);
        wire.messages[0].count = Some(1);
    });
    tale.receive(5_300, FIRST, 2).wire(5_301, FIRST, Op::Receive, |wire| {
        other(wire);
        wire.messages[0].count = Some(2);
    });
    let moved = |tale: &mut Tale, at: u64, whose: &dyn Fn(&mut Wire)| {
        let update = |tale: &mut Tale, at, mark| {
            tale.wire(at, FIRST, Op::Update, |wire| {
                wire.hidden_ms = Some(5_000);
                wire.messages[0].body.as_mut().unwrap().mark = mark;
                whose(wire);
            });
        };
        update(tale, at, Mark::Started);
        let run = tale.start(at + 1, FIRST);
        tale.finish(at + 2, FIRST, run, End::Permanent);
        update(tale, at + 3, Mark::Fenced);
        tale.copy(at + 4, FIRST);
    };
    moved(&mut tale, 5_310, &|_| {});
    moved(&mut tale, 5_320, &other);
    tale.delete(5_330, FIRST).wire(5_331, FIRST, Op::Delete, |wire| {
        other(wire);
        wire.messages[0].body = None;
    });
    assert_eq!(tale.poisoned(Reason::Permanent).poisoned(Reason::Permanent).broken(), NONE);
}

#[test]
fn breaks_3_a_death_for_each_wait_of_a_suspect() {
    let waiting = |deaths| {
        let mut tale = Tale::new();
        tale.enqueue(100, Kind::Abort);
        let mut count = 0;
        for death in 1..=deaths {
            let at = u64::from(death) * 10_000;
            if death > 3 {
                count += 1;
                tale.receive(at - 3_000, FIRST, count).wire(
                    at - 2_900,
                    FIRST,
                    Op::Update,
                    |wire| {
                        wire.hidden_ms = Some(2_000);
                        wire.messages[0].body.as_mut().unwrap().crashed = 2;
                    },
                );
            }
            count += 1;
            tale.receive(at, 200 + death, count);
            if death > 1 {
                tale.update(at, 200 + death, 5_000, Mark::Started);
            }
            tale.start(at + 1, 200 + death);
            tale.died(at + 50, 200 + death);
        }
        let at = u64::from(deaths + 1) * 10_000;
        tale.receive(at, FIRST, count + 1).update(at + 1, FIRST, 5_000, Mark::Fenced);
        tale.copy(at + 2, FIRST).delete(at + 3, FIRST).poisoned(Reason::Crashed).broken()
    };
    assert_eq!(waiting(4), NONE);
    assert_eq!(waiting(5), [3]);
}

#[test]
fn breaks_3_a_start_behind_a_fence() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Permanent).ran(200, FIRST, 1, End::Permanent);
    tale.update(210, FIRST, 5_000, Mark::Fenced);
    tale.tell(215, 1, Event::Signal { worker: FIRST, signal: Signal::Kill }).died(220, FIRST);
    tale.ran(5_300, SECOND_WORKER, 2, End::Permanent).copy(5_400, SECOND_WORKER);
    tale.delete(5_500, SECOND_WORKER).poisoned(Reason::Permanent);
    assert_eq!(tale.broken(), [3]);
}

#[test]
fn breaks_4_too_many_copies() {
    let mut tale = hopeless(3);
    assert_eq!(tale.poisoned(Reason::AttemptsExhausted).broken(), [4, 5]);
    let struck = |answered, fault: &str, delayed, heard: bool| {
        let mut tale = hopeless(3);
        tale.wire(8_015, FIRST, Op::Send, |wire| {
            wire.queue = format!("{QUEUE}-poison");
            (wire.answered, wire.fault, wire.delayed_ms) = (answered, Some(fault.into()), delayed);
        });
        let sent = tale.entries.last().unwrap().event.clone();
        if let (Event::Wire(wire), false) = (sent, heard) {
            tale.tell(8_020, FIRST, Event::Unheard(wire));
        }
        tale.poisoned(Reason::AttemptsExhausted).broken()
    };
    // One more is explained by an answer that was lost or late.
    assert_eq!(struck(false, "drop answer", None, true), NONE);
    assert_eq!(struck(true, "delay answer", Some(900), true), NONE);
    assert_eq!(struck(true, "delay answer", Some(300), true), [4, 5]);
    assert_eq!(struck(true, "delay answer", Some(300), false), NONE);
}

#[test]
fn breaks_5_a_second_completion() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Ok).ran(200, FIRST, 1, End::Done);
    // Given back although it was done.
    tale.update(210, FIRST, 0, Mark::None).ran(300, FIRST, 2, End::Done).delete(310, FIRST);
    assert_eq!(tale.broken(), [5]);
}

#[test]
fn breaks_5_any_duplicate_in_fair_weather() {
    let twice = || {
        let mut tale = Tale::new();
        tale.enqueue(100, Kind::Ok).ran(200, FIRST, 1, End::Done);
        // The first delete was lost on its way.
        tale.wire(210, FIRST, Op::Delete, |wire| {
            (wire.status, wire.answered, wire.fault) = (None, false, Some("drop request".into()));
        });
        tale.ran(5_300, FIRST, 2, End::Done).delete(5_310, FIRST);
        tale
    };
    assert_eq!(twice().broken(), NONE);
    let mut tale = twice();
    tale.rules.fair = true;
    assert_eq!(tale.broken(), [5]);
}

#[test]
fn breaks_6_condemned_unheard() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Hopeless).receive(200, FIRST, 4).update(
        205,
        FIRST,
        5_000,
        Mark::Fenced,
    );
    tale.copy(210, FIRST).delete(220, FIRST);
    assert_eq!(tale.poisoned(Reason::AttemptsExhausted).broken(), [6]);
    // Give-backs that were taken for attempts.
    assert_eq!(hopeless(2).broken(), [6]);
    // Lost answers that were taken for crashes.
    assert_eq!(deadly(2).broken(), [6]);
}

#[test]
fn breaks_6_a_charge_for_nothing() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Ok).receive(200, FIRST, 1);
    let run = tale.start(200, FIRST);
    tale.tell(300, FIRST, Event::Cancelled { job: JOB.into(), run });
    tale.wire(310, FIRST, Op::Update, |wire| {
        wire.hidden_ms = Some(0);
        wire.messages[0].body.as_mut().unwrap().failed = 1;
    });
    tale.ran(400, SECOND_WORKER, 2, End::Done).delete(410, SECOND_WORKER);
    assert_eq!(tale.broken(), [6]);
}

#[test]
fn breaks_3_a_copy_of_what_is_not_marked() {
    let mut tale = hopeless(3);
    tale.entries.retain(|entry| match &entry.event {
        Event::Wire(wire) => {
            wire.messages[0].body.as_ref().is_none_or(|body| body.mark != Mark::Fenced)
        }
        _ => true,
    });
    assert_eq!(tale.broken(), [3]);
}

#[test]
fn breaks_7_a_delete_before_the_end() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Ok).receive(200, FIRST, 1).delete(205, FIRST);
    let run = tale.start(210, FIRST);
    assert_eq!(tale.finish(220, FIRST, run, End::Done).broken(), [3, 7]);
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Permanent).ran(200, FIRST, 1, End::Permanent);
    tale.update(205, FIRST, 5_000, Mark::Fenced).delete(210, FIRST).copy(220, FIRST);
    assert_eq!(tale.poisoned(Reason::Permanent).broken(), [7]);
}

/// Two runs at once; of the lease between them, `between` tells.
fn overlap(between: impl FnOnce(&mut Tale)) -> Vec<u8> {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Slow).receive(200, FIRST, 1);
    let first = tale.start(200, FIRST);
    between(&mut tale);
    tale.receive(5_300, SECOND_WORKER, 2);
    let second = tale.start(5_300, SECOND_WORKER);
    tale.finish(7_200, FIRST, first, End::Failed);
    tale.finish(12_300, SECOND_WORKER, second, End::Done).delete(12_400, SECOND_WORKER);
    tale.broken()
}

#[test]
fn breaks_8_an_overlap_without_a_lost_lease() {
    let stop = Event::Signal { worker: FIRST, signal: Signal::Stop };
    let paused = overlap(|tale| {
        tale.tell(300, 1, stop);
    });
    assert_eq!(paused, NONE);
    assert_eq!(overlap(|_| {}), [0], "a lease must not run out for no reason");
    // Given back while its handler was still there.
    assert_eq!(
        overlap(|tale| {
            tale.update(1_000, FIRST, 0, Mark::None);
        }),
        [8]
    );
}

#[test]
fn a_renewal_that_the_service_is_slow_to_make_is_a_reason_to_lose_a_lease() {
    let renewed = |sent: u64| {
        let mut tale = Tale::new();
        tale.enqueue(100, Kind::Slow).receive(200, FIRST, 1);
        let first = tale.start(200, FIRST);
        tale.receive(5_300, SECOND_WORKER, 2);
        let second = tale.start(5_300, SECOND_WORKER);
        tale.wire(6_000, FIRST, Op::Update, |wire| {
            (wire.sent, wire.status, wire.hidden_ms) = (sent * 1_000, Some(404), Some(5_000));
            wire.messages[0].body = None;
        });
        tale.finish(7_200, FIRST, first, End::Failed);
        tale.finish(12_300, SECOND_WORKER, second, End::Done).delete(12_400, SECOND_WORKER);
        tale.broken()
    };
    assert_eq!(renewed(3_000), NONE);
    assert_eq!(renewed(5_900), [0], "it came too late");
    assert_eq!(renewed(5_400), [0], "that was slow, and sent too late");
}

#[test]
fn a_message_that_is_given_back_may_be_received_before_the_answer_to_that() {
    let given_back = |sent: u64| {
        let mut tale = Tale::new();
        tale.enqueue(100, Kind::Slow).receive(200, FIRST, 1);
        let first = tale.start(200, FIRST);
        tale.tell(1_000, FIRST, Event::Cancelled { job: JOB.into(), run: first });
        tale.receive(1_100, SECOND_WORKER, 2);
        let second = tale.start(1_100, SECOND_WORKER);
        tale.wire(1_110, FIRST, Op::Update, |wire| {
            (wire.sent, wire.hidden_ms) = (sent * 1_000, Some(0));
            wire.messages[0].body.as_mut().unwrap().given_back = 1;
        });
        tale.finish(1_200, SECOND_WORKER, second, End::Done).delete(1_210, SECOND_WORKER);
        tale.broken()
    };
    assert_eq!(given_back(1_050), NONE);
    assert_ne!(given_back(1_105), NONE, "it was sent too late for that");
}

/// A blocking handler starts, and the lease of a job in that process runs out. It was received at
/// that time, and run if `run`.
fn beside_a_block(at: u64, run: bool) -> Vec<u8> {
    let mut tale = Tale::new();
    tale.tell(50, 1, Event::Invoke { job: OTHER.into(), kind: Kind::Block, n: 2 });
    tale.tell(90_000, 1, Event::Remains { job: Some(OTHER.into()) });
    tale.wire(1_000, FIRST, Op::Receive, |wire| {
        let body = Some(Body { job: OTHER.into(), ..Body::default() });
        wire.messages = vec![Seen { id: Some("other".into()), count: Some(1), body }];
    });
    tale.start_other(1_000, FIRST, Kind::Block, 90);
    tale.enqueue(100, Kind::Slow).receive(at, FIRST, 1);
    if run {
        let run = tale.start(at, FIRST);
        tale.tell(at + 4_000, FIRST, Event::Cancelled { job: JOB.into(), run });
    }
    tale.ran(at + 5_100, SECOND_WORKER, 2, End::Done).delete(at + 5_200, SECOND_WORKER);
    tale.broken()
}

#[test]
fn a_handler_that_blocks_costs_no_lease() {
    assert_eq!(beside_a_block(2_000, false), NONE, "nobody saw that it came");
    assert_eq!(beside_a_block(2_000, true), [0]);
    assert_eq!(beside_a_block(200, true), [0]);
    assert_eq!(beside_a_block(200, false), [0]);
    // Its own least of all.
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Block).receive(200, FIRST, 1);
    let first = tale.start(200, FIRST);
    tale.receive(5_300, SECOND_WORKER, 2);
    let second = tale.start(5_300, SECOND_WORKER);
    tale.finish(7_200, FIRST, first, End::Done);
    tale.finish(12_300, SECOND_WORKER, second, End::Done).delete(12_400, SECOND_WORKER);
    assert_eq!(tale.broken(), [0]);
    let still = |until, micros| {
        let mut tale = Tale { entries: tale.entries.clone(), ..Tale::new() };
        tale.tell(until, 1, Event::StoodStill { micros }).broken()
    };
    assert_eq!(still(5_000, 3_000_000), NONE, "its keeper did not move either");
    assert_eq!(still(5_000, 1_500_000), [0], "for long enough that is no reason");
    assert_eq!(still(2_000, 3_000_000), [0], "most of it before it was received");
}

#[test]
fn breaks_9_a_queue_that_does_not_drain() {
    assert_eq!(good().tell(125_500, 1, Event::Drained).broken(), [9]);
    assert_eq!(good().tell(124_500, 1, Event::Drained).broken(), NONE);
}

/// A job that was put off for that long, in seconds, for a reason that its body says.
fn put_off(hidden: u64, say: impl Fn(&mut Body)) -> Vec<u8> {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Flaky).ran(200, FIRST, 1, End::Failed);
    tale.wire(210, FIRST, Op::Update, |wire| {
        wire.hidden_ms = Some(hidden * 1_000);
        say(wire.messages[0].body.as_mut().unwrap());
    });
    tale.ran(30_000, FIRST, 2, End::Done).delete(30_010, FIRST).broken()
}

#[test]
fn breaks_9_a_job_that_waits_for_nothing() {
    assert_eq!(put_off(3, |body| body.failed = 1), NONE);
    assert_eq!(put_off(4, |body| body.failed = 1), [9]);
    assert_eq!(put_off(2, |body| body.snoozed = 1), NONE);
    assert_eq!(put_off(3, |body| body.snoozed = 1), [9]);
    assert_eq!(put_off(0, |body| body.given_back = 1), NONE);
    assert_eq!(put_off(1, |body| body.given_back = 1), [9]);
    assert_eq!(put_off(5, |body| body.put_back = 1), NONE);
    assert_eq!(put_off(6, |body| body.put_back = 1), [9]);
    assert_eq!(put_off(20, |body| body.put_back = 3), NONE);
}

#[test]
fn breaks_10_a_process_that_does_not_end() {
    let asked = Event::Signal { worker: FIRST, signal: Signal::Term };
    let gone = Event::Exited { worker: FIRST };
    let ends = |at| good().tell(1_000, 1, asked.clone()).tell(at, 1, gone.clone()).broken();
    assert_eq!(ends(6_900), NONE);
    assert_eq!(ends(7_500), [10]);
    assert_eq!(good().tell(1_000, 1, asked.clone()).broken(), [10]);
}

#[test]
fn time_in_which_the_machine_stands_still_does_not_count() {
    let asked = Event::Signal { worker: FIRST, signal: Signal::Term };
    let gone = Event::Exited { worker: FIRST };
    let ends = |still_until, micros| {
        let mut tale = good();
        tale.tell(1_000, 1, asked.clone()).tell(9_000, 1, gone.clone());
        tale.tell(still_until, 1, Event::StoodStill { micros }).broken()
    };
    assert_eq!(ends(5_000, 2_000_000), NONE);
    assert_eq!(ends(5_000, 1_000_000), [10]);
    assert_eq!(ends(1_500, 2_000_000), [10], "most of it before");
    assert_eq!(ends(10_000, 2_000_000), [10], "half of it after");

    let still = |at| {
        move |tale: &mut Tale| {
            tale.tell(300, 1, Event::Signal { worker: FIRST, signal: Signal::Term });
            tale.tell(at, 1, Event::StoodStill { micros: 2_000_000 });
            tale.tell(4_400, 1, Event::Supervisor { why: "it had to kill 1 processes".to_owned() });
        }
    };
    assert_eq!(left_behind(Kind::Slow, still(4_310)), NONE);
    assert_eq!(left_behind(Kind::Slow, still(6_500)), [10], "afterwards");
    let soon = |tale: &mut Tale| {
        tale.tell(400, 1, Event::Signal { worker: FIRST, signal: Signal::Term });
        tale.tell(1_000, 1, Event::StoodStill { micros: 500_000 });
    };
    assert_eq!(left_behind(Kind::Slow, soon), [10], "nobody had to kill it");
    let fell = Event::Supervisor { why: "it ended with 1".to_owned() };
    let still = Event::StoodStill { micros: 2_000_000 };
    assert_eq!(good().tell(1_000, 1, still).tell(1_000, 1, fell).broken(), [10]);
}

#[test]
fn breaks_10_a_supervisor_that_had_to_kill() {
    let why = "it had to kill 1 processes".to_owned();
    assert_eq!(good().tell(1_000, 1, Event::Supervisor { why }).broken(), [10]);
}

/// A job whose process ends while it runs, for whatever reason.
fn left_behind(kind: Kind, before: impl FnOnce(&mut Tale)) -> Vec<u8> {
    let mut tale = Tale::new();
    tale.enqueue(100, kind).receive(200, FIRST, 1);
    tale.start(200, FIRST);
    before(&mut tale);
    tale.died(4_300, FIRST);
    tale.receive(9_300, SECOND_WORKER, 2);
    let run = tale.start(9_300, SECOND_WORKER);
    tale.finish(16_300, SECOND_WORKER, run, End::Done).delete(16_400, SECOND_WORKER);
    tale.broken()
}

#[test]
fn breaks_10_a_job_that_is_not_given_back() {
    let sent = |signal| {
        move |tale: &mut Tale| {
            tale.tell(300, 1, Event::Signal { worker: FIRST, signal });
        }
    };
    assert_eq!(left_behind(Kind::Slow, sent(Signal::Term)), [10]);
    assert_eq!(left_behind(Kind::Slow, |_| {}), [10], "it is recycled");
    assert_eq!(left_behind(Kind::Slow, sent(Signal::Kill)), NONE);
    assert_eq!(left_behind(Kind::Slow, sent(Signal::Stop)), NONE, "killed for its silence");
    assert_eq!(left_behind(Kind::Block, sent(Signal::Term)), NONE, "it cannot be cancelled");
    let struck = |tale: &mut Tale| {
        tale.wire(4_200, FIRST, Op::Update, |wire| {
            (wire.status, wire.answered, wire.fault) = (None, false, Some("black hole".into()));
        });
    };
    assert_eq!(left_behind(Kind::Slow, struck), NONE, "it was tried");
}

#[test]
fn what_was_beside_a_deadly_job_is_not_given_back() {
    let other = |tale: &mut Tale| {
        tale.died_of_another(4_290, FIRST, 1);
    };
    assert_eq!(left_behind(Kind::Slow, other), NONE);
}

#[test]
fn breaks_10_a_start_after_the_signal() {
    let mut tale = Tale::new();
    tale.tell(100, 1, Event::Signal { worker: FIRST, signal: Signal::Term });
    tale.enqueue(200, Kind::Ok).ran(1_000, FIRST, 1, End::Done).delete(1_100, FIRST);
    assert_eq!(tale.died(1_200, FIRST).broken(), [10]);
}

#[test]
fn breaks_11_a_secret_in_a_log() {
    let leak = Event::Leaked { secret: "receipt".into(), file: "workers.log".into() };
    assert_eq!(good().tell(90_000, 1, leak).broken(), [11]);
}

#[test]
fn an_end_that_is_not_the_job_s_own_is_unexpected() {
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Hopeless).ran(200, FIRST, 1, End::Done).delete(210, FIRST);
    assert_eq!(tale.broken(), [0]);
    let mut tale = Tale::new();
    tale.enqueue(100, Kind::Delayed).ran(200, FIRST, 1, End::Done).delete(210, FIRST);
    assert_eq!(tale.broken(), [0], "it was not due");
}

#[test]
fn who_goes_down_with_others_is_unexpected_where_suspects_run_alone() {
    let innocent = || fatal(Kind::Ok, 4);
    assert_eq!(innocent().broken(), NONE);
    let mut tale = innocent();
    tale.rules.suspects_alone = true;
    assert_eq!(tale.broken(), [0]);
}

const ALONE: u32 = 103;

/// A job that was there when its workers died, and then runs where suspects do.
fn handed_over(kind: Kind) -> Tale {
    let mut tale = Tale::new();
    tale.rules.suspects_alone = true;
    let process = "suspects".to_owned();
    tale.tell(1, 1, Event::Spawned { worker: ALONE, process, role: "new".into() });
    tale.enqueue(100, kind);
    for count in 1..=3 {
        let (at, worker) = (u64::from(count) * 6_000, 200 + count);
        tale.receive(at, worker, count);
        if count > 1 {
            tale.update(at, worker, 5_000, Mark::Started);
        }
        tale.start(at + 1, worker);
        tale.died_of_another(at + 50, worker, count);
    }
    tale.receive(24_000, FIRST, 4);
    tale.wire(24_010, ALONE, Op::Update, |wire| {
        let body = wire.messages[0].body.as_mut().unwrap();
        (body.mark, body.crashed, wire.hidden_ms) = (Mark::Started, 2, Some(5_000));
    });
    tale
}

#[test]
fn a_suspect_runs_where_it_was_handed_over_to() {
    let mut tale = handed_over(Kind::Ok);
    let run = tale.start(24_020, ALONE);
    tale.finish(24_100, ALONE, run, End::Done).delete(24_110, ALONE);
    assert_eq!(tale.broken(), NONE);
    // Nobody else may start it from that delivery.
    let mut tale = handed_over(Kind::Ok);
    let run = tale.start(24_020, SECOND_WORKER);
    tale.finish(24_100, SECOND_WORKER, run, End::Done).delete(24_110, SECOND_WORKER);
    assert_eq!(tale.broken(), [3]);
}

/// It dies there, in whatever way, and is condemned.
fn condemned(kind: Kind, death: impl FnOnce(&mut Tale)) -> Vec<u8> {
    condemned_at(5, kind, death)
}

/// By that delivery; of those before, nobody hears, and who asked for them is gone.
fn condemned_at(count: u32, kind: Kind, death: impl FnOnce(&mut Tale)) -> Vec<u8> {
    let mut tale = handed_over(kind);
    tale.start(24_020, ALONE);
    death(&mut tale);
    tale.died(24_100, ALONE);
    let at = |count: u32| u64::from(count) * 5_100 + 3_600;
    for unheard in 5..count {
        tale.wire(at(unheard), SECOND_WORKER, Op::Receive, |wire| {
            wire.messages[0].count = Some(unheard);
            (wire.answered, wire.fault) = (false, Some("reset after".into()));
        });
        tale.died(at(unheard) + 300, SECOND_WORKER);
    }
    let at = at(count);
    tale.receive(at, FIRST, count).update(at + 1, FIRST, 5_000, Mark::Fenced);
    tale.copy(at + 2, FIRST).delete(at + 3, FIRST).poisoned(Reason::Crashed);
    tale.broken()
}

#[test]
fn who_dies_alone_is_condemned_for_it() {
    assert_eq!(condemned(Kind::Abort, |_| {}), NONE);
    assert_eq!(condemned(Kind::Ok, |_| {}), [10, 0], "it does not kill");
    let killed = Event::Signal { worker: ALONE, signal: Signal::Kill };
    let by_us = |tale: &mut Tale| {
        tale.tell(24_090, 1, killed.clone());
    };
    assert_eq!(condemned(Kind::Ok, by_us), NONE, "the harness killed it");
    for count in [6, 7] {
        assert_eq!(condemned_at(count, Kind::Slow, by_us), NONE, "it was not started since");
        assert_eq!(condemned_at(count, Kind::Ok, |_| {}), [10, 0]);
    }
    let by_a_deploy = |tale: &mut Tale| {
        tale.tell(24_030, 1, Event::Signal { worker: ALONE, signal: Signal::Term });
    };
    assert_eq!(condemned(Kind::Slow, by_a_deploy), [10, 0], "it could be cancelled");
    assert_eq!(condemned(Kind::Block, by_a_deploy), NONE, "it could not");
    let struck = |tale: &mut Tale| {
        tale.wire(24_050, ALONE, Op::Update, |wire| {
            (wire.status, wire.answered, wire.fault) = (None, false, Some("black hole".into()));
        });
    };
    assert_eq!(condemned(Kind::Slow, struck), [0], "its process knew better, and told");
    let by_a_deploy = |tale: &mut Tale| {
        struck(tale);
        tale.tell(24_060, 1, Event::Succession);
    };
    assert_eq!(condemned(Kind::Slow, by_a_deploy), NONE, "nobody is left who knows");
}

#[test]
fn suspects_drain_one_after_the_other() {
    let mut tale = handed_over(Kind::Slow);
    let run = tale.start(24_020, ALONE);
    tale.finish(64_020, ALONE, run, End::Done).delete(64_030, ALONE);
    let mut late = handed_over(Kind::Slow);
    let run = late.start(24_020, ALONE);
    late.finish(64_020, ALONE, run, End::Done).delete(64_030, ALONE);
    // Quiet was at 60 s: 4 s of the run, and 65 s for all else.
    assert_eq!(tale.tell(128_900, 1, Event::Drained).broken(), NONE);
    assert_eq!(late.tell(129_100, 1, Event::Drained).broken(), [9]);
}

#[test]
fn breaks_3_a_suspect_in_company() {
    let suspect = |worker| {
        let mut tale = handed_over(Kind::Ok);
        tale.wire(24_015, worker, Op::Update, |wire| {
            let body = wire.messages[0].body.as_mut().unwrap();
            (body.mark, body.crashed, wire.hidden_ms) = (Mark::Started, 2, Some(5_000));
        });
        let run = tale.start(24_020, worker);
        tale.finish(24_100, worker, run, End::Done).delete(24_110, worker);
        tale
    };
    assert_eq!(suspect(ALONE).broken(), NONE);
    assert_eq!(suspect(FIRST).broken(), [3], "not in the process for suspects");
    let mut two = suspect(ALONE);
    two.wire(24_030, FIRST, Op::Receive, |wire| {
        let body = Some(Body { job: OTHER.into(), ..Body::default() });
        wire.messages = vec![Seen { id: Some("other".into()), count: Some(4), body }];
    });
    two.start_other(24_050, ALONE, Kind::Abort, 90);
    assert_eq!(two.broken(), [3], "not by itself");
}

#[test]
fn a_suspect_waits_with_the_mark_of_its_start_while_that_may_not_be_over() {
    let mut tale = handed_over(Kind::Abort);
    tale.start(24_020, ALONE);
    tale.died(24_070, ALONE).wire(29_100, FIRST, Op::Receive, |wire| {
        let seen = &mut wire.messages[0];
        let body = seen.body.as_mut().unwrap();
        (body.mark, body.crashed, seen.count) = (Mark::Started, 2, Some(5));
    });
    tale.wire(29_110, FIRST, Op::Update, |wire| {
        (wire.hidden_ms, wire.messages[0].body) = (Some(4_000), None);
    });
    tale.receive(34_200, SECOND_WORKER, 6).update(34_210, 104, 5_000, Mark::Fenced);
    tale.copy(34_220, 104).delete(34_230, 104).poisoned(Reason::Crashed);
    assert_eq!(tale.broken(), NONE);
}
