//! The tests.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use job_core::PoisonReason;
use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;

use crate::front::{Front, Wire};
use crate::observe::{Bench, LIMIT, Running, kill};
use crate::still::judge;

/// What processes have at their end beyond their grace time.
const AFTER_GRACE: Duration = Duration::from_secs(2);

macro_rules! cases {
    ($($case:ident,)+) => {
        pub fn all() -> Vec<Trial> {
            vec![$(Trial::test(stringify!($case), || {
                judge(stringify!($case), $case);
                Ok::<_, Failed>(())
            })),+]
        }
    };
}

cases! {
    all_processes_work_and_drain,
    a_killed_process_is_started_again_and_its_job_comes_again,
    a_stopped_process_is_killed_and_started_again,
    a_handler_that_blocks_all_threads_is_no_reason_to_kill,
    a_process_that_cannot_start_is_a_crash_loop,
    a_process_that_aborts_at_its_start_is_a_crash_loop,
    a_process_is_replaced_after_so_many_jobs,
    a_process_is_replaced_for_its_memory,
    processes_end_when_their_supervisor_is_killed,
    a_second_signal_skips_the_grace_time,
    what_does_not_end_is_killed,
    a_signal_to_all_processes_counts_once,
    processes_end_while_the_backend_is_down,
    processes_end_while_a_move_to_poison_is_under_way,
    processes_end_although_handlers_ignore_cancellation,
    processes_end_although_blocking_work_does_not,
    processes_that_hear_nothing_are_killed,
    processes_are_replaced_one_after_the_other,
    each_process_has_a_port_which_its_successor_gets,
    a_process_that_is_terminated_alone_drains_and_is_started_again,
    jobs_that_kill_their_process_are_quarantined,
    many_innocents_outlive_several_killers,
    a_start_that_is_not_over_is_no_crash,
    who_was_there_too_often_runs_alone_and_completes,
    suspects_run_one_at_a_time_in_a_process_of_their_own,
    suspects_wait_for_a_process_that_does_not_start,
    suspects_of_several_queues_take_turns,
}

#[track_caller]
fn ends_well(running: &mut Running) -> String {
    let ended = running.ended();
    assert!(ended.status.success(), "{ended:?}");
    ended.report
}

fn all_processes_work_and_drain() {
    let bench = Bench::new("drain");
    let mut running = bench.start(&[("processes", "3"), ("concurrency", "1")]);
    let gates = ["gate-a", "gate-b", "gate-c"];
    bench.enqueue(gates);
    let mut processes = gates.map(|gate| running.started(gate).process);
    processes.sort();
    assert_eq!(processes, ["1", "2", "3"], "each has one");
    bench.open("gate-c");
    running.done("gate-c");
    let quick: Vec<_> = (0..20).map(|n| format!("ok-{n}")).collect();
    bench.enqueue(&quick);
    for order in &quick {
        running.done(order);
    }

    running.signal(Signal::TERM);
    for n in ["1", "2"] {
        running.state(n, "Draining", 0);
    }
    bench.open("gate-a");
    bench.open("gate-b");
    let report = ends_well(&mut running);
    assert_eq!(report, "3 processes started; jobs: 23 received, 23 started, 23 completed");
    assert_eq!(bench.depth(), 0);
}

fn a_killed_process_is_started_again_and_its_job_comes_again() {
    let bench = Bench::new("kill");
    let mut running = bench.start(&[("processes", "2"), ("concurrency", "1")]);
    bench.enqueue(["gate-a"]);
    let first = running.started("gate-a");
    kill(first.pid, Signal::KILL);
    running.state(&first.process, "Running", 1);
    let second = running.nth("start", "gate-a", 2);
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.attempt, 1, "being killed once is nobody's fault");
    bench.open("gate-a");
    running.done("gate-a");
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.starts_with("3 processes started, 1 died; "), "{report}");
}

fn a_stopped_process_is_killed_and_started_again() {
    let bench = Bench::new("stop");
    let mut running = bench.start(&[("silence", "3")]);
    bench.enqueue(["gate-a"]);
    let first = running.started("gate-a");
    kill(first.pid, Signal::STOP);
    let second = running.nth("start", "gate-a", 2);
    assert_ne!(second.pid, first.pid);
    bench.open("gate-a");
    running.done("gate-a");
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.contains("1 died, 1 killed for silence"), "{report}");
}

