//! Every mistake in the set-up of a worker is found when it is built, and says what to do.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use job_core::backend::{Backend, Capabilities};
use job_core::{
    Backoff, Client, Handler, Job, JobContext, JobError, JobOptions, Queue, Requirements, Worker,
    WorkerBuilder,
};
use job_memory::MemoryBackend;
use serde::{Deserialize, Serialize};

/// Jobs with nothing in them.
macro_rules! jobs {
    ($($job:ident = $name:literal, $options:expr $(, needs $data:ty)?;)*) => {$(
        #[derive(Serialize, Deserialize)]
        struct $job {}
        impl Job for $job {
            const NAME: &'static str = $name;
            const OPTIONS: JobOptions = $options;
        }
        impl Handler for $job {
            type Job = Self;
            async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
                Ok(())
            }
            fn requires(_needs: &mut Requirements) {
                $(_needs.data::<$data>();)?
            }
        }
    )*};
}

trait Mailer: Send + Sync {}
struct Smtp;
impl Mailer for Smtp {}

const NONE: JobOptions = JobOptions::new();
const LONG: &str = "a-name-of-57-characters-which-leaves-no-room-for-a-suffix";

jobs! {
    Plain = "plain", NONE;
    SamePlain = "plain", NONE;
    Nameless = "", NONE;
    Mail = "mail", NONE.queue("mail"), needs dyn Mailer;
    Count = "count", NONE.queue("count"), needs u32;
    BadQueue = "bad_queue", NONE.queue("Bad Queue");
    PoisonQueue = "poison_queue", NONE.queue("mail-poison");
    LongQueue = "long_queue", NONE.queue(LONG);
    NoAttempts = "no_attempts", NONE.max_attempts(0);
    NoTime = "no_time", NONE.timeout(Duration::ZERO);
    AllTime = "all_time", NONE.timeout(Duration::MAX);
    NoLife = "no_life", NONE.expires_in(Duration::ZERO);
    AllLife = "all_life", NONE.expires_in(Duration::MAX);
}

fn empty() -> WorkerBuilder {
    Worker::builder(&Client::new(MemoryBackend::new())).without_linked_jobs()
}

fn plain() -> WorkerBuilder {
    empty().register::<Plain>()
}

fn with_queue(change: impl FnOnce(Queue) -> Queue) -> WorkerBuilder {
    plain().queue(change(Queue::new("work")))
}

fn problems(builder: WorkerBuilder) -> Vec<String> {
    match builder.build() {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().map(str::to_owned).collect(),
    }
}

#[track_caller]
fn refused(builder: WorkerBuilder, problem: &str) {
    assert_eq!(problems(builder), [problem]);
}

/// The only problem begins and ends like that.
#[track_caller]
fn refused_around(builder: WorkerBuilder, begin: &str, end: &str) {
    let problem = only(problems(builder));
    assert!(problem.starts_with(begin) && problem.ends_with(end), "{problem}");
}

#[test]
fn the_defaults_are_fine() {
    assert_eq!(problems(plain()), Vec::<String>::new());
    assert_eq!(problems(with_queue(|queue| queue)), Vec::<String>::new());
}

#[test]
fn a_worker_needs_a_job() {
    refused(
        empty(),
        "there is no job to run; put `#[job]` on an `async fn`, or name it with \
         `.register::<..>()` if its crate is not otherwise used",
    );
}

#[test]
fn the_names_in_jobs_must_be_known() {
    refused(
        plain().register::<Nameless>().register::<Count>().jobs(["plain", "plan"]),
        "`.jobs(..)` names `plan`, which is not registered; registered are: ``, `count`, `plain`",
    );
    let problems = problems(plain().jobs(["plan"]));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("names `plan`") && problems[1].contains("no job to run"));
}

#[test]
fn only_the_jobs_that_are_named_are_checked() {
    assert_eq!(problems(plain().register::<NoAttempts>().jobs(["plain"])), Vec::<String>::new());
}

