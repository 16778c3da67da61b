//! Layers around jobs: tower's own, and some that only a test would write.

mod common;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use common::*;
use job_core::middleware::{Call, JobFuture, JobLayer, JobService};
use job_core::{Backoff, BoxError, JobError, Outcome, Queue};
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::PollSemaphore;
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::TimeoutLayer;
use tower::util::{MapRequestLayer, MapResultLayer};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

// --- What the tests count ------------------------------------------------------------------------

/// How many handlers run, and how many did at most.
#[derive(Clone, Debug, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gauge {
    fn now(&self) -> usize {
        self.now.load(SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }

    fn enter(&self) -> Inside {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        Inside(self.clone())
    }
}

struct Inside(Gauge);
impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

/// Takes a second.
fn busy(gauge: &Gauge) -> (Arc<Script>, Heard) {
    let gauge = gauge.clone();
    told(move |_, _| {
        let gauge = gauge.clone();
        async move {
            let _inside = gauge.enter();
            sleep(SECOND).await;
            Ok(())
        }
    })
}

fn numbers(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| n.to_string())
}

fn queue() -> Queue {
    Queue::new(WORK).concurrency(16).backoff(Backoff::fixed(10 * SECOND))
}

/// A layer made of a function from the inner service and a call to a future.
fn around<F, Fut>(act: F) -> impl JobLayer
where
    F: Fn(JobService, Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, BoxError>> + Send + 'static,
{
    layer_fn(move |inner: JobService| {
        let act = act.clone();
        let ready = inner.clone();
        Around { inner, ready, act }
    })
}

/// Its service: ready when the inner one is, which it then hands to the function.
#[derive(Clone)]
struct Around<F> {
    inner: JobService,
    ready: JobService,
    act: F,
}

impl<F, Fut> Service<Call> for Around<F>
where
    F: Fn(JobService, Call) -> Fut,
    Fut: Future<Output = Result<Outcome, BoxError>>,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Fut;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Fut {
        let ready = std::mem::replace(&mut self.ready, self.inner.clone());
        (self.act)(ready, call)
    }
}