fn a_handler_that_blocks_all_threads_is_no_reason_to_kill() {
    let bench = Bench::new("block");
    // With more threads, one that is blocked may or may not hold up the others.
    let mut running = bench.start(&[("silence", "3"), ("threads", "1")]);
    bench.enqueue(["block"]);
    let blocked = running.started("block").pid;
    // In the time in which processes of others are killed for their silence twice, it lives on.
    let elsewhere = Bench::new("block-clock");
    let mut clock = elsewhere.start(&[("silence", "3")]);
    for restarts in 0..2 {
        kill(clock.state("1", "Running", restarts), Signal::STOP);
    }
    clock.state("1", "Running", 2);
    clock.signal(Signal::TERM);
    assert!(ends_well(&mut clock).contains("2 killed for silence"));

    bench.open("block");
    assert_eq!(running.done("block").pid, blocked);
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.starts_with("1 processes started; jobs: 1 received, 1 started, 1 completed"));
    assert_eq!(bench.depth(), 0);
}

fn a_process_that_cannot_start_is_a_crash_loop() {
    let bench = Bench::new("fail");
    let mut running = bench.start(&[("start", "fail"), ("processes", "2"), ("crash_loop", "3")]);
    let ended = running.ended();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.error.contains("died 3 times in a row"), "{ended:?}");
    assert!(ended.error.contains("exit status 1: the database is not there"), "{ended:?}");
}

fn a_process_that_aborts_at_its_start_is_a_crash_loop() {
    let bench = Bench::new("abort");
    let mut running = bench.start(&[("start", "abort"), ("crash_loop", "2")]);
    let ended = running.ended();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.error.contains("the last time: signal 6 (SIGABRT)"), "{ended:?}");
}

fn a_process_is_replaced_after_so_many_jobs() {
    let bench = Bench::new("count");
    let mut running = bench.start(&[("max_jobs", "5"), ("grace", "1"), ("concurrency", "2")]);
    bench.enqueue(["gate-a"]);
    let old = running.started("gate-a");
    bench.enqueue((0..6).map(|n| format!("ok-{n}")));
    // The successor works while the old one finishes what it has, beyond its grace time.
    running.until("a successor", |heard| {
        heard
            .iter()
            .any(|line| line.starts_with("state 1 Running ") && line.ends_with(" 1"))
            .then_some(())
    });
    bench.enqueue(["ok-6", "ok-7", "ok-8"]);
    for n in 6..9 {
        assert_ne!(running.done(&format!("ok-{n}")).pid, old.pid);
    }
    running.says(&format!("retired 1 Draining {} 1", old.pid));
    bench.enqueue(["nap-a"]);
    running.done("nap-a");
    bench.open("gate-a");
    assert_eq!(running.done("gate-a").pid, old.pid);
    for n in 0..6 {
        running.done(&format!("ok-{n}"));
    }
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.starts_with("2 processes started, 1 recycled for their jobs; "), "{report}");
    assert!(report.contains("11 started, 11 completed"), "{report}");
    assert_eq!(running.count("start", "gate-a"), 1, "it is neither lost nor repeated");
}

fn a_process_is_replaced_for_its_memory() {
    let bench = Bench::new("memory");
    let limit = (150 << 20).to_string();
    let mut running = bench.start(&[("max_memory", &limit)]);
    bench.enqueue(["leak-a"]);
    let old = running.started("leak-a");
    running.state("1", "Running", 1);
    bench.enqueue(["ok-a"]);
    assert_ne!(running.done("ok-a").pid, old.pid);
    bench.open("leak-a");
    assert_eq!(running.done("leak-a").pid, old.pid);
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.starts_with("2 processes started, 1 recycled for their memory; "), "{report}");
    assert!(report.contains("2 started, 2 completed"), "{report}");
}

fn processes_end_when_their_supervisor_is_killed() {
    let bench = Bench::new("orphan");
    let mut running = bench.start(&[("processes", "2"), ("grace", "1")]);
    bench.enqueue(["gate-a", "ok-a"]);
    running.started("gate-a");
    running.done("ok-a");
    for n in ["1", "2"] {
        running.state(n, "Running", 0);
    }
    running.signal(Signal::KILL);
    // Its output ends with the last of them.
    let ended = running.ended();
    assert!(ended.took < Duration::from_secs(1) + AFTER_GRACE, "{ended:?}");
    assert_eq!((bench.depth(), bench.visible()), (1, 1), "its job was given back");
}