#[test]
fn two_handlers_of_one_name_are_both_pointed_at() {
    let line = line!() + 1;
    let builder = empty().register::<Plain>().register::<SamePlain>();
    let problem = only(problems(builder));
    assert!(problem.starts_with("two handlers for job `plain`: `"), "{problem}");
    assert!(problem.contains("::Plain` at ") && problem.contains("::SamePlain` at "), "{problem}");
    let place = format!("{}:{line}:", file!());
    assert_eq!(problem.matches(&place).count(), 2, "{problem}");
    assert!(problem.ends_with("; rename one"), "{problem}");
    // One handler twice is no mistake.
    assert_eq!(problems_of_twice(), Vec::<String>::new());
}

fn problems_of_twice() -> Vec<String> {
    problems(plain().register::<Plain>())
}

#[test]
fn a_job_needs_a_name() {
    refused_around(
        empty().register::<Nameless>(),
        "the job of `",
        "has an empty name; give it one",
    );
}

#[test]
fn data_must_be_there_trait_objects_too() {
    refused(
        empty().register::<Count>(),
        "job `count` needs Data<u32>, which the worker was not given; add `.data(..)`, or \
         `.data_arc(..)` for a trait object",
    );
    assert_eq!(problems(empty().register::<Count>().data(7_u32)), Vec::<String>::new());
    refused_around(
        empty().register::<Mail>().data(Smtp),
        "job `mail` needs Data<dyn worker_builder::Mailer>, which",
        "for a trait object",
    );
    let given = empty().register::<Mail>().data_arc::<dyn Mailer>(Arc::new(Smtp));
    assert_eq!(problems(given), Vec::<String>::new());
    // Of queues that are not served, it need not be.
    let elsewhere = plain().register::<Mail>().queue(Queue::new("default"));
    assert_eq!(problems(elsewhere), Vec::<String>::new());
    // Of a raw queue's job it must.
    let raw = plain().register::<Mail>().queue(Queue::new("raw").raw::<Mail>());
    refused_around(raw, "job `mail` needs Data<dyn", "for a trait object");
}

#[test]
fn one_value_a_type() {
    refused(
        plain().data(1_u8).data(2_u8),
        "there are two values for Data<u8>; wrap one of them in a type of its own",
    );
}

#[test]
fn queue_names_are_checked_wherever_they_come_from() {
    let rule = "may hold only lowercase letters, digits and dashes; use 3 to 56 lowercase letters, \
                digits and single dashes, such as `mail-out`";
    refused(plain().queue(Queue::new("No_Good")), &format!("queue name `No_Good` {rule}"));
    refused(empty().register::<BadQueue>(), &format!("queue name `Bad Queue` {rule}"));
    let poison = "queue `mail-poison` is a poison queue, which no worker serves; replay its jobs \
                  with `client.poison(..)`";
    refused(plain().queue(Queue::new("mail-poison")), poison);
    refused(empty().register::<PoisonQueue>(), poison);
    assert_eq!(LONG.len(), 57);
    refused_around(
        plain().queue(Queue::new(LONG)),
        "queue name `a-name-of-57",
        "is longer than 56 characters, which leaves no room for `-poison`; use 3 to 56 lowercase \
         letters, digits and single dashes, such as `mail-out`",
    );
    assert_eq!(problems(empty().register::<LongQueue>()).len(), 1);
    assert_eq!(problems(plain().queue(Queue::new(&LONG[..56]))), Vec::<String>::new());
}

#[test]
fn a_misspelled_queue_is_noticed() {
    let given = || empty().register::<Mail>().data_arc::<dyn Mailer>(Arc::new(Smtp));
    refused(
        given().queue(Queue::new("mial")),
        "queue `mial` is the queue of no job; did you mean `mail`, the queue of job `mail`, which \
         is not served?",
    );
    // Calls may send jobs to any queue.
    let others = given().queue(Queue::new("mail")).queue(Queue::new("mail2"));
    assert_eq!(problems(others), Vec::<String>::new());
    assert_eq!(problems(given().queue(Queue::new("urgent"))), Vec::<String>::new());
}

