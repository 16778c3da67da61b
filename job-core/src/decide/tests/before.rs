//! Tables of what is decided before a run: DESIGN.md, "A delivery, step by step", 2 and 3.

use super::*;
use PoisonState::{Final, Pending};

const CRASHED: &str = "the worker running this job went away without a word, or was blocked by it \
                       for longer than its timeout, again and again; look for aborts, stack \
                       overflows, out-of-memory kills and calls that block";

fn newer_format() -> Given {
    job().body(&br#"{"format":2,"job":{"id":7}}"#[..])
}

#[test]
fn crash_check() {
    check(
        [
            ("first delivery", job(), "run attempt 1"),
            ("first delivery after a retry", job().failed(1).settled(4).count(5), "run attempt 2"),
            ("a delivery nobody reported on", job().count(2), "run attempt 1, mark: started@2"),
            (
                "the same after a retry",
                job().failed(1).settled(4).count(6),
                "run attempt 2, mark: failed=1 started@6 settled@4",
            ),
            (
                "a thousand lost receives charge nobody",
                job().count(1000),
                "run attempt 1, mark: started@1000",
            ),
            ("the largest count", job().count(u32::MAX), "run attempt 1, mark: started@4294967295"),
            ("a count that stands still", job().settled(u32::MAX).count(u32::MAX), "run attempt 1"),
            ("a count that fell", job().settled(9).count(3), "run attempt 1"),
            ("no count after all", job().count(0), "run attempt 1"),
            (
                "an open mark is a crash",
                job().started(2).count(3),
                "run attempt 2, mark: crashed=1 started@3",
            ),
            (
                "and one more",
                job().crashed(1).failed(1).max_attempts(9).started(3).settled(1).count(4),
                "run attempt 4, mark: failed=1 crashed=2 started@4 settled@1",
            ),
            (
                "an open mark is marked again whatever the counts say",
                job().started(7).settled(9).count(9),
                "run attempt 2, mark: crashed=1 started@9 settled@9",
            ),
            (
                "the copy of a message whose start was marked",
                job().but(|g| g.envelope.history.started = mark("m-0", 4)),
                "run attempt 1",
            ),
            (
                "the copy of a message that was settled",
                job().failed(1).but(|g| g.envelope.history.settled = mark("m-0", 9)).count(2),
                "run attempt 2, mark: failed=1 started@2 settled@m-0/9",
            ),
            (
                "many crashes and one too many",
                job().crashed(2).max_attempts(9).started(4).count(5),
                "poison Crashed, fenced: crashed=3 settled@5 (final: {CRASHED})",
            ),
            (
                "a crash on the last attempt",
                job().max_attempts(1).started(2).count(3),
                "poison Crashed, fenced: crashed=1 settled@3 (final: {CRASHED})",
            ),
            (
                "the crash limit was lowered",
                job().crashed(3).max_attempts(9).settled(5).count(6),
                "poison Crashed, fenced: crashed=3 settled@6 (final: {CRASHED})",
            ),
            ("a crash limit of 0 means 1", job().but(|g| g.rules.crash_limit = 0), "run attempt 1"),
            (
                "and is reached by one crash",
                job().but(|g| g.rules.crash_limit = 0).started(1).count(2),
                "poison Crashed, fenced: crashed=1 settled@2 (final: {CRASHED})",
            ),
        ]
        .map(|(name, given, expected)| (name, given, leak(expected))),
    );
}

#[test]
fn suspects_run_in_a_process_of_their_own() {
    check(
        [
            (
                "a suspect where there is but one process",
                job().crashed(2).settled(4).count(5),
                "run attempt 3, mark: crashed=2 started@5 settled@4",
            ),
            (
                "one crash is none",
                job().suspects_elsewhere().started(2).count(3),
                "run attempt 2, mark: crashed=1 started@3",
            ),
            (
                "the second open mark",
                job().suspects_elsewhere().crashed(1).started(3).count(4),
                "hand over, or rewrite, give back in up to 2s: crashed=2 given_back=1 settled@4",
            ),
            (
                "it waits for its turn",
                job().suspects_elsewhere().crashed(2).settled(4).count(5),
                "hand over, or rewrite, give back in up to 2s: crashed=2 given_back=1 settled@5",
            ),
            (
                "longer each time",
                job()
                    .suspects_elsewhere()
                    .crashed(2)
                    .settled(4)
                    .count(5)
                    .but(|g| g.envelope.history.given_back = 3),
                "hand over, or rewrite, give back in up to 16s: crashed=2 given_back=4 settled@5",
            ),
            (
                "up to the longest wait",
                job()
                    .suspects_elsewhere()
                    .crashed(2)
                    .settled(4)
                    .count(5)
                    .but(|g| g.envelope.history.given_back = 300),
                "hand over, or rewrite, give back in up to 60s: crashed=2 given_back=301 settled@5",
            ),
            (
                "one crash is enough where the next is one too many",
                job()
                    .suspects_elsewhere()
                    .but(|g| g.rules.crash_limit = 2)
                    .max_attempts(9)
                    .started(3)
                    .count(4),
                "hand over, or rewrite, give back in up to 2s: crashed=1 given_back=1 settled@4",
            ),
            (
                "or where no attempt is left for it",
                job().suspects_elsewhere().max_attempts(2).started(3).count(4),
                "hand over, or rewrite, give back in up to 2s: crashed=1 given_back=1 settled@4",
            ),
            (
                "whatever took the others",
                job().suspects_elsewhere().failed(1).crashed(1).settled(3).count(4),
                "hand over, or rewrite, give back in up to 2s: failed=1 crashed=1 given_back=1 \
                 settled@4",
            ),
            (
                "but not while it has never been there when its worker went away",
                job().suspects_elsewhere().max_attempts(1).count(2),
                "run attempt 1, mark: started@2",
            ),
            (
                "no start is taken for a crash before the supervisor was asked: it may know better",
                job().suspects_elsewhere().unasked().started(2).count(3),
                "ask of @2, or release, give back in up to 60s",
            ),
            (
                "where there is no supervisor, this process may know",
                job().unasked().started(2).count(3),
                "ask of @2, or release, give back in 0ns",
            ),
            (
                "of a job that is not known here, neither",
                job().suspects_elsewhere().unasked().started(2).count(3).unknown(),
                "ask of @2, or release, give back in up to 60s",
            ),
            (
                "one crash too many",
                job().suspects_elsewhere().crashed(2).max_attempts(9).started(4).count(5),
                "poison Crashed, fenced: crashed=3 settled@5 (final: {CRASHED})",
            ),
            (
                "that was counted before",
                job().suspects_elsewhere().crashed(3).max_attempts(9).settled(4).count(5),
                "poison Crashed, fenced: crashed=3 settled@5 (final: {CRASHED})",
            ),
            (
                "so is an unknown job",
                job().suspects_elsewhere().crashed(2).settled(4).count(5).unknown(),
                "rewrite, put back in up to 5s: crashed=2 put_back=1 settled@5",
            ),
            (
                "and one that is not due",
                job().suspects_elsewhere().crashed(2).settled(4).count(5).left(HOUR),
                "rewrite, hop in 3600s: crashed=2 settled@5",
            ),
            (
                "failed attempts make no suspect",
                job().suspects_elsewhere().failed(2).settled(2).count(3),
                "run attempt 3",
            ),
            (
                "without marks there are no suspects",
                job().suspects_elsewhere().without_replace().count(9),
                "run attempt 1",
            ),
        ]
        .map(|(name, given, expected)| (name, given, leak(expected))),
    );
}

fn leak(expected: &str) -> &'static str {
    expected.replace("{CRASHED}", CRASHED).leak()
}