fn a_second_signal_skips_the_grace_time() {
    let bench = Bench::new("second");
    let mut running = bench.start(&[("processes", "2"), ("grace", "600")]);
    bench.enqueue(["gate-a"]);
    running.started("gate-a");
    running.state("1", "Running", 0);
    running.state("2", "Running", 0);
    running.signal(Signal::INT);
    running.state("1", "Draining", 0);
    running.signal(Signal::TERM);
    let ended = running.ended();
    assert!(ended.status.success() && ended.took < AFTER_GRACE, "{ended:?}");
    assert!(ended.report.contains("1 given back"), "{ended:?}");
    assert_eq!((bench.depth(), bench.visible()), (1, 1));
}

fn what_does_not_end_is_killed() {
    let bench = Bench::new("late");
    let mut running = bench.start(&[("grace", "1")]);
    bench.enqueue(["ok-a", "gate-a"]);
    running.done("ok-a");
    let stopped = running.started("gate-a");
    kill(stopped.pid, Signal::STOP);
    running.signal(Signal::TERM);
    let ended = running.ended();
    assert!(ended.took < Duration::from_secs(1) + AFTER_GRACE, "{ended:?}");
    assert!(ended.report.contains("1 killed at the end"), "{ended:?}");
    // What it held comes again.
    let mut running = bench.start(&[]);
    bench.open("gate-a");
    running.done("gate-a");
    running.signal(Signal::TERM);
    ends_well(&mut running);
}

/// As systemd stops a service: a signal to each, and the supervisor's order comes on top of it.
fn a_signal_to_all_processes_counts_once() {
    for children_first in [false, true] {
        let bench = Bench::new(&format!("group-{children_first}"));
        let mut running = bench.start(&[("grace", "600")]);
        bench.enqueue(["hold-a"]);
        let pid = running.started("hold-a").pid;
        let asked = format!("asked 1 {pid}");
        let signalled = format!("signal 1 {pid}");
        if children_first {
            kill(pid, Signal::TERM);
            running.says(&signalled);
            running.signal(Signal::TERM);
            running.says(&asked);
        } else {
            running.signal(Signal::TERM);
            running.says(&asked);
            kill(pid, Signal::TERM);
            running.says(&signalled);
        }
        bench.open("hold-a");
        let report = ends_well(&mut running);
        assert_eq!(report, "1 processes started; jobs: 1 received, 1 started, 1 completed");
        assert_eq!(bench.depth(), 0);
    }
}

fn processes_end_while_the_backend_is_down() {
    for (name, wire) in [("cut", Wire::Cut), ("silent", Wire::Silent)] {
        let (bench, front) = (Bench::new(&format!("down-{name}")), Front::new());
        let settings = [
            ("processes", "2"),
            ("concurrency", "1"),
            ("grace", "1"),
            ("connection", &front.connection_string()),
        ];
        let mut running = bench.start(&settings);
        bench.enqueue(["gate-a", "gate-b"]);
        running.started("gate-a");
        running.started("gate-b");
        front.set(wire);
        running.signal(Signal::TERM);
        // By themselves: who is late is killed, and that is in the report.
        let report = ends_well(&mut running);
        assert_eq!(report, "2 processes started; jobs: 2 received, 2 started", "{name}");
        // What could not be given back comes again.
        let mut running = bench.start(&[]);
        for gate in ["gate-a", "gate-b"] {
            bench.open(gate);
            assert_eq!(running.done(gate).attempt, 1);
        }
        running.signal(Signal::TERM);
        ends_well(&mut running);
        assert_eq!(bench.depth(), 0);
    }
}

fn processes_end_while_a_move_to_poison_is_under_way() {
    let (bench, front) = (Bench::new("moving"), Front::new());
    let mut running = bench.start(&[("grace", "1"), ("connection", &front.connection_string())]);
    running.state("1", "Running", 0);
    front.set(Wire::Holds(format!("POST /devstoreaccount1/{}-poison/messages", bench.queue)));
    bench.enqueue(["poison-a"]);
    running.started("poison-a");
    front.holds();
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert_eq!(report, "1 processes started; jobs: 1 received, 1 started");
    assert_eq!((bench.poisoned(), bench.depth()), (vec![], 1));
    // The next one finishes it, and does not run the job.
    let mut running = bench.start(&[]);
    bench.until_poisoned(&[("poison-a".into(), PoisonReason::Permanent)]);
    running.signal(Signal::TERM);
    ends_well(&mut running);
    assert_eq!((running.count("start", "poison-a"), bench.depth()), (0, 0));
}