#[test]
fn a_queue_is_set_up_once() {
    refused(
        plain().queue(Queue::new("work")).queue(Queue::new("work").concurrency(2)),
        "queue `work` is set up twice; merge them",
    );
}

#[test]
fn concurrency_is_neither_zero_nor_absurd() {
    let never = "it would never run a job; use at least 1";
    refused(
        with_queue(|queue| queue.concurrency(0)),
        &format!("the concurrency of queue `work` is 0; {never}"),
    );
    refused(plain().concurrency(0), &format!("the worker's concurrency is 0; {never}"));
    refused(
        with_queue(|queue| queue.concurrency(usize::MAX)),
        &format!("the concurrency of queue `work` is {}; the most is 100000", usize::MAX),
    );
    refused(
        plain().concurrency(usize::MAX),
        &format!("the worker's concurrency is {}; the most is 100000", usize::MAX),
    );
    assert_eq!(problems(plain().concurrency(100_000)), Vec::<String>::new());
}

#[test]
fn attempts_are_not_zero() {
    refused(
        plain().max_attempts(0),
        "the worker's max_attempts is 0; a job needs at least 1 attempt",
    );
    refused(
        with_queue(|queue| queue.max_attempts(0)),
        "max_attempts of queue `work` is 0; a job needs at least 1",
    );
    refused(
        empty().register::<NoAttempts>(),
        "max_attempts of job `no_attempts` is 0; it needs at least 1",
    );
    refused(plain().crash_limit(0), "the worker's crash_limit is 0; use at least 1");
}

#[test]
fn rates_are_not_zero() {
    refused(
        with_queue(|queue| queue.rate_limit(0, SECOND)),
        "the rate limit of queue `work` is 0; it would never run a job; use at least 1",
    );
    refused(
        with_queue(|queue| queue.rate_limit(1, Duration::ZERO)),
        "the window of the rate limit of queue `work` is 0ns; the least is 1ms",
    );
    refused_around(
        with_queue(|queue| queue.rate_limit(1, Duration::MAX)),
        "the window of the rate limit of queue `work` is ",
        "; the most is 86400s",
    );
}

#[test]
fn durations_are_neither_zero_nor_absurd() {
    type Change = fn(Duration) -> WorkerBuilder;
    let durations: [(&str, Change); 6] = [
        ("the worker's timeout", |d| plain().timeout(d)),
        ("the timeout of queue `work`", |d| with_queue(|queue| queue.timeout(d))),
        ("the lease of queue `work`", |d| with_queue(|queue| queue.lease(d))),
        ("max_poll of queue `work`", |d| with_queue(|queue| queue.max_poll(d).min_poll(d))),
        ("min_poll of queue `work`", |d| with_queue(|queue| queue.max_poll(d).min_poll(d))),
        ("the window of the rate limit", |d| with_queue(|queue| queue.rate_limit(1, d))),
    ];
    for (what, change) in durations {
        for bad in [Duration::ZERO, Duration::MAX] {
            let problems = problems(change(bad));
            let about = |problem: &&String| problem.starts_with(&format!("{what} "));
            let problem = problems.iter().find(about).unwrap_or_else(|| panic!("{what} {bad:?}"));
            let limit = if bad.is_zero() { "; the least is " } else { "; the most is " };
            assert!(problem.contains(limit), "{problem}");
        }
    }
    for (builder, begin) in [
        (empty().register::<NoTime>(), "the timeout of job `no_time` is 0ns; the least is "),
        (empty().register::<AllTime>(), "the timeout of job `all_time` is "),
        (empty().register::<NoLife>(), "expires_in of job `no_life` is 0ns; the least is "),
        (empty().register::<AllLife>(), "expires_in of job `all_life` is "),
        (plain().grace(Duration::MAX), "the worker's grace is "),
        (plain().put_back_limit(Duration::MAX), "the worker's put_back_limit is "),
    ] {
        refused_around(builder, begin, "");
    }
    assert_eq!(problems(plain().grace(Duration::ZERO)), Vec::<String>::new());
    assert_eq!(problems(plain().put_back_limit(Duration::ZERO)), Vec::<String>::new());
}

