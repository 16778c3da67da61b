//! A circuit breaker, as an app would write it.

use super::*;

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