fn processes_end_although_handlers_ignore_cancellation() {
    let bench = Bench::new("deaf");
    let mut running = bench.start(&[("processes", "2"), ("concurrency", "1"), ("grace", "1")]);
    bench.enqueue(["deaf-a", "deaf-b"]);
    running.started("deaf-a");
    running.started("deaf-b");
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert_eq!(report, "2 processes started; jobs: 2 received, 2 started, 2 given back");
    assert_eq!((bench.depth(), bench.visible()), (2, 2), "at once");
}

fn processes_end_although_blocking_work_does_not() {
    let bench = Bench::new("endless");
    let settings = [("processes", "3"), ("concurrency", "1"), ("grace", "1"), ("threads", "1")];
    let mut running = bench.start(&settings);
    bench.enqueue(["spin-a", "block-a", "gate-a"]);
    for order in ["spin-a", "block-a", "gate-a"] {
        running.started(order);
    }
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    // Whose handler is gone is given back, though its thread goes on; who holds a thread of the
    // runtime comes again when its lease ends.
    let (given_back, abandoned) = (", 2 given back", ", 1 abandoned");
    assert!(report.contains(given_back) && report.contains(abandoned), "{report}");
    assert!(report.starts_with("3 processes started; jobs: 3 received, 3 started"), "{report}");
    assert_eq!((bench.depth(), bench.visible()), (3, 2));
}

fn processes_that_hear_nothing_are_killed() {
    let bench = Bench::new("mute");
    let mut running = bench.start(&[("processes", "2"), ("grace", "1"), ("threads", "0")]);
    bench.enqueue(["block-a"]);
    running.started("block-a");
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.starts_with("2 processes started, 1 killed at the end; "), "{report}");
    assert_eq!(bench.depth(), 1);
}

fn processes_are_replaced_one_after_the_other() {
    let bench = Bench::new("rolling");
    let settings = [("processes", "3"), ("concurrency", "2"), ("max_jobs", "5")];
    let mut running = bench.start(&settings);
    for n in ["1", "2", "3"] {
        running.state(n, "Running", 0);
    }
    let mut orders = 0..;
    let ready = running.heard.len();
    for n in ["1", "2", "3"] {
        // Until each was replaced twice.
        let again = format!("state {n} Running ");
        while !running.heard.iter().any(|line| line.starts_with(&again) && line.ends_with(" 2")) {
            let some: Vec<_> = orders.by_ref().take(6).map(|n| format!("ok-{n}")).collect();
            bench.enqueue(&some);
            for order in &some {
                running.done(order);
            }
            running.listen();
        }
    }
    running.signal(Signal::TERM);
    let begun = running.heard.len();
    let report = ends_well(&mut running);
    let done = orders.start;
    assert!(report.contains(&format!(" {done} started, {done} completed")), "{report}");
    assert!(!report.contains("died"), "{report}");
    assert_eq!(bench.depth(), 0);
    // All of them work all the time, and only one is replaced at a time.
    let states: Vec<_> = running.heard[ready..begun]
        .iter()
        .filter_map(|line| line.strip_prefix("state "))
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    for states in states.chunks_exact(3) {
        assert!(states.iter().all(|state| ["Running", "Recycling"].contains(state)), "{states:?}");
        let replaced = states.iter().filter(|state| **state == "Recycling").count();
        assert!(replaced <= 1, "{states:?}");
    }
}

