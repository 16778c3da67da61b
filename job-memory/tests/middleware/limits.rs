//! Layers that limit how many run: when a job is taken, and who waits.

use super::*;

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
