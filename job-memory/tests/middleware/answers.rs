//! What becomes of a job whose layer answers in its place.

use super::*;

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