fn each_process_has_a_port_which_its_successor_gets() {
    let (bench, front) = (Bench::new("ports"), Front::new());
    // Another program has the port of process 2.
    let (base, other) = free_ports();
    let port = |process: &str| base + process.parse::<u16>().unwrap();
    let mut running = bench.start(&[
        ("processes", "2"),
        ("concurrency", "1"),
        ("max_jobs", "1"),
        ("http", &base.to_string()),
        ("connection", &front.connection_string()),
    ]);
    for n in ["1", "2"] {
        running.state(n, "Running", 0);
    }
    assert_eq!(running.listening("1").1, port("1"));
    running.listen();
    let begin = "http 2 ";
    assert!(!running.heard.iter().any(|line| line.starts_with(begin)), "{:?}", running.heard);
    drop(other);
    assert_eq!(running.listening("2").1, port("2"));
    for n in ["1", "2"] {
        until_answers(port(n), "/readyz", "200 ", "ok");
        until_answers(port(n), "/metrics", "200 ", "job_slots{queue=\"");
    }

    // While the service is away, each says so, and no secret.
    front.set(Wire::Cut);
    for n in ["1", "2"] {
        let why = format!("{}: receiving has failed ", bench.queue);
        let answer = until_answers(port(n), "/readyz", "503 ", &why);
        let connection = front.connection_string();
        let key = connection.split_once("AccountKey=").unwrap().1.split(';').next().unwrap();
        assert!(!answer.contains(key) && !answer.contains("Signature"), "{answer}");
        until_answers(port(n), "/livez", "200 ", "ok");
    }
    front.set(Wire::Whole);
    for n in ["1", "2"] {
        until_answers(port(n), "/readyz", "200 ", "ok");
    }

    // It is replaced, and has its port until it has ended.
    bench.enqueue(["gate-a"]);
    let old = running.started("gate-a");
    let process = old.process.as_str();
    running.state(process, "Running", 1);
    until_answers(port(process), "/readyz", "503 ", "the worker is stopping");
    bench.open("gate-a");
    running.done("gate-a");
    let successor = running.until("its successor's address", |heard| {
        let own = format!("http {process} {} ", old.pid);
        let begin = format!("http {process} ");
        heard.iter().find(|line| line.starts_with(&begin) && !line.starts_with(&own)).cloned()
    });
    assert!(successor.ends_with(&format!(" 127.0.0.1:{}", port(process))), "{successor}");
    until_answers(port(process), "/readyz", "200 ", "ok");
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.starts_with("3 processes started, 1 recycled for their jobs; "), "{report}");
}

/// A port which, like the next one, nobody has, and a listener that has the one after these. Outside
/// of the range from which the system takes ports for connections.
fn free_ports() -> (u16, TcpListener) {
    // Tests run side by side, and each takes its ports a little later.
    static TESTS: AtomicU16 = AtomicU16::new(0);
    let bind = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let own = TESTS.fetch_add(300, Ordering::Relaxed);
    let from = 10_000 + own + (std::process::id() % 9_000) as u16;
    let found = (from..from + 10_000).step_by(3).find_map(|port| {
        let (_base, _first) = (bind(port).ok()?, bind(port + 1).ok()?);
        Some((port, bind(port + 2).ok()?))
    });
    found.expect("three ports in a row are free")
}

/// Asks until the answer has that status and that in its body.
#[track_caller]
fn until_answers(port: u16, path: &str, status: &str, body: &str) -> String {
    let limit = Instant::now() + LIMIT;
    loop {
        let answer = ask(port, path).unwrap_or_default();
        let expected = format!("HTTP/1.0 {status}");
        if answer.starts_with(&expected) && answer.contains(body) {
            return answer;
        }
        assert!(Instant::now() < limit, "{path} at {port} answers: {answer}");
        sleep(Duration::from_millis(50));
    }
}

fn ask(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn a_process_that_is_terminated_alone_drains_and_is_started_again() {
    let bench = Bench::new("alone");
    let mut running = bench.start(&[]);
    bench.enqueue(["gate-a"]);
    let first = running.started("gate-a");
    kill(first.pid, Signal::TERM);
    bench.open("gate-a");
    running.done("gate-a");
    running.state("1", "Running", 1);
    bench.enqueue(["ok-a"]);
    assert_ne!(running.done("ok-a").pid, first.pid);
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert_eq!(report, "2 processes started; jobs: 2 received, 2 started, 2 completed");
}

fn killers() -> &'static [&'static str] {
    match cfg!(target_os = "linux") {
        true => &["abort-a", "oom-a", "overflow-a"],
        // Elsewhere the limit of a process's memory is not kept.
        false => &["abort-a", "overflow-a"],
    }
}

