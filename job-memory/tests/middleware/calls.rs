//! What layers see of a call, in which order, and what they can be laid around.

use super::*;

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