#[test]
fn attempts() {
    check([
        ("one left", job().failed(2).settled(2).count(3), "run attempt 3"),
        (
            "max_attempts was lowered by a deploy",
            job().failed(2).max_attempts(2).settled(2).count(3),
            "poison AttemptsExhausted, fenced: failed=2 settled@3 (final: -)",
        ),
        (
            "what the call said goes before the job",
            job().failed(2).max_attempts(2).call_max_attempts(3).settled(2).count(3),
            "run attempt 3",
        ),
        ("no attempt at all means one", job().max_attempts(0), "run attempt 1"),
        ("also by the call", job().call_max_attempts(0), "run attempt 1"),
        (
            "numbers that somebody made up",
            job().failed(u32::MAX).crashed(2),
            "poison AttemptsExhausted, fenced: failed=4294967295 crashed=2 settled@1 (final: -)",
        ),
        (
            "a crash found by a worker that only put it back",
            job().crashed(1).max_attempts(1).settled(3).count(4),
            leak("poison Crashed, fenced: crashed=1 settled@4 (final: {CRASHED})"),
        ),
        (
            "lowered while a start was open",
            job().crashed(1).max_attempts(2).started(3).count(4),
            leak("poison Crashed, fenced: crashed=2 settled@4 (final: {CRASHED})"),
        ),
    ]);
}