fn jobs_that_kill_their_process_are_quarantined() {
    let bench = Bench::new("killers");
    let killers = killers();
    // More processes die than that; but they have served.
    let mut running = bench.start(&[("processes", "2"), ("crash_loop", "2")]);
    // Some that are there when it happens, again and again.
    let naps = ["nap-a", "nap-b"].map(str::to_owned).into_iter();
    let good: Vec<_> = naps.chain((0..24).map(|n| format!("ok-{n}"))).collect();
    bench.enqueue(&good[..2]);
    bench.enqueue(killers);
    bench.enqueue(&good[2..]);
    let expected: Vec<_> =
        killers.iter().map(|order| ((*order).to_owned(), PoisonReason::Crashed)).collect();
    for order in &good {
        running.done(order);
    }
    running.until("an end of all killers", |heard| {
        let apart = |killer: &&&str| {
            let begin = format!("start {killer} suspects ");
            heard.iter().any(|line| line.starts_with(&begin))
        };
        (killers.iter().filter(apart).count() == killers.len()).then_some(())
    });
    bench.until_poisoned(&expected);
    bench.until_empty();
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    for killer in killers {
        // The first is not marked, and the marks of others may be found open, too.
        assert!((1..=4).contains(&running.count("start", killer)), "{killer}");
        assert_eq!(running.count("start", &format!("{killer} suspects")), 1);
    }
    assert!(report.contains(" suspects run apart"), "{report}");
}

fn many_innocents_outlive_several_killers() {
    let bench = Bench::new("innocents");
    let settings = [("processes", "2"), ("concurrency", "8"), ("crash_loop", "50")];
    let mut running = bench.start(&settings);
    let innocents: Vec<_> = (0..30).map(|n| format!("slow-{n}")).collect();
    bench.enqueue(&innocents[..10]);
    bench.enqueue(killers());
    bench.enqueue(&innocents[10..]);
    for order in &innocents {
        running.done(order);
    }
    let crashed = |order: &&str| ((*order).to_owned(), PoisonReason::Crashed);
    let expected: Vec<_> = killers().iter().map(crashed).collect();
    bench.until_poisoned(&expected);
    bench.until_empty();
    running.signal(Signal::TERM);
    ends_well(&mut running);
    assert_eq!(bench.poisoned(), expected);
}

/// Its process may live although others receive its message: it was stopped for longer than a lease.
fn a_start_that_is_not_over_is_no_crash() {
    let bench = Bench::new("open");
    let (base, other) = free_ports();
    drop(other);
    let http = base.to_string();
    let mut running = bench.start(&[("processes", "2"), ("crash_loop", "50"), ("http", &http)]);
    bench.enqueue(["gate-a"]);
    // From the second start on they are announced.
    kill(running.started("gate-a").pid, Signal::KILL);
    let stopped = running.nth("start", "gate-a", 2);
    kill(stopped.pid, Signal::STOP);
    let port = |process: &str| base + process.parse::<u16>().unwrap();
    let other = if stopped.process == "1" { "2" } else { "1" };
    let deferred =
        format!("job_deferred_total{{queue=\"{}\",job=\"act\",reason=\"suspect\"}} ", bench.queue);
    let answer = until_answers(port(other), "/metrics", "200 ", &deferred);
    let none = counted("crashed", &bench, 0);
    assert!(answer.contains(&none), "{answer}");
    kill(stopped.pid, Signal::CONT);
    bench.open("gate-a");
    assert_eq!(running.done("gate-a").attempt, 1);
    bench.until_empty();
    for process in ["1", "2"] {
        let answer = ask(port(process), "/metrics").unwrap();
        assert!(answer.contains(&none), "{answer}");
    }
    running.signal(Signal::TERM);
    ends_well(&mut running);
    assert_eq!(bench.poisoned(), []);
}

/// How often that was counted of the queue of a bench, as `/metrics` shows it.
fn counted(what: &str, bench: &Bench, times: u64) -> String {
    format!("job_{what}_total{{queue=\"{}\"}} {times}\n", bench.queue)
}

/// Somebody else kills their process each time.
fn who_was_there_too_often_runs_alone_and_completes() {
    let bench = Bench::new("there");
    let (base, other) = free_ports();
    drop(other);
    let http = base.to_string();
    let settings = [("concurrency", "2"), ("crash_loop", "50"), ("http", &*http)];
    let mut running = bench.start(&settings);
    bench.enqueue(["gate-a"]);
    bench.enqueue_with_attempts("gate-b", 2);
    // The first time is not on record.
    for nth in 1..=2 {
        let (a, b) = (running.nth("start", "gate-a", nth), running.nth("start", "gate-b", nth));
        assert_eq!((a.pid, a.attempt, b.attempt), (b.pid, 1, 1));
        kill(a.pid, Signal::KILL);
    }
    // One has its last attempt, the other may be there once more.
    let (a, b) = (running.nth("start", "gate-a", 3), running.nth("start", "gate-b", 3));
    assert_eq!((&*a.process, &*b.process), ("1", "suspects"));
    // One has received both, and each has found out about one of them.
    for (port, received) in [(base + 1, 2), (base, 0)] {
        let answer = until_answers(port, "/metrics", "200 ", &counted("crashed", &bench, 1));
        assert!(answer.contains(&counted("received", &bench, received)), "{answer}");
    }
    kill(a.pid, Signal::KILL);
    bench.open("gate-b");
    running.done("gate-b");
    assert_eq!(running.nth("start", "gate-a", 4).process, "suspects");
    bench.open("gate-a");
    assert_eq!(running.done("gate-a").attempt, 3);
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.contains("3 died; 2 suspects run apart; "), "{report}");
    assert_eq!((bench.poisoned(), bench.depth()), (vec![], 0));
}

