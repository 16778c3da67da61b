//! Layers that panic, fail or drop what they are given.

use super::*;

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