#[test]
fn without_what_a_backend_may_lack() {
    check([
        ("no rewriting: no marks", job().without_replace().count(2), "run attempt 1"),
        ("so deliveries are bounded", job().without_replace().count(15), "run attempt 1"),
        (
            "at five for each crash",
            job().without_replace().count(16),
            leak("poison Crashed, no fence: settled@16 (final: {CRASHED})"),
        ),
        (
            "settled ones do not count",
            job().without_replace().settled(5).count(20),
            "run attempt 1",
        ),
        (
            "no counts: every start is marked",
            job().without_counts(),
            "run attempt 1, mark: started@any",
        ),
        (
            "and found open",
            job().without_counts().started(0),
            "run attempt 2, mark: crashed=1 started@any",
        ),
        (
            "counts that are not to be relied on are none",
            job().without_counts().count(1),
            "run attempt 1, mark: started@1",
        ),
        ("neither: nobody can tell", job().without_counts().without_replace(), "run attempt 1"),
        ("no room for a mark: as without rewriting", job().full().count(15), "run attempt 1"),
        ("bounded just the same", job().full().count(16), "poison Crashed, no fence: as it came"),
        (
            "an error makes room for a mark",
            job().but(|g| g.envelope.push_error(1, sent(), "x".repeat(100))).full().count(2),
            "run attempt 1, mark: started@2",
        ),
    ]);
}

#[test]
fn already_poison() {
    check([
        (
            "pending: moved, never run",
            job().failed(1).settled(1).poison(Pending, PoisonReason::Permanent).count(2),
            "poison Permanent, no fence: failed=1 settled@1 (final: why)",
        ),
        (
            "also at a worker that does not know it, expired and with an open mark",
            job()
                .poison(Pending, PoisonReason::Crashed)
                .started(1)
                .call_expires_in(S)
                .left(S)
                .unknown(),
            "poison Crashed, no fence: started@1 left=1s (final: why)",
        ),
        (
            "final: somebody moved it back by hand, and it begins anew",
            job().failed(3).crashed(3).settled(9).poison(Final, PoisonReason::Crashed),
            "run attempt 1",
        ),
        (
            "its past is no longer counted",
            job()
                .failed(3)
                .settled(9)
                .started(9)
                .left(DAY)
                .poison(Final, PoisonReason::Crashed)
                .count(2),
            "run attempt 1, mark: started@2",
        ),
        (
            "its end of life is not kept either",
            job()
                .but(|g| g.envelope.history.expires_at = Some(sent() - S))
                .poison(Final, PoisonReason::Permanent),
            "run attempt 1",
        ),
        (
            "but that of its own options is",
            job().call_expires_in(59 * S).poison(Final, PoisonReason::Permanent),
            "delete, expired",
        ),
    ]);
}

#[test]
fn a_wrapped_original_moved_back_by_hand_gets_its_second_chance() {
    let wrap = |bytes: &[u8], name: &'static str| {
        let mut wrapper = original(bytes);
        wrapper.name = name.into();
        job().but(|g| g.envelope = wrapper).poison(Final, PoisonReason::Undecodable)
    };
    check([
        ("undecodable", wrap(b"hello", ""), "rewrite, put back in 0ns: \"hello\""),
        (
            "of a raw queue: never run with null",
            wrap(b"hello", "job"),
            "rewrite, put back in 0ns: \"hello\"",
        ),
    ]);
}