// --- Limits --------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_on_a_queue_is_kept_and_comes_before_the_lease() {
    let spy = spied().await;
    let gauge = Gauge::default();
    let (script, mut heard) = busy(&gauge);
    put_jobs(&spy, numbers(30)).await;
    let running = gauge.clone();
    spy.rule(move |request| {
        if request.op == Op::Receive {
            assert!(request.items + running.now() <= 3, "leased what cannot start");
        }
        Fate::Pass
    });
    let settings = queue().layer(ConcurrencyLimitLayer::new(3));
    let begin = Instant::now();
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    heard.take(30).await;
    drained(&spy, WORK).await;
    assert_eq!(gauge.most(), 3);
    // It is used to the full.
    assert!(begin.elapsed() < 11 * SECOND, "{:?}", begin.elapsed());
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.received()), (30, 30), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_on_the_worker_is_one_for_all_its_queues() {
    let backend = memory().await;
    create(&backend, "other").await;
    let gauge = Gauge::default();
    let (script, mut heard) = busy(&gauge);
    for n in numbers(20) {
        put(&backend, WORK, job(&n).to_string()).await;
        put(&backend, "other", job(&n).to_string()).await;
    }
    let builder = builder(backend.clone(), script)
        .layer(ConcurrencyLimitLayer::new(4))
        .queue(queue())
        .queue(Queue::new("other"));
    let worker = Running::new(builder);
    heard.take(40).await;
    drained(&backend, WORK).await;
    drained(&backend, "other").await;
    assert_eq!(gauge.most(), 4);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_limit_over_two_queues_is_not_held_by_the_idle_one() {
    // Both as their own layer and, through the worker's, as everybody's.
    for of_queues in [true, false] {
        let spy = spied().await.claim(|capabilities| capabilities.wakes = false);
        create(&spy, "idle").await;
        let gauge = Gauge::default();
        let (script, mut heard) = busy(&gauge);
        put_jobs(&spy, numbers(50)).await;
        let limit = GlobalConcurrencyLimitLayer::new(1);
        let builder = builder(spy.clone(), script);
        let builder = if of_queues {
            builder.queue(Queue::new("idle").layer(limit.clone())).queue(queue().layer(limit))
        } else {
            builder.queue(Queue::new("idle")).queue(queue()).layer(limit)
        };
        let begin = Instant::now();
        let worker = Running::new(builder);
        heard.take(50).await;
        drained(&spy, WORK).await;
        assert_eq!(gauge.most(), 1);
        assert!(begin.elapsed() < 51 * SECOND, "{:?}", begin.elapsed());
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_limit_over_two_busy_queues_is_shared_by_them() {
    let backend = memory().await;
    create(&backend, "other").await;
    let gauge = Gauge::default();
    let (script, mut heard) = busy(&gauge);
    for n in numbers(20) {
        put(&backend, WORK, job(&n).to_string()).await;
        put(&backend, "other", job(&n).to_string()).await;
    }
    let limit = GlobalConcurrencyLimitLayer::new(3);
    let builder = builder(backend.clone(), script)
        .queue(queue().layer(limit.clone()))
        .queue(Queue::new("other").layer(limit));
    let worker = Running::new(builder);
    heard.take(24).await;
    // Each has had its turns.
    for queue in [WORK, "other"] {
        assert!(total(&backend, queue).await < 15, "{queue}");
    }
    heard.take(16).await;
    drained(&backend, WORK).await;
    drained(&backend, "other").await;
    assert_eq!(gauge.most(), 3);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_waits_for_its_own_layer_takes_nothing_from_the_others() {
    let backend = memory().await;
    create(&backend, "stuck").await;
    put(&backend, "stuck", job("never").to_string()).await;
    put_jobs(&backend, numbers(10)).await;
    let (script, mut heard) = obedient();
    // There is one permit for all, and the stuck queue is first to ask.
    let builder = builder(backend.clone(), script)
        .concurrency(1)
        .layer(ConcurrencyLimitLayer::new(1))
        .queue(Queue::new("stuck").layer(layer_fn(|_| Never)))
        .queue(queue());
    let worker = Running::new(builder);
    heard.take(10).await;
    drained(&backend, WORK).await;
    // It never received.
    assert_eq!(visible(&backend, "stuck").await, 1);
    let begin = Instant::now();
    worker.stop().await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

/// Is never ready.
#[derive(Clone)]
struct Never;

impl Service<Call> for Never {
    type Response = Outcome;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, _call: Call) -> Self::Future {
        unreachable!("it was never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_never_is_ready_does_not_hold_up_a_shutdown() {
    let spy = spied().await;
    let (script, mut heard) = obedient();
    put_jobs(&spy, ["a"]).await;
    let worker = Running::new(builder(spy.clone(), script).layer(layer_fn(|_| Never)));
    sleep(HOUR).await;
    assert_eq!(spy.count(Op::Receive), 0);
    let begin = Instant::now();
    let report = worker.stop().await;
    assert_eq!((report.received(), begin.elapsed()), (0, Duration::ZERO));
    heard.nothing();
}

#[tokio::test(start_paused = true)]
async fn the_layer_of_a_job_is_waited_for_under_the_lease_and_within_the_timeout() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, _| async {
        sleep(50 * SECOND).await;
        Ok(())
    });
    put_jobs(&spy, numbers(2)).await;
    let settings = queue().timeout(80 * SECOND).lease(30 * SECOND);
    let builder = builder(spy.clone(), script)
        .queue(settings)
        .job_layer::<Act>(ConcurrencyLimitLayer::new(1));
    let worker = Running::new(builder);
    assert_eq!(heard.next().await.at.as_secs(), 0);
    // Both are leased. The second waits for the first, and its time runs out 80 seconds after it
    // was received, not after its handler began.
    assert_eq!(visible(&spy, WORK).await, 0);
    let (second, again) = (heard.next().await, heard.next().await);
    assert_eq!((second.at.as_secs(), second.attempt), (50, 1));
    assert_eq!((again.at.as_secs(), again.attempt), (90, 2));
    assert_eq!(second.order, again.order);
    drained(&spy, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.lease_lost()), (2, 0), "{report}");
    assert!(spy.count(Op::Renew) > 4);
}

// --- What layers answer --------------------------------------------------------------------------

fn is_overloaded(error: &BoxError) -> bool {
    error.is::<Overloaded>()
}

#[tokio::test(start_paused = true)]
async fn what_load_shed_turns_away_has_failed_unless_it_is_put_off() {
    for put_off in [false, true] {
        let backend = memory().await;
        let gauge = Gauge::default();
        let (script, mut heard) = busy(&gauge);
        put_jobs(&backend, numbers(2)).await;
        let translate = MapResultLayer::new(move |result| match result {
            Err(error) if put_off && is_overloaded(&error) => {
                Ok(Outcome::Snooze { delay: 10 * SECOND })
            }
            result => result,
        });
        let builder = builder(backend.clone(), script)
            .queue(queue())
            .layer(translate)
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(1));
        let worker = Running::new(builder);
        let (first, second) = (heard.next().await, heard.next().await);
        assert_eq!((first.attempt, first.at.as_secs()), (1, 0));
        let attempt = if put_off { 1 } else { 2 };
        assert_eq!((second.attempt, second.at.as_secs()), (attempt, 10));
        drained(&backend, WORK).await;
        let report = worker.stop().await;
        let (retried, snoozed) = if put_off { (0, 1) } else { (1, 0) };
        assert_eq!((report.retried(), report.snoozed()), (retried, snoozed), "{report}");
        assert_eq!((report.completed(), gauge.most()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn tower_s_timeout_is_a_failed_attempt() {
    let backend = memory().await;
    let gauge = Gauge::default();
    let inside = gauge.clone();
    let (script, mut heard) = told(move |_, cx| {
        let inside = inside.clone();
        async move {
            let _inside = inside.enter();
            sleep(if cx.attempt() == 1 { HOUR } else { SECOND }).await;
            Ok(())
        }
    });
    put_jobs(&backend, ["a"]).await;
    let settings = queue().layer(TimeoutLayer::new(5 * SECOND));
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    heard.next().await;
    sleep(6 * SECOND).await;
    assert_eq!(gauge.now(), 0, "its future is dropped");
    let run = heard.next().await;
    assert_eq!((run.attempt, run.at.as_secs()), (2, 15));
    drained(&backend, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.retried()), (1, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn whatever_outcome_a_layer_returns_is_honoured() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    put_jobs(&backend, ["done", "permanent", "discard", "snooze", "give back", "error"]).await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ran);
    // It knows the jobs by the order in which they come: args are not a layer's business.
    let mut answers = vec![
        Err("broken".into()),
        Ok(Outcome::GivenBack),
        Ok(Outcome::Snooze { delay: MINUTE }),
        Ok(Outcome::Discard { reason: "no need".into() }),
        Ok(Outcome::Permanent { error: "hopeless".into() }),
        Ok(Outcome::Done),
    ];
    let answer = Arc::new(Mutex::new(move || answers.pop()));
    let layer = around(move |mut inner: JobService, call| {
        seen.lock().unwrap().push(call.attempt());
        let answer = (answer.lock().unwrap())();
        async move {
            match answer {
                Some(answer) => answer,
                None => inner.call(call).await,
            }
        }
    });
    let settings = queue().concurrency(1).layer(layer);
    let worker = Running::new(builder(backend.clone(), script).queue(settings));
    let mut runs = heard.take(3).await;
    runs.sort();
    // Only the error has cost an attempt.
    assert_eq!(runs, [("error".into(), 2), ("give back".into(), 1), ("snooze".into(), 1)],);
    drained(&backend, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.poisoned(), report.discarded()), (4, 1, 1), "{report}");
    assert_eq!((report.snoozed(), report.given_back(), report.retried()), (1, 1, 1), "{report}");
    let poisoned = only(poisoned(&backend).await);
    assert!(poisoned.to_string().contains("hopeless"), "{poisoned}");
    assert_eq!(ran.lock().unwrap().len(), 9);
}

// --- A circuit breaker ---------------------------------------------------------------------------

/// Opens after some failures in a row: then nothing is received. After a while it lets one job try.
#[derive(Clone)]
struct BreakerLayer {
    circuit: Arc<Mutex<Circuit>>,
    one: Arc<tokio::sync::Semaphore>,
    failures: u32,
    open_for: Duration,
}

#[derive(Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
    opened: u32,
}

impl BreakerLayer {
    fn new(failures: u32, open_for: Duration) -> Self {
        let one = Arc::new(tokio::sync::Semaphore::new(1));
        Self { circuit: Arc::default(), one, failures, open_for }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap()
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        let one = PollSemaphore::new(Arc::clone(&self.one));
        Breaker { inner, layer: self.clone(), one, timer: None, trial: None }
    }
}

struct Breaker<S> {
    inner: S,
    layer: BreakerLayer,
    one: PollSemaphore,
    timer: Option<Pin<Box<Sleep>>>,
    /// While the circuit is half open: the right to be the one that tries.
    trial: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl<S: Clone> Clone for Breaker<S> {
    fn clone(&self) -> Self {
        self.layer.layer(self.inner.clone())
    }
}

impl<S> Service<Call> for Breaker<S>
where
    S: Service<Call, Response = Outcome, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while let Some(until) = self.layer.circuit().open_until {
            if Instant::now() < until {
                self.trial = None;
                let timer =
                    self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                ready!(timer.as_mut().poll(cx));
                self.timer = None;
                continue;
            }
            if self.trial.is_none() {
                self.trial = ready!(self.one.poll_acquire(cx));
                // It may have been closed, or opened anew, by the one that tried before.
                continue;
            }
            break;
        }
        if self.layer.circuit().open_until.is_none() {
            self.trial = None;
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let trial = self.trial.take();
        let layer = self.layer.clone();
        let running = self.inner.call(call);
        Box::pin(async move {
            let result = running.await;
            {
                let mut circuit = layer.circuit();
                match &result {
                    Err(_) | Ok(Outcome::Retry { .. }) => {
                        circuit.failures += 1;
                        if trial.is_some() || circuit.failures >= layer.failures {
                            circuit.open_until = Some(Instant::now() + layer.open_for);
                            circuit.opened += 1;
                        }
                    }
                    _ => {
                        circuit.failures = 0;
                        circuit.open_until = None;
                    }
                }
            }
            drop(trial);
            result
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_breaker_holds_back_receiving_and_charges_no_attempts() {
    const DOWN: Duration = Duration::from_secs(10 * 60);
    let spy = spied().await;
    let begin = Instant::now();
    let (script, mut heard) = told(move |_, _| async move {
        if begin.elapsed() < DOWN { Err(JobError::retry("the service is down")) } else { Ok(()) }
    });
    put_jobs(&spy, numbers(50)).await;
    let breaker = BreakerLayer::new(3, MINUTE);
    let settings = queue().concurrency(1).backoff(Backoff::fixed(SECOND)).layer(breaker.clone());
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    let mut runs = Vec::new();
    while runs.iter().filter(|run: &&Run| run.at >= DOWN).count() < 50 {
        runs.push(heard.next().await);
    }
    drained(&spy, WORK).await;
    // Three failed to open it, then one a minute that tried, until the service was up again.
    let failed: Vec<_> = runs.iter().filter(|run| run.at < DOWN).collect();
    assert_eq!(failed.len(), 3 + 9, "{failed:?}");
    for (trial, run) in failed[3..].iter().enumerate() {
        assert_eq!(run.at.as_secs(), 60 * (trial as u64 + 1));
    }
    assert_eq!(breaker.circuit().opened, 10);
    // While it was open nothing was received at all.
    let open = spy.requests(Op::Receive);
    let open = open.iter().filter(|request| request.at < begin + DOWN).count();
    assert_eq!(open, failed.len(), "one receive for each run");
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.retried()), (50, 12), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_lets_one_of_many_slots_try() {
    let spy = spied().await;
    let begin = Instant::now();
    let (script, mut heard) = told(move |_, _| async move {
        sleep(SECOND).await;
        if begin.elapsed() < 5 * MINUTE { Err(JobError::retry("down")) } else { Ok(()) }
    });
    put_jobs(&spy, numbers(50)).await;
    let settings = queue().concurrency(8).layer(BreakerLayer::new(3, MINUTE));
    let worker = Running::new(builder(spy.clone(), script).queue(settings));
    let mut runs = Vec::new();
    while runs.iter().filter(|run: &&Run| run.at >= 5 * MINUTE).count() < 50 {
        runs.push(heard.next().await);
    }
    drained(&spy, WORK).await;
    // Ten had begun when the third failed; then one at a time tried.
    let failed = runs.iter().filter(|run| run.at < 5 * MINUTE - SECOND).count();
    assert_eq!(failed, 10 + 4, "{runs:?}");
    worker.stop().await;
}

// --- Calls ---------------------------------------------------------------------------------------

#[derive(Debug, PartialEq)]
struct Tenant(String);

#[tokio::test(start_paused = true)]
async fn a_layer_reads_and_changes_the_call() {
    let spy = spied().await;
    let (script, mut heard) = told(|_, cx| async move {
        assert_eq!(cx.name(), "act/acme");
        assert_eq!(cx.meta("tenant"), Some("acme"));
        assert_eq!(cx.meta("secret"), None);
        assert_eq!(cx.meta("seen"), Some(&*cx.attempt().to_string()));
        assert_eq!(cx.all_meta().count(), 2);
        assert_eq!(cx.extension(), Some(&Tenant("acme".into())));
        assert_eq!(cx.extension::<u32>(), None);
        assert!(format!("{cx:?}").contains("act/acme"));
        // The token is still that by which the worker cancels.
        assert!(!cx.is_cancelled());
        if cx.attempt() == 1 {
            return Err("again".into());
        }
        cx.cancellation().cancelled().await;
        Ok(())
    });
    let meta = json!({ "tenant": "acme", "secret": "canary" });
    let id = put_job(&spy, &with(job("a"), "meta", meta.clone())).await;
    let layer = MapRequestLayer::new(|mut call: Call| {
        assert_eq!((call.name(), call.queue().as_str()), ("act", WORK));
        assert_eq!(call.id(), call.context().id());
        assert_eq!(call.meta("tenant"), Some("acme"));
        // The change of the attempt before is gone.
        assert_eq!(call.meta("seen"), None);
        assert_eq!(call.insert_meta("seen", call.attempt().to_string()), None);
        assert!(!format!("{call:?}").contains("canary"), "{call:?}");
        assert_eq!(call.meta_mut().remove("secret").as_deref(), Some("canary"));
        let tenant = call.meta("tenant").unwrap().to_owned();
        call.set_name(format!("{}/{tenant}", call.name()));
        call.insert_extension(Tenant(tenant));
        call
    });
    let inner = MapRequestLayer::new(|call: Call| {
        assert_eq!(call.name(), "act/acme");
        assert_eq!(call.extension(), Some(&Tenant("acme".into())));
        call
    });
    let settings = queue().timeout(MINUTE).layer(inner);
    let worker = Running::new(builder(spy.clone(), script).queue(settings).layer(layer));
    assert_eq!(heard.next().await.attempt, 1);
    sleep(5 * SECOND).await;
    // What is on the queue is what was enqueued.
    let replaced = spy.requests(Op::Replace);
    let body: serde_json::Value = serde_json::from_slice(&replaced[0].body).unwrap();
    assert_eq!((&body["meta"], &body["name"]), (&meta, &json!("act")));
    assert_eq!(heard.next().await.attempt, 2);
    sleep(MINUTE + SECOND).await;
    let report = worker.stop().await;
    assert_eq!(report.retried(), 2, "it timed out: {report}, {id}");
}

/// Notes when calls pass, in both directions.
fn noting(notes: &Notes, name: &'static str) -> impl JobLayer + use<> {
    let notes = notes.clone();
    around(move |mut inner: JobService, call| {
        let notes = notes.clone();
        async move {
            notes.note(format!("{name} {}", call.name()));
            let result = inner.call(call).await;
            notes.note(format!("{name} ends"));
            result
        }
    })
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, note: impl fmt::Display) {
        self.0.lock().unwrap().push(note.to_string());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn layers_are_passed_from_the_worker_s_to_the_job_s_the_first_is_outermost() {
    let backend = memory().await;
    let notes = Notes::default();
    let handler = notes.clone();
    let (script, mut heard) = told(move |_, _| {
        handler.note("handler");
        async { Ok(()) }
    });
    put_jobs(&backend, ["a"]).await;
    let built = ServiceBuilder::new().concurrency_limit(5).layer(noting(&notes, "q1"));
    let builder = builder(backend.clone(), script)
        .job_layer::<Act>(noting(&notes, "j1"))
        .queue(queue().layer(built.into_inner()).layer(noting(&notes, "q2")))
        .layer(noting(&notes, "w1"))
        .layer(noting(&notes, "w2"))
        .job_layer::<Act>(noting(&notes, "j2"));
    let worker = Running::new(builder);
    heard.next().await;
    drained(&backend, WORK).await;
    assert_eq!(
        notes.take(),
        [
            "w1 act", "w2 act", "q1 act", "q2 act", "j1 act", "j2 act", "handler", "j2 ends",
            "j1 ends", "q2 ends", "q1 ends", "w2 ends", "w1 ends",
        ],
    );
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_job_has_its_own_layers_under_all_its_names() {
    let backend = memory().await;
    let notes = Notes::default();
    put_jobs(&backend, ["a"]).await;
    put(&backend, WORK, with(job("b"), "name", json!("other")).to_string()).await;
    put(&backend, WORK, with(job("c"), "name", json!("older")).to_string()).await;
    let (script, mut heard) = obedient();
    let settings = queue().concurrency(1);
    let builder = builder(backend.clone(), script)
        .register::<Other>()
        .queue(settings)
        .job_layer::<Other>(noting(&notes, "of other"));
    let worker = Running::new(builder);
    heard.next().await;
    drained(&backend, WORK).await;
    assert_eq!(
        notes.take(),
        ["of other other", "of other ends", "of other other", "of other ends"]
    );
    worker.stop().await;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Other {
    order: String,
}

impl job_core::Job for Other {
    const NAME: &'static str = "other";
    const ALIASES: &'static [&'static str] = &["older"];
}

impl job_core::Handler for Other {
    type Job = Self;
    async fn call(_job: Self, _cx: job_core::JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn raw_queues_have_layers_too() {
    let spy = spied().await;
    let notes = Notes::default();
    let (script, mut heard) = told(|_, cx| async move {
        assert_eq!(cx.meta("by"), Some("a layer"));
        Ok(())
    });
    put(&spy, WORK, r#"{"order":"a"}"#).await;
    let mark = MapRequestLayer::new(|mut call: Call| {
        call.insert_meta("by", "a layer");
        call
    });
    let settings = queue().raw::<Act>().layer(mark).layer(noting(&notes, "queue"));
    let builder = builder(spy.clone(), script)
        .queue(settings)
        .layer(noting(&notes, "worker"))
        .job_layer::<Act>(noting(&notes, "job"));
    let worker = Running::new(builder);
    heard.next().await;
    drained(&spy, WORK).await;
    assert_eq!(
        notes.take(),
        ["worker act", "queue act", "job act", "job ends", "queue ends", "worker ends"]
    );
    worker.stop().await;
}

// --- Layers that fail ----------------------------------------------------------------------------

/// A layer that does something bad a few times, and then nothing.
#[derive(Clone)]
struct Bad {
    inner: JobService,
    what: What,
    times: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    PanicInPollReady,
    ErrorInPollReady,
    PanicInCall,
    PanicInPoll,
}

impl Bad {
    fn layer(what: What, times: usize) -> (impl JobLayer, Arc<AtomicUsize>) {
        let left = Arc::new(AtomicUsize::new(times));
        let times = Arc::clone(&left);
        let layer = layer_fn(move |inner| Self { inner, what, times: Arc::clone(&times) });
        (layer, left)
    }

    fn is_due(&self) -> bool {
        self.times.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl Service<Call> for Bad {
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.what {
            What::PanicInPollReady if self.is_due() => panic!("bad in poll_ready"),
            What::ErrorInPollReady if self.is_due() => Poll::Ready(Err("bad".into())),
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match self.what {
            What::PanicInCall if self.is_due() => panic!("bad in call"),
            What::PanicInPoll if self.is_due() => Box::pin(async { panic!("bad in poll") }),
            _ => self.inner.call(call),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_panics_has_failed_the_attempt() {
    for what in [What::PanicInCall, What::PanicInPoll] {
        for of in ["worker", "queue", "job"] {
            let backend = memory().await;
            let (script, mut heard) = obedient();
            put_jobs(&backend, ["a"]).await;
            let (layer, _) = Bad::layer(what, 2);
            let limit = ConcurrencyLimitLayer::new(1);
            let builder = builder(backend.clone(), script);
            // Permits of other layers come back.
            let builder = match of {
                "worker" => builder.layer(limit).layer(layer).queue(queue()),
                "queue" => builder.queue(queue().layer(limit).layer(layer)),
                _ => builder.queue(queue()).job_layer::<Act>(limit).job_layer::<Act>(layer),
            };
            let worker = Running::new(builder);
            let run = heard.next().await;
            assert_eq!((run.attempt, run.at.as_secs()), (3, 20), "{what:?} {of}");
            drained(&backend, WORK).await;
            let report = worker.stop().await;
            assert_eq!((report.completed(), report.retried()), (1, 2), "{what:?} {of}");
        }
    }
}

/// A service that is of no more use once a call has panicked half-way.
#[derive(Clone)]
struct Delicate {
    inner: JobService,
    half_way: bool,
    panics: Arc<AtomicUsize>,
}

impl Service<Call> for Delicate {
    type Response = Outcome;
    type Error = BoxError;
    type Future = JobFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> JobFuture {
        assert!(!self.half_way, "it was used again");
        self.half_way = true;
        assert!(self.panics.fetch_add(1, SeqCst) > 0, "once");
        self.half_way = false;
        self.inner.call(call)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_call_panicked_is_not_used_again() {
    for of in ["worker", "queue", "job"] {
        let backend = memory().await;
        let (script, mut heard) = obedient();
        put_jobs(&backend, ["a", "b"]).await;
        let panics = Arc::new(AtomicUsize::new(0));
        let layer = layer_fn(move |inner| {
            let panics = Arc::clone(&panics);
            Delicate { inner, half_way: false, panics }
        });
        let builder = builder(backend.clone(), script);
        let queue = queue().concurrency(1);
        let builder = match of {
            "worker" => builder.layer(layer).queue(queue),
            "queue" => builder.queue(queue.layer(layer)),
            _ => builder.queue(queue).job_layer::<Act>(layer),
        };
        let worker = Running::new(builder);
        // The first fails, and the other one has no part in it.
        for (order, attempt) in [("b", 1), ("a", 2)] {
            let run = heard.next().await;
            assert_eq!((&*run.order, run.attempt), (order, attempt), "{of}");
        }
        drained(&backend, WORK).await;
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_fails_to_become_ready_is_asked_again_with_a_growing_pause() {
    for what in [What::PanicInPollReady, What::ErrorInPollReady] {
        for of in ["worker", "queue"] {
            let spy = spied().await;
            create(&spy, "other").await;
            let (script, mut heard) = obedient();
            put_jobs(&spy, ["a"]).await;
            let (layer, left) = Bad::layer(what, usize::MAX);
            let limit = ConcurrencyLimitLayer::new(1);
            let builder = builder(spy.clone(), script).concurrency(1);
            let builder = match of {
                "worker" => builder.layer(limit).layer(layer).queue(queue()),
                _ => builder.queue(queue().layer(layer)).queue(Queue::new("other")).layer(limit),
            };
            let worker = Running::new(builder);
            if of == "queue" {
                // The other one is not touched by it.
                put(&spy, "other", job("b").to_string()).await;
                assert_eq!(heard.next().await.order, "b");
            }
            sleep(10 * MINUTE).await;
            let asked = usize::MAX - left.load(SeqCst);
            assert!((15..40).contains(&asked), "{what:?} {of}: {asked}");
            assert_eq!(visible(&spy, WORK).await, 1, "nothing is received meanwhile");
            heard.nothing();
            // Once it is ready, all goes on; nothing was charged.
            left.store(0, SeqCst);
            let run = heard.next().await;
            assert_eq!((&*run.order, run.attempt), ("a", 1));
            drained(&spy, WORK).await;
            let report = worker.stop().await;
            assert_eq!(report.retried(), 0, "{what:?} {of}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_of_a_job_that_fails_to_become_ready_has_failed_the_attempt() {
    for what in [What::PanicInPollReady, What::ErrorInPollReady] {
        let backend = memory().await;
        let (script, mut heard) = obedient();
        put_jobs(&backend, ["a"]).await;
        let (layer, _) = Bad::layer(what, 1);
        let builder = builder(backend.clone(), script).queue(queue()).job_layer::<Act>(layer);
        let worker = Running::new(builder);
        let run = heard.next().await;
        assert_eq!((run.attempt, run.at.as_secs()), (2, 10));
        drained(&backend, WORK).await;
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_drops_calls_leaks_nothing() {
    let backend = memory().await;
    let (script, mut heard) = obedient();
    put_jobs(&backend, numbers(10)).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let layer = around(move |mut inner: JobService, call| {
        let drops = count.fetch_add(1, SeqCst) < 10;
        async move { if drops { Ok(Outcome::Snooze { delay: SECOND }) } else { inner.call(call).await } }
    });
    let builder = builder(backend.clone(), script)
        .queue(queue().layer(ConcurrencyLimitLayer::new(1)))
        .layer(layer);
    let worker = Running::new(builder);
    heard.take(10).await;
    drained(&backend, WORK).await;
    let report = worker.stop().await;
    assert_eq!((report.completed(), report.snoozed()), (10, 10), "{report}");
}

#[test]
fn a_layer_of_a_job_that_nobody_knows_is_a_mistake() {
    let client = job_core::Client::new(job_memory::MemoryBackend::new());
    let builder = job_core::Worker::builder(&client)
        .without_linked_jobs()
        .register::<Other>()
        .job_layer::<Act>(ConcurrencyLimitLayer::new(1));
    let error = builder.build().unwrap_err();
    assert_eq!(
        only(error.problems().collect()),
        "`.job_layer(..)` is for job `act`, which is not registered; registered are: `other`",
    );
}

#[test]
fn queues_with_layers_can_be_shown_and_cloned() {
    let queue = queue().layer(ConcurrencyLimitLayer::new(1)).layer(LoadShedLayer::new());
    let shown = format!("{:?}", queue.clone());
    assert!(shown.contains(r#"["ConcurrencyLimitLayer", "LoadShedLayer"]"#), "{shown}");
}