fn suspects_of_several_queues_take_turns() {
    let bench = Bench::new("queues");
    let settings = [("processes", "2"), ("more", "b,c"), ("crash_loop", "50")];
    let mut running = bench.start(&settings);
    bench.enqueue(["abort-a"]);
    bench.enqueue_on("b", "abort-b");
    bench.enqueue_on("c", "abort-c");
    bench.until_poisoned(&[("abort-a".to_owned(), PoisonReason::Crashed)]);
    bench.until_poisoned_on("b", "abort-b");
    bench.until_poisoned_on("c", "abort-c");
    running.signal(Signal::TERM);
    // How many were poisoned it need not say: a process that dies takes the last second's with it.
    let report = ends_well(&mut running);
    assert!(report.contains(" suspects run apart; "), "{report}");
}

fn suspects_wait_for_a_process_that_does_not_start() {
    for (start, times) in [("fail", 1), ("abort", 2)] {
        let bench = Bench::new(&format!("suspects-{start}"));
        let mut running = bench.start(&[("suspects_start", start), ("crash_loop", "4")]);
        bench.enqueue(["twice-a"]);
        running.until("a process for suspects that dies", |heard| {
            let said = heard.iter().filter_map(|line| line.strip_prefix("state suspects "));
            let restarts = said.filter_map(|said| said.rsplit(' ').next()?.parse::<u32>().ok());
            (restarts.max()? + 1 >= times).then_some(())
        });
        bench.enqueue(["ok-a"]);
        running.done("ok-a");
        bench.open("suspects");
        bench.open("twice-a");
        let end = running.done("twice-a");
        assert_eq!((&*end.process, end.attempt), ("suspects", 3));
        running.signal(Signal::TERM);
        let report = ends_well(&mut running);
        assert!(report.contains("; 1 suspects run apart; "), "{report}");
        assert_eq!((bench.poisoned(), bench.depth()), (vec![], 0));
    }
}

fn suspects_run_one_at_a_time_in_a_process_of_their_own() {
    let bench = Bench::new("suspects");
    let mut running = bench.start(&[("processes", "2")]);
    let orders = ["twice-a", "twice-b"];
    bench.enqueue(orders);
    let find = |running: &mut Running, nth: usize| {
        running.until(&format!("suspect {nth}"), |heard| {
            let starts = heard
                .iter()
                .filter(|line| line.starts_with("start twice") && line.contains(" suspects "));
            starts.map(|line| line.split(' ').nth(1).unwrap().to_owned()).nth(nth - 1)
        })
    };
    let first = find(&mut running, 1);
    let other = *orders.iter().find(|order| **order != first).unwrap();
    // The other one comes at least once more meanwhile, and is sent away.
    bench.enqueue(["nap-a", "nap-b"]);
    assert_ne!(running.done("nap-a").process, "suspects");
    assert_ne!(running.done("nap-b").process, "suspects");
    let apart = |line: &&String| line.starts_with("start twice") && line.contains(" suspects ");
    running.listen();
    assert_eq!(running.heard.iter().filter(apart).count(), 1, "one at a time");
    bench.open(&first);
    running.done(&first);
    assert_eq!(find(&mut running, 2), other);
    bench.open(other);
    let end = running.done(other);
    assert_eq!((end.process.as_str(), end.attempt), ("suspects", 3));
    running.signal(Signal::TERM);
    let report = ends_well(&mut running);
    assert!(report.contains("; 2 suspects run apart; "), "{report}");
    assert_eq!(bench.poisoned(), []);
    assert_eq!(bench.depth(), 0);
}