#[test]
fn expiry() {
    check([
        ("by the call", job().call_expires_in(59 * S), "delete, expired"),
        ("by the job", job().expires_in(59 * S), "delete, expired"),
        ("to the millisecond", job().expires_in(60 * S), "delete, expired"),
        ("not before", job().expires_in(60 * S + S / 1000), "run attempt 1"),
        (
            "the call goes before the job",
            job().expires_in(S).call_expires_in(HOUR),
            "run attempt 1",
        ),
        (
            "what a rewrite fixed goes before both",
            job().expires_in(S).call_expires_in(S).but(|g| {
                g.envelope.history.expires_at = Some(sent() + HOUR);
            }),
            "run attempt 1",
        ),
        ("without a handler", job().unknown().call_expires_in(S), "delete, expired"),
        ("while waiting", job().left(DAY).call_expires_in(S), "delete, expired"),
        ("instead of poison", job().failed(9).expires_in(S), "delete, expired"),
        ("never", job().call_expires_in(Duration::from_millis(u64::MAX)), "run attempt 1"),
        (
            "clocks that disagree",
            job().expires_in(2 * DAY).but(|g| g.inserted_at = g.now + DAY),
            "run attempt 1",
        ),
        (
            "a backend that knows no time of sending",
            job().but(|g| g.inserted_at = SystemTime::UNIX_EPOCH),
            "run attempt 1",
        ),
    ]);
}

#[test]
fn long_delays() {
    check([
        ("a hop", job().left(10 * DAY), "rewrite, hop in 604800s: settled@1 left=259200s"),
        (
            "the last hop",
            job().left(7 * DAY).settled(1).count(2),
            "rewrite, hop in 604800s: settled@2",
        ),
        ("a short rest", job().left(S / 4), "rewrite, hop in 250ms: settled@1"),
        (
            "a worker that does not know it hops too",
            job().left(S).unknown(),
            "rewrite, hop in 1s: settled@1",
        ),
        (
            "without rewriting its end of life is fixed",
            job().without_replace().left(DAY).expires_in(HOUR),
            "rewrite, hop in 86400s: expires=3600s settled@1",
        ),
        (
            "the longest delay",
            job().left(Duration::from_millis(u64::MAX)),
            "rewrite, hop in 604800s: settled@1 left=18446744073104751.615s",
        ),
        ("no room to write it down", job().left(DAY).full(), "release, hop in 86400s"),
        (
            "then its age tells",
            job().left(DAY).full().count(9).but(|g| g.now = sent() + 8 * DAY),
            "run attempt 1",
        ),
        (
            "to the hour",
            job().left(DAY).full().but(|g| g.now = sent() + 8 * DAY - HOUR),
            "release, hop in 3600s",
        ),
    ]);
}

#[test]
fn jobs_that_this_worker_does_not_know() {
    check([
        ("no such name", job().unknown(), "rewrite, put back in up to 5s: put_back=1 settled@1"),
        (
            "longer each time",
            job().unknown().put_back(3, 20 * S),
            "rewrite, put back in up to 40s: put_back=4 settled@1",
        ),
        (
            "up to a quarter of an hour",
            job().unknown().put_back(30, HOUR - S),
            "rewrite, put back in up to 900s: put_back=31 settled@1",
        ),
        (
            "until the limit",
            job().unknown().put_back(30, HOUR),
            "poison UnknownJob, fenced: put_back=30 settled@1 \
             (final: no handler of that name is registered here)",
        ),
        (
            "not by its age",
            job().unknown().put_back(1, 5 * S).but(|g| g.now = sent() + 900 * DAY),
            "rewrite, put back in up to 10s: put_back=2 settled@1",
        ),
        (
            "a crash is still counted",
            job().unknown().started(1).count(2),
            "rewrite, put back in up to 5s: crashed=1 put_back=1 settled@1",
        ),
        (
            "a start without a word is not accounted for",
            job().unknown().settled(3).count(7),
            "rewrite, put back in up to 5s: put_back=1 settled@6",
        ),
        (
            "and the next one is marked",
            job().settled(6).put_back(1, S).count(8),
            "run attempt 1, mark: put_back=1 started@8 settled@6",
        ),
        (
            "newer args",
            job().args_version(2),
            "rewrite, put back in up to 5s: put_back=1 settled@1",
        ),
        (
            "until the limit, too",
            job().args_version(2).put_back(9, HOUR),
            "poison NewerArgs, fenced: put_back=9 settled@1 \
             (final: the args have version 2, newer than here)",
        ),
        ("older args", job().but(|g| g.kind.as_mut().unwrap().version = 2), "run attempt 1"),
        (
            "no rewriting: a new message, whose life does not begin anew",
            job().without_replace().args_version(2).expires_in(HOUR),
            "rewrite, put back in up to 5s: put_back=1 expires=3600s settled@1",
        ),
        ("no room", job().unknown().full(), "release, put back in up to 5s"),
        (
            "longer each time all the same",
            job().unknown().full().count(3),
            "release, put back in up to 20s",
        ),
        (
            "until the limit, by count and age",
            job().unknown().full().count(99).but(|g| g.now = sent() + HOUR),
            "poison UnknownJob, no fence: as it came",
        ),
        ("not by count alone", job().unknown().full().count(99), "release, put back in up to 40s"),
    ]);
}

