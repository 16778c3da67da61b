//! Settings from a config, and what a worker tells of itself.

mod common;

use std::time::Duration;

use common::*;
use job_core::{
    Backoff, BuildError, Client, Description, Handler, Job, JobContext, JobError, JobOptions,
    Queue, Requirements, Worker, WorkerBuilder, WorkerConfig,
};
use job_memory::MemoryBackend;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::limit::ConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;

trait Mailer: Send + Sync {}
struct Smtp;
impl Mailer for Smtp {}

#[derive(Serialize, Deserialize)]
struct SendWelcome {
    user_id: u64,
}

impl Job for SendWelcome {
    const NAME: &'static str = "send_welcome";
    const ALIASES: &'static [&'static str] = &["welcome", "greet"];
    const VERSION: u32 = 2;
    const OPTIONS: JobOptions = JobOptions::new()
        .queue("mail")
        .max_attempts(8)
        .backoff(Backoff::exponential(Duration::from_secs(2), Duration::from_secs(600)))
        .timeout(Duration::from_secs(30))
        .expires_in(Duration::from_secs(24 * 60 * 60));
}

impl Handler for SendWelcome {
    type Job = Self;
    async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
        Ok(())
    }
    fn requires(needs: &mut Requirements) {
        needs.data::<dyn Mailer>();
        needs.data::<Vec<String>>();
    }
}

#[derive(Serialize, Deserialize)]
struct Clean {}

impl Job for Clean {
    const NAME: &'static str = "clean";
}

