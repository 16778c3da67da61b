//! What the assertions of the test kit say when they fail, word by word.

mod kit;

use std::time::Duration;

use job_core::prelude::*;
use job_memory::testing::{
    TestJobs, assert_enqueued, assert_idempotent, assert_poisoned, refute_enqueued,
};
use kit::{said, said_by};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Plan {
    Free,
    Pro,
}

#[job(queue = "mail", max_attempts = 2, backoff = fixed("1m"))]
async fn send_welcome(
    user_id: u64,
    name: String,
    #[serde(rename = "p")] plan: Plan,
    tags: Vec<String>,
    note: Option<String>,
) -> Result<(), JobError> {
    let _ = (name, plan, tags, note);
    match user_id {
        13 => Err(JobError::permanent("nobody has that number")),
        14 => Err("the post is closed".into()),
        _ => Ok(()),
    }
}

#[job(queue = "bank")]
async fn charge(order: u64) -> Result<(), JobError> {
    let _ = order;
    Ok(())
}

#[job]
async fn ping() -> Result<(), JobError> {
    Ok(())
}

fn welcome(user_id: u64, name: &str) -> SendWelcome {
    let tags = vec!["new".to_owned(), "web".to_owned()];
    SendWelcome { user_id, name: name.into(), plan: Plan::Pro, tags, note: None }
}