#[test]
fn messages_that_are_no_envelopes() {
    const NOT_JSON: &str = "(final: the message is not JSON (line 1, column 1))";
    let table = [
        ("text", job().body("hello"), "poison Undecodable, fenced: original settled@1 NOT_JSON"),
        ("nothing", job().body(""), "poison Undecodable, fenced: original settled@1 NOTHING"),
        (
            "no text",
            job().body(vec![255; 9]),
            "poison Undecodable, fenced: original settled@1 NOT_JSON",
        ),
        (
            "an array that begins like a format",
            job().body("[2]"),
            "poison Undecodable, fenced: original settled@1 (final: the message is JSON but not a \
             job envelope (line 1, column 0))",
        ),
        (
            "no rewriting",
            job().without_replace().body("hello"),
            "poison Undecodable, no fence: original settled@1 NOT_JSON",
        ),
        (
            "too large to be wrapped",
            job().body(vec![b'x'; 48 * 1024]),
            "poison Undecodable, no fence: as it came",
        ),
        (
            "so large as wrapped",
            job().body("\u{1}".repeat(9 * 1024)),
            "poison Undecodable, no fence: as it came",
        ),
        ("newer format", newer_format(), "release, put back in up to 5s"),
        ("longer each time", newer_format().count(4), "release, put back in up to 40s"),
        (
            "until the limit",
            newer_format().count(40).but(|g| g.now = sent() + HOUR),
            "poison NewerFormat, fenced: original settled@40 \
             (final: the message has format 2, which is newer than format 1)",
        ),
        (
            "retries at newer workers are not held against it",
            newer_format().count(40),
            "release, put back in up to 40s",
        ),
        (
            "nor is its age",
            newer_format().count(2).but(|g| g.now = sent() + 900 * DAY),
            "release, put back in up to 10s",
        ),
        ("no counts: by age", newer_format().without_counts(), "release, put back in up to 40s"),
        (
            "by great age",
            newer_format().without_counts().but(|g| g.now = sent() + HOUR),
            "poison NewerFormat, fenced: original (final: the message has format 2, which is newer \
             than format 1)",
        ),
        (
            "sent by a clock that is ahead",
            newer_format().without_counts().but(|g| g.now = sent() - DAY),
            "release, put back in up to 5s",
        ),
        (
            "a backend with short delays",
            newer_format().count(9).but(|g| g.capabilities.max_delay = 5 * S),
            "release, put back in up to 5s",
        ),
    ];
    check(table.map(|(name, given, expected)| {
        let nothing = "(final: the message is not JSON (line 1, column 0))";
        let expected = expected.replace("NOT_JSON", NOT_JSON).replace("NOTHING", nothing);
        (name, given, &*expected.leak())
    }));
}

#[test]
fn a_refusal_says_who_and_why_and_never_what() {
    let refusal = |given: Given| given.admitted().1.unwrap();
    let id = Some(ID.parse().unwrap());
    let name = || Some("job".to_owned());
    let known = refusal(job().args_version(2));
    assert_eq!((known.id, known.name), (id, name()));
    assert_eq!(known.problem.unwrap(), "the args have version 2, newer than here");
    let expired = refusal(job().expires_in(S));
    assert_eq!(expired, Refusal { id, name: name(), problem: None });
    let hello = refusal(job().body("hello"));
    assert_eq!((hello.id, hello.name), (None, None));
    assert_eq!(hello.problem.unwrap(), "the message is not JSON (line 1, column 1)");

    let hostile = refusal(job().but(|g| g.envelope.name = "漢".repeat(10_000).into()));
    assert!(hostile.name.unwrap().len() < 400, "a hostile name must not fill the log");
}