#[test]
fn the_shortest_poll_is_not_longer_than_the_longest() {
    refused(
        with_queue(|queue| queue.min_poll(10 * SECOND)),
        "min_poll of queue `work` (10s) is longer than its max_poll (5s); swap them or raise \
         max_poll",
    );
}

fn limited(change: impl FnOnce(&mut Capabilities)) -> WorkerBuilder {
    let mut capabilities = MemoryBackend::new().capabilities().clone();
    change(&mut capabilities);
    let backend = MemoryBackend::with_capabilities(capabilities);
    Worker::builder(&Client::new(backend)).without_linked_jobs().register::<Plain>()
}

#[test]
fn the_lease_is_one_that_the_backend_can_give() {
    let lease = |seconds| Queue::new("work").lease(Duration::from_secs(seconds));
    let backend = || {
        limited(|capabilities| {
            capabilities.min_lease = 30 * SECOND;
            capabilities.max_lease = 90 * SECOND;
        })
    };
    refused(backend().queue(lease(10)), "the lease of queue `work` is 10s; the least is 30s");
    refused(backend().queue(lease(100)), "the lease of queue `work` is 100s; the most is 90s");
    assert_eq!(problems(backend().queue(lease(90))), Vec::<String>::new());
    // A message is rewritten and kept by hiding it for a lease.
    let hops = limited(|capabilities| capabilities.max_delay = 20 * SECOND).queue(lease(60));
    refused(hops, "the lease of queue `work` is 60s; the most is 20s");
}

#[test]
fn the_defaults_too_must_suit_the_backend() {
    let short = limited(|capabilities| capabilities.max_lease = 30 * SECOND);
    refused_around(short, "the lease of queue `default` is 60s; the most is 30s", "");
    let small = limited(|capabilities| capabilities.max_body = 1024);
    refused_around(small, "the backend takes bodies of 1024 bytes at most, which is too few", "");
}

#[test]
fn a_raw_queue_needs_its_job_and_counts() {
    refused(
        plain().queue(Queue::new("work").raw::<Count>()),
        "raw queue `work` is for job `count`, which is not registered here; add \
         `.register::<..>()`, and name it in `.jobs(..)` if you use that",
    );
    refused_around(
        limited(|capabilities| capabilities.counts = false)
            .queue(Queue::new("work").raw::<Plain>()),
        "queue `work` cannot be raw: the backend does not count deliveries, so",
        "",
    );
}

#[test]
fn all_mistakes_are_listed_at_once() {
    let builder = empty()
        .register::<Count>()
        .register::<NoAttempts>()
        .concurrency(0)
        .data(1_u8)
        .data(2_u8)
        .queue(Queue::new("count").concurrency(0).lease(Duration::ZERO))
        .queue(Queue::new("X"));
    let error = builder.build().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the worker cannot be built, for 7 reasons:\n- "), "{text}");
    assert_eq!(text.lines().count(), 8, "{text}");
    for problem in error.problems() {
        assert!(text.contains(problem));
    }
    let error = empty().build().unwrap_err();
    assert!(
        error.to_string().starts_with("the worker cannot be built: there is no job"),
        "{error}"
    );
}

#[test]
fn a_backoff_of_zero_is_a_choice() {
    assert_eq!(problems(plain().backoff(Backoff::fixed(Duration::ZERO))), Vec::<String>::new());
}