/// With the welcomes of Ada, in 5 minutes, and of Bob, now, and two charges.
async fn some() -> TestJobs {
    let jobs = TestJobs::new();
    jobs.enqueue(welcome(7, "Ada")).delay(5 * MINUTE).await.unwrap();
    jobs.enqueue(welcome(8, "Bob")).await.unwrap();
    jobs.client().enqueue_all((1..=2).map(|order| Charge { order })).await.unwrap();
    jobs
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_found_by_any_of_its_sides() {
    let jobs = some().await;
    assert_enqueued!(jobs, SendWelcome);
    assert_enqueued!(jobs, SendWelcome {});
    assert_enqueued!(jobs, SendWelcome { .. });
    assert_enqueued!(jobs, SendWelcome { user_id: 7 });
    assert_enqueued!(jobs, SendWelcome { user_id: 7.0, .. });
    assert_enqueued!(jobs, SendWelcome { name: "Ada", tags: ["new", "web"], note: None::<&str> });
    assert_enqueued!(jobs, SendWelcome { plan: Plan::Pro, name: String::from("Bob") });
    assert_enqueued!(jobs, SendWelcome { plan: "pro" });
    let user_id = 8;
    assert_enqueued!(&jobs, SendWelcome { user_id }, queue = "mail", delay = Duration::ZERO,);
    assert_enqueued!(jobs, self::SendWelcome { user_id: 7 }, delay = 5 * MINUTE, count = 1);
    assert_enqueued!(jobs, SendWelcome, delay = 4 * MINUTE..=5 * MINUTE, count = 1);
    assert_enqueued!(jobs, SendWelcome, delay = ..5 * MINUTE, count = 1);
    assert_enqueued!(jobs, SendWelcome, delay = MINUTE.., count = 1);
    assert_enqueued!(jobs, Charge, count = 2);
    refute_enqueued!(jobs, Charge { order: 3 });
    refute_enqueued!(jobs, SendWelcome { user_id: 7 }, delay = MINUTE..5 * MINUTE);
    refute_enqueued!(jobs, Ping);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Via {
    Post,
    Courier { name: String },
}

#[job(queue = "letters")]
async fn send_letter(to: String, via: Via, copy: Option<u32>) -> Result<(), JobError> {
    let _ = (to, via, copy);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_could_never_be_there() {
    let jobs = TestJobs::new();
    let via = Via::Courier { name: "Eve".into() };
    jobs.enqueue(SendLetter { to: "7".into(), via, copy: None }).await.unwrap();
    assert_eq!(
        said(|| refute_enqueued!(jobs, SendLetter { to: 7 })),
        "whether a `send_letter` with to: 7 is enqueued cannot be told: to is \"7\", a string, and \
         is compared with 7, a number, which it never is"
    );
    // These are of different kinds for good reasons.
    refute_enqueued!(jobs, SendLetter { via: Via::Post });
    refute_enqueued!(jobs, SendLetter { via: "post" });
    refute_enqueued!(jobs, SendLetter { copy: 7 });
    refute_enqueued!(jobs, SendLetter { to: "8" });

    // What cannot be read may be anything.
    #[job(name = "send_letter")]
    struct Other {
        number: u32,
    }
    let jobs = TestJobs::new();
    jobs.enqueue(Other { number: 1 }).await.unwrap();
    let told = said(|| refute_enqueued!(jobs, SendLetter { to: "7" }));
    assert!(told.contains("cannot be told: one on `default`"), "{told}");
    assert!(told.contains("a field is missing"), "{told}");
    refute_enqueued!(jobs, SendLetter { to: "7" }, queue = "letters");
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_about_what_it_was() {
    let jobs = TestJobs::new();
    let at = jobs.now() + HOUR - SECOND / 2;
    jobs.enqueue(Charge { order: 1 }).at(at).await.unwrap();
    assert_enqueued!(jobs, Charge, delay = HOUR);
    refute_enqueued!(jobs, Charge, delay = HOUR..);
    refute_enqueued!(jobs, Charge, delay = HOUR + 2 * SECOND);
    jobs.enqueue(Charge { order: 2 }).await.unwrap();
    refute_enqueued!(jobs, Charge { order: 2 }, delay = SECOND);
    let micros = Duration::from_micros(1);
    jobs.enqueue(Charge { order: 3 }).delay(MINUTE - micros).await.unwrap();
    let told = said(|| {
        assert_enqueued!(
            jobs,
            Charge { order: 3 },
            delay = MINUTE - 9 * micros..MINUTE - 8 * micros
        )
    });
    assert!(told.contains("delay is 59.999999s, not 59.999991s to 59.999991999s"), "{told}");
}

/// Numbers that a float cannot tell apart, and one that is a shorter float.
#[job(queue = "scale")]
async fn weigh(account: u64, grams: f32) -> Result<(), JobError> {
    let _ = (account, grams);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn large_numbers_are_not_taken_for_their_neighbours() {
    const LARGE: u64 = (1 << 53) + 1;
    let jobs = TestJobs::new();
    jobs.enqueue(Weigh { account: LARGE, grams: 0.1 }).await.unwrap();
    assert_enqueued!(jobs, Weigh { account: LARGE });
    refute_enqueued!(jobs, Weigh { account: LARGE - 1 });
    let said = said(|| assert_enqueued!(jobs, Weigh { account: LARGE - 1 }));
    assert!(said.contains("account is 9007199254740993, not 9007199254740992"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_literal_may_be_of_a_field_that_is_an_f32() {
    let jobs = TestJobs::new();
    jobs.enqueue(Weigh { account: 1, grams: 0.1 }).await.unwrap();
    assert_enqueued!(jobs, Weigh { grams: 0.1 });
    assert_enqueued!(jobs, Weigh { grams: 0.1_f32 });
    refute_enqueued!(jobs, Weigh { grams: 0.2 });
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_not_there() {
    let jobs = some().await;
    jobs.enqueue(Ping).await.unwrap();
    assert_eq!(
        said(|| assert_enqueued!(
            jobs,
            SendWelcome { user_id: 9, name: "Bob" },
            queue = "post",
            delay = MINUTE
        )),
        r#"no `send_welcome` with user_id: 9, name: "Bob", queue = "post", delay = 1m is enqueued
there are 2, the nearest first:
  - on `mail`, due now: {"user_id":8,"name":"Bob","p":"pro","tags":["new","web"],"note":null}
      queue is "mail", not "post"
      delay is 0s, not 1m
      user_id is 8, not 9
  - on `mail`, due in 5m: {"user_id":7,"name":"Ada","p":"pro","tags":["new","web"],"note":null}
      queue is "mail", not "post"
      delay is 5m, not 1m
      user_id is 7, not 9
      name is "Ada", not "Bob"
other jobs there: 2 `charge` on `bank`, 1 `ping` on `default`"#
    );
}

#[tokio::test(start_paused = true)]
async fn the_nearest_is_the_first() {
    let jobs = some().await;
    let said = said(|| assert_enqueued!(jobs, SendWelcome { user_id: 7, name: "Bob" }));
    let (ada, bob) = (said.find(r#""user_id":7"#).unwrap(), said.find(r#""user_id":8"#).unwrap());
    assert!(ada < bob, "{said}");
    jobs.enqueue(welcome(7, "Eve")).delay(3 * SECOND).await.unwrap();
    let said = self::said(|| {
        assert_enqueued!(jobs, SendWelcome { user_id: 7, name: "Bob" }, delay = 3 * SECOND)
    });
    assert!(
        said.contains("nearest first:\n  - on `mail`, due in 3s: {\"user_id\":7,\"name\":\"Eve\""),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn too_many_and_too_few() {
    let jobs = some().await;
    assert_eq!(
        said(|| assert_enqueued!(jobs, Charge { order: 1 }, count = 2)),
        "1 instead of 2 of `charge` with order: 1 are enqueued\n\
         there are 2, the nearest first:\n  \
         - on `bank`, due now: {\"order\":1}\n  \
         - on `bank`, due now: {\"order\":2}\n      \
         order is 2, not 1\n\
         other jobs there: 2 `send_welcome` on `mail`"
    );
    let said = said(|| assert_enqueued!(jobs, Charge, count = 0));
    assert!(said.starts_with("2 instead of 0 of `charge` are enqueued\n"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_any_more() {
    let jobs = TestJobs::new();
    assert_eq!(
        said(|| assert_enqueued!(jobs, Ping)),
        "no `ping` is enqueued\nthere is no `ping` at all\nnothing was ever enqueued: does the \
         code under test use the client of this `TestJobs`, and await its enqueues?"
    );
    jobs.enqueue(welcome(7, "Ada")).await.unwrap();
    jobs.enqueue(welcome(13, "Eve")).await.unwrap();
    jobs.drain().await;
    assert_eq!(
        said(|| assert_enqueued!(jobs, SendWelcome { user_id: 7 })),
        r#"no `send_welcome` with user_id: 7 is enqueued
there is no `send_welcome` at all
elsewhere:
  - completed (from `mail`): {"user_id":7,"name":"Ada","p":"pro","tags":["new","web"],"note":null}
  - in `mail-poison`: permanent error, nobody has that number: {"user_id":13,"name":"Eve","p":"pro","tags":["new","web"],"note":null}"#
    );
}

#[tokio::test(start_paused = true)]
async fn one_of_many() {
    let jobs = TestJobs::new();
    jobs.client().enqueue_all((1..=8).map(|order| Charge { order })).await.unwrap();
    let said = said(|| assert_enqueued!(jobs, Charge { order: 9 }));
    assert!(said.contains("there are 8, the nearest first:") && said.ends_with("- and 3 more"));
    assert_eq!(said.matches("order is").count(), 5, "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_should_not_be_there() {
    let jobs = some().await;
    assert_eq!(
        said(|| refute_enqueued!(jobs, Charge { order: 1 }, queue = "bank")),
        "a `charge` with order: 1, queue = \"bank\" is enqueued, and should not be:\n  \
         - on `bank`, due now: {\"order\":1}"
    );
    assert_eq!(
        said(|| refute_enqueued!(jobs, Charge)),
        "2 of `charge` are enqueued, and should not be:\n  \
         - on `bank`, due now: {\"order\":1}\n  \
         - on `bank`, due now: {\"order\":2}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_not_poison() {
    let jobs = TestJobs::new();
    assert_eq!(
        said(|| assert_poisoned!(jobs, SendWelcome { user_id: 13 })),
        "no `send_welcome` with user_id: 13 is in a poison queue\n\
         there is no `send_welcome` at all\n\
         nothing was ever enqueued: does the code under test use the client of this `TestJobs`, \
         and await its enqueues?"
    );
    for (user_id, name) in [(13, "Eve"), (14, "Mallory")] {
        jobs.enqueue(welcome(user_id, name)).await.unwrap();
    }
    jobs.drain().await;
    assert_poisoned!(
        jobs,
        SendWelcome { user_id: 13 },
        reason = PoisonReason::Permanent,
        error = "nobody has",
        attempts = 1,
        queue = "mail",
        count = 1
    );
    assert_eq!(
        said(|| assert_poisoned!(
            jobs,
            SendWelcome { user_id: 14 },
            reason = PoisonReason::AttemptsExhausted,
            error = "closed",
            attempts = 2,
            queue = "post"
        )),
        r#"no `send_welcome` with user_id: 14, queue = "post", reason = AttemptsExhausted, error = "closed", attempts = 2 is in a poison queue
there is one:
  - in `mail-poison`: permanent error: {"user_id":13,"name":"Eve","p":"pro","tags":["new","web"],"note":null}
      queue is "mail", not "post"
      reason is Permanent, not AttemptsExhausted
      error is "nobody has that number", not one with "closed" in it
      attempts is 1, not 2
      user_id is 13, not 14
elsewhere:
  - on `mail`, due in 1m, attempt 2, the post is closed: {"user_id":14,"name":"Mallory","p":"pro","tags":["new","web"],"note":null}"#
    );
    jobs.enqueue(Ping).await.unwrap();
    let said = said(|| assert_poisoned!(jobs, Ping));
    assert_eq!(
        said,
        "no `ping` is in a poison queue\nthere is no `ping` at all\nelsewhere:\n  \
         - on `default`, due now: {}\n\
         other jobs there: 1 `send_welcome` on `mail-poison`\n\
         a job comes there when it has used up its attempts or fails for good: has `drain` or \
         `drain_all` run it?"
    );
}

/// Counts how often the job ran.
struct Ledger(std::sync::atomic::AtomicU64);

impl Ledger {
    fn count(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[job]
async fn pay(amount: u64, ledger: Data<Ledger>) -> Result<(), JobError> {
    match ledger.0.fetch_add(amount, std::sync::atomic::Ordering::SeqCst) {
        sum if sum >= 100 => Err(JobError::permanent("paid already")),
        _ if amount == 0 => Err("nothing to pay".into()),
        _ => Ok(()),
    }
}

fn ledger() -> (std::sync::Arc<Ledger>, TestJobs) {
    let ledger = std::sync::Arc::new(Ledger(0.into()));
    let jobs = TestJobs::builder().data_arc(std::sync::Arc::clone(&ledger)).build();
    (ledger, jobs)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_not_idempotent() {
    let (ledger, jobs) = ledger();
    let line = line!() + 2;
    let said = said_by(async {
        assert_idempotent!(jobs, Pay { amount: 7 }, || ledger.count());
    });
    assert_eq!(
        said.await,
        format!(
            "`assert_idempotent!` at {}:{line}:9: `pay` {{\"amount\":7}} is not idempotent: it ran \
             again, as it does when its worker goes away before it can say that it is done\n  \
             after the first run:  7\n  after the second run: 14\n\
             let the second run find out that the first was done: `cx.id()` is the same in both",
            file!()
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_succeeds_only_once() {
    let (ledger, jobs) = ledger();
    let said = said_by(async {
        assert_idempotent!(jobs, Pay { amount: 100 }, async || ledger.count());
    });
    let said = said.await;
    assert!(
        said.contains("again, as it does when its worker goes away before it can say so: poisoned (permanent error): paid already\nlet the second"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_cannot_be_tested_for_idempotence() {
    let (ledger, jobs) = ledger();
    let said = said_by(async {
        assert_idempotent!(jobs, Pay { amount: 0 }, || ledger.count());
    });
    let said = said.await;
    assert!(
        said.ends_with("has to succeed to be tested, but its first run failed: nothing to pay"),
        "{said}"
    );
}