impl Handler for Clean {
    type Job = Self;
    async fn call(_job: Self, _cx: JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

fn config(config: Value) -> WorkerConfig {
    serde_json::from_value(config).unwrap()
}

fn empty() -> WorkerBuilder {
    Worker::builder(&Client::new(MemoryBackend::new())).without_linked_jobs()
}

fn both() -> WorkerBuilder {
    empty()
        .register::<SendWelcome>()
        .register::<Clean>()
        .data_arc::<dyn Mailer>(std::sync::Arc::new(Smtp))
        .data(Vec::<String>::new())
}

#[track_caller]
fn described(builder: WorkerBuilder) -> Description {
    builder.build().unwrap().describe().clone()
}

#[track_caller]
fn as_json(builder: WorkerBuilder) -> Value {
    serde_json::to_value(described(builder)).unwrap()
}

// --- Config --------------------------------------------------------------------------------------

#[test]
fn an_empty_config_changes_nothing() {
    let defaults = as_json(both());
    assert_eq!(as_json(both().config(WorkerConfig::default())), defaults);
    assert_eq!(as_json(both().config(config(json!({ "queues": { "mail": {} } })))), defaults);
    let builder = || both().timeout(MINUTE).queue(Queue::new("mail").concurrency(2));
    assert_eq!(as_json(builder().config(WorkerConfig::default())), as_json(builder()));
}

#[test]
fn every_setting_takes_effect() {
    let given = json!({
        "concurrency": 64,
        "max_attempts": 3,
        "backoff": "fixed(5s)",
        "timeout": "10m",
        "grace": "7s",
        "crash_limit": 2,
        "put_back_limit": "2h",
        "queues": { "default": {
            "concurrency": 4,
            "rate_limit": "100 per 1s",
            "lease": "90s",
            "min_poll": "50ms",
            "max_poll": "10s",
            "max_attempts": 5,
            "backoff": "linear(1s, 1m)",
            "timeout": "20s",
        } },
    });
    let described = as_json(empty().register::<Clean>().config(config(given.clone())));
    for (of, field) in [("worker", ""), ("queues", "default")] {
        let (given, in_effect) = match of {
            "worker" => (&given, &described["worker"]),
            _ => (&given["queues"][field], &described["queues"][0]),
        };
        for (setting, value) in given.as_object().unwrap() {
            if setting != "queues" {
                let value = if value == "90s" { &json!("1m30s") } else { value };
                assert_eq!(&in_effect[setting], value, "{of} {setting}");
            }
        }
    }
    // What the queue says holds for a job that says nothing.
    let job = &described["jobs"][0];
    assert_eq!((&job["max_attempts"], &job["timeout"]), (&json!(5), &json!("20s")));
    assert_eq!(job["backoff"], "linear(1s, 1m)");
}

#[test]
fn the_later_of_config_and_call_wins() {
    let two = || config(json!({ "timeout": "2m", "max_attempts": 2 }));
    let worker = |builder: WorkerBuilder| {
        let worker = described(builder).worker;
        (worker.timeout, worker.max_attempts, worker.grace)
    };
    let grace = 25 * SECOND;
    assert_eq!(worker(both().timeout(MINUTE).config(two())), (2 * MINUTE, 2, grace));
    assert_eq!(worker(both().config(two()).timeout(MINUTE)), (MINUTE, 2, grace));
    let three = config(json!({ "max_attempts": 3, "grace": "3s" }));
    assert_eq!(worker(both().config(two()).config(three)), (2 * MINUTE, 3, 3 * SECOND));
}

#[test]
fn a_queue_in_config_and_call_is_merged_field_by_field() {
    let four = || config(json!({ "queues": { "mail": { "concurrency": 4, "lease": "2m" } } }));
    let called = || {
        Queue::new("mail")
            .concurrency(16)
            .rate_limit(10, SECOND)
            .layer(ConcurrencyLimitLayer::new(1))
    };
    let queue = |builder: WorkerBuilder| {
        let queue = only(described(builder).queues);
        assert_eq!((&*queue.name, queue.layers.len()), ("mail", 1));
        assert_eq!(queue.rate_limit.unwrap().to_string(), "10 per 1s");
        (queue.concurrency, queue.lease)
    };
    assert_eq!(queue(both().queue(called()).config(four())), (4, 2 * MINUTE));
    assert_eq!(queue(both().config(four()).queue(called())), (16, 2 * MINUTE));
    // It is no second set-up of the queue, but two calls still are.
    let twice = both().config(four()).queue(called()).queue(called());
    assert_eq!(
        only(twice.build().unwrap_err().problems().collect()),
        "queue `mail` is set up twice; merge them",
    );
}

fn served(builder: WorkerBuilder) -> Vec<(String, usize)> {
    let queues = described(builder).queues;
    queues.into_iter().map(|queue| (queue.name, queue.concurrency)).collect()
}

#[test]
fn settings_of_queues_do_not_choose_them() {
    let mail = || config(json!({ "queues": { "mail": { "concurrency": 4 } } }));
    assert_eq!(served(both().config(mail())), [("default".into(), 16), ("mail".into(), 4)]);
    // Other workers of the same program may serve it.
    assert_eq!(
        served(both().config(mail()).queue(Queue::new("default"))),
        [("default".into(), 16)]
    );
    assert_eq!(served(both().jobs(["clean"]).config(mail())), [("default".into(), 16)]);
}

#[test]
fn a_config_can_choose_the_queues() {
    let mail = || config(json!({ "serve": ["mail"], "queues": { "mail": { "concurrency": 4 } } }));
    assert_eq!(served(both().config(mail())), [("mail".into(), 4)]);
    // As a variable of the environment has it.
    let text = config(json!({ "serve": " default, mail,later " }));
    assert_eq!(text.serve.as_deref().unwrap(), ["default", "mail", "later"]);
    assert_eq!(
        served(both().config(mail()).config(text)),
        [("default".into(), 16), ("later".into(), 16), ("mail".into(), 4)]
    );
    // What calls say of a queue holds if it is served, whichever comes first.
    let queues = |builder: WorkerBuilder| {
        builder.queue(Queue::new("mail").concurrency(2)).queue(Queue::new("default"))
    };
    assert_eq!(served(queues(both()).config(mail())), [("mail".into(), 4)]);
    assert_eq!(served(queues(both().config(mail()))), [("mail".into(), 2)]);
    // Nor does a worker need what the jobs of other queues need.
    let clean = config(json!({ "serve": ["default"] }));
    let builder = empty().register::<SendWelcome>().register::<Clean>().config(clean);
    assert_eq!(served(builder), [("default".into(), 16)]);
}

#[test]
fn mistakes_in_the_choice_of_queues_are_found() {
    let serve = |queues: Value| both().config(config(json!({ "serve": queues })));
    let none = "the config's `serve` names no queue; leave it out to serve those of all jobs";
    assert_eq!(problem(serve(json!([]))), none);
    assert_eq!(problem(serve(json!(""))), none);
    assert_eq!(
        problem(serve(json!(["mial"]))),
        "queue `mial` is the queue of no job; did you mean `mail`, the queue of job \
         `send_welcome`, which is not served?",
    );
    let wrong = problem(serve(json!("Mail")));
    assert!(wrong.contains("queue name `Mail`"), "{wrong}");
    // That it is not served does not make it right.
    assert_eq!(
        problem(serve(json!("mail")).queue(Queue::new("default").concurrency(0))),
        "the concurrency of queue `default` is 0; it would never run a job; use at least 1",
    );
}

#[track_caller]
fn problem(builder: WorkerBuilder) -> String {
    let error: BuildError = builder.build().unwrap_err();
    only(error.problems().map(str::to_owned).collect())
}

#[test]
fn mistakes_in_a_config_are_found_like_those_in_calls() {
    assert_eq!(
        problem(both().config(config(json!({ "queues": { "mial": {} } })))),
        "the config has settings for queue `mial`, which is neither served here nor the queue of \
         any job; known are: `default`, `mail`",
    );
    assert_eq!(
        problem(both().config(config(json!({ "queues": { "mail": { "concurrency": 0 } } })))),
        "the concurrency of queue `mail` is 0; it would never run a job; use at least 1",
    );
    assert_eq!(
        problem(both().config(config(json!({ "timeout": "0s" })))),
        "the worker's timeout is 0ns; the least is 1ms",
    );
}

#[tokio::test(start_paused = true)]
async fn a_configured_worker_does_as_it_is_told() {
    let backend = memory().await;
    let (script, mut heard) = told(|_, _| async { Err("no".into()) });
    put_jobs(&backend, ["a"]).await;
    let config = config(json!({ "max_attempts": 3, "backoff": "fixed(7s)" }));
    let worker = Running::new(builder(backend.clone(), script).config(config));
    for n in 0..3 {
        assert_eq!(heard.next().await.at.as_secs(), 7 * n);
    }
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.poisoned(), 1);
}

// --- Description ---------------------------------------------------------------------------------

fn full() -> WorkerBuilder {
    both()
        .concurrency(64)
        .layer(ConcurrencyLimitLayer::new(32))
        .queue(
            Queue::new("mail")
                .rate_limit(100, SECOND)
                .layer(ConcurrencyLimitLayer::new(8))
                .layer(TimeoutLayer::new(MINUTE)),
        )
        .queue(Queue::new("posted").raw::<Clean>().concurrency(1).max_attempts(5))
        .job_layer::<SendWelcome>(ConcurrencyLimitLayer::new(1))
}

#[test]
fn a_worker_describes_itself_as_tables() {
    let expected = "\
WORKER      ATTEMPTS  BACKOFF               TIMEOUT  GRACE  CRASHES  PUT BACK  LAYERS
64 at once  20        exponential(5s, 10m)  30m      25s    3        1d        ConcurrencyLimitLayer

QUEUE   CONCURRENCY  RATE LIMIT  LEASE  POLL         RAW    LAYERS
mail    16           100 per 1s  1m     100ms to 5s  -      ConcurrencyLimitLayer, TimeoutLayer
posted  1            -           1m     100ms to 5s  clean  -

JOB           ALIASES         VERSION  QUEUE                 ATTEMPTS  BACKOFF               TIMEOUT  EXPIRES  DATA                     LAYERS
clean         -               1        default (not served)  20        exponential(5s, 10m)  30m      -        -                        -
send_welcome  welcome, greet  2        mail                  8         exponential(2s, 10m)  30s      1d       dyn Mailer, Vec<String>  ConcurrencyLimitLayer
";
    assert_eq!(described(full()).to_string(), expected);
    // One with as little as possible.
    let expected = "\
WORKER    ATTEMPTS  BACKOFF               TIMEOUT  GRACE  CRASHES  PUT BACK  LAYERS
no limit  20        exponential(5s, 10m)  30m      25s    3        1d        -

QUEUE    CONCURRENCY  RATE LIMIT  LEASE  POLL         RAW  LAYERS
default  16           -           1m     100ms to 5s  -    -

JOB    ALIASES  VERSION  QUEUE    ATTEMPTS  BACKOFF               TIMEOUT  EXPIRES  DATA  LAYERS
clean  -        1        default  20        exponential(5s, 10m)  30m      -        -     -
";
    assert_eq!(described(empty().register::<Clean>()).to_string(), expected);
}

#[test]
fn a_worker_describes_itself_as_json() {
    assert_eq!(
        as_json(full()),
        json!({
            "worker": {
                "concurrency": 64,
                "max_attempts": 20,
                "backoff": "exponential(5s, 10m)",
                "timeout": "30m",
                "grace": "25s",
                "crash_limit": 3,
                "put_back_limit": "1d",
                "layers": ["ConcurrencyLimitLayer"],
            },
            "queues": [
                {
                    "name": "mail",
                    "raw": null,
                    "concurrency": 16,
                    "rate_limit": "100 per 1s",
                    "lease": "1m",
                    "min_poll": "100ms",
                    "max_poll": "5s",
                    "max_attempts": 20,
                    "backoff": "exponential(5s, 10m)",
                    "timeout": "30m",
                    "layers": ["ConcurrencyLimitLayer", "TimeoutLayer"],
                },
                {
                    "name": "posted",
                    "raw": "clean",
                    "concurrency": 1,
                    "rate_limit": null,
                    "lease": "1m",
                    "min_poll": "100ms",
                    "max_poll": "5s",
                    "max_attempts": 5,
                    "backoff": "exponential(5s, 10m)",
                    "timeout": "30m",
                    "layers": [],
                },
            ],
            "jobs": [
                {
                    "name": "clean",
                    "aliases": [],
                    "version": 1,
                    "queue": "default",
                    "served": false,
                    "handler": "worker_config::Clean",
                    "max_attempts": 20,
                    "backoff": "exponential(5s, 10m)",
                    "timeout": "30m",
                    "expires_in": null,
                    "data": [],
                    "layers": [],
                },
                {
                    "name": "send_welcome",
                    "aliases": ["welcome", "greet"],
                    "version": 2,
                    "queue": "mail",
                    "served": true,
                    "handler": "worker_config::SendWelcome",
                    "max_attempts": 8,
                    "backoff": "exponential(2s, 10m)",
                    "timeout": "30s",
                    "expires_in": "1d",
                    "data": ["dyn worker_config::Mailer", "alloc::vec::Vec<alloc::string::String>"],
                    "layers": ["ConcurrencyLimitLayer"],
                },
            ],
        })
    );
}
