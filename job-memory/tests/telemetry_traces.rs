//! One trace from the request to a web server, to the job that it enqueues, and to the jobs that
//! this enqueues.

mod common;

use common::*;
use job_core::backend::Backend;
use job_core::telemetry::TraceRelation;
use job_core::{Backoff, Client, Queue, Worker};
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::json;
use tracing::{Instrument, Level};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A tracer in memory, behind `tracing`.
struct Traces {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Traces {
    fn new(level: Level) -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let level = LevelFilter::from_level(level);
        let subscriber = tracing_subscriber::registry().with(level).with(layer);
        let _guard = tracing::subscriber::set_default(subscriber);
        Self { exporter, provider, _guard }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        self.exporter.get_finished_spans().unwrap()
    }

    #[track_caller]
    fn named(&self, name: &str) -> Vec<SpanData> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.unwrap_or_else(|| panic!("no {key} in {span:?}")).value.to_string()
}

/// A job that enqueues another one.
fn begetting() -> (std::sync::Arc<Script>, Heard) {
    told(|order, cx| async move {
        match &*order {
            "parent" => {
                let child = Act { order: "child".into() };
                cx.client().enqueue(child).await.map_err(|error| error.to_string())?;
                Ok(())
            }
            "fails once" if cx.attempt() == 1 => Err("no luck".into()),
            _ => Ok(()),
        }
    })
}

fn worker(client: &Client, script: std::sync::Arc<Script>) -> job_core::WorkerBuilder {
    let queue = Queue::new(WORK).backoff(Backoff::fixed(SECOND));
    Worker::builder(client).data_arc(script).queue(queue)
}

#[tokio::test(start_paused = true)]
async fn a_request_its_job_and_the_jobs_of_that_are_one_trace() {
    let traces = Traces::new(Level::INFO);
    let client = Client::new(memory().await);
    let (script, mut heard) = begetting();
    let worker = Running::new(worker(&client, script));
    let request = tracing::info_span!("GET /sign-up");
    let enqueue = client.enqueue(Act { order: "parent".into() });
    let id = enqueue.instrument(request.clone()).await.unwrap();
    drop(request);
    heard.take(2).await;
    drained(&**client.backend(), WORK).await;
    worker.stop().await;

    let [request] = &traces.named("GET /sign-up")[..] else { panic!("{:#?}", traces.spans()) };
    let enqueues = traces.named("enqueue work");
    let runs = traces.named("run work");
    assert_eq!((enqueues.len(), runs.len()), (2, 2), "{:#?}", traces.spans());
    let child_of = |span: &SpanData| {
        traces.spans().into_iter().find(|it| it.parent_span_id == span.span_context.span_id())
    };
    let first = child_of(request).unwrap();
    assert_eq!((&*first.name, first.span_kind.clone()), ("enqueue work", SpanKind::Producer));
    let run = child_of(&first).unwrap();
    assert_eq!((&*run.name, run.span_kind.clone()), ("run work", SpanKind::Consumer));
    assert_eq!(attribute(&run, "job.id"), id.to_string());
    assert_eq!(attribute(&run, "messaging.destination.name"), WORK);
    let link = &run.links.iter().next().expect("the conventions want one").span_context;
    assert_eq!(link.span_id(), first.span_context.span_id());
    let second = child_of(&run).unwrap();
    assert_eq!(second.name, "enqueue work");
    let last = child_of(&second).unwrap();
    assert_eq!(last.name, "run work");
    let traces: std::collections::BTreeSet<_> = [request, &first, &run, &second, &last]
        .map(|it| it.span_context.trace_id().to_string())
        .into();
    assert_eq!(traces.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_run_of_the_same_trace() {
    let traces = Traces::new(Level::INFO);
    let client = Client::new(memory().await);
    let (script, mut heard) = begetting();
    let worker = Running::new(worker(&client, script));
    client.enqueue(Act { order: "fails once".into() }).await.unwrap();
    heard.take(2).await;
    drained(&**client.backend(), WORK).await;
    worker.stop().await;

    let [enqueue] = &traces.named("enqueue work")[..] else { panic!("{:#?}", traces.spans()) };
    let runs = traces.named("run work");
    assert!(runs.iter().all(|run| run.parent_span_id == enqueue.span_context.span_id()));
    let attempts: Vec<_> = runs.iter().map(|run| attribute(run, "job.attempt")).collect();
    assert_eq!(attempts, ["1", "2"]);
    assert!(matches!(runs[0].status, Status::Error { .. }), "{:?}", runs[0].status);
    assert_eq!(runs[1].status, Status::Unset);
}

/// That span may be as long as a process, as under a supervisor: all jobs would be one trace.
#[tokio::test(start_paused = true)]
async fn no_job_belongs_to_the_trace_that_its_worker_runs_in() {
    for relation in [TraceRelation::Parent, TraceRelation::Link] {
        let traces = Traces::new(Level::DEBUG);
        let client = Client::new(memory().await);
        let (script, mut heard) = begetting();
        let worker = worker(&client, script).traces(relation).build().unwrap();
        let (handle, process) = (worker.handle(), tracing::info_span!("process"));
        let running = tokio::spawn(worker.run().instrument(process.clone()));
        put_jobs(&**client.backend(), ["nobody traced", "who enqueued this"]).await;
        if relation == TraceRelation::Link {
            client.enqueue(Act { order: "linked".into() }).await.unwrap();
            heard.next().await;
        }
        heard.take(2).await;
        drained(&**client.backend(), WORK).await;
        handle.shutdown();
        running.await.unwrap().unwrap();
        drop(process);

        let mut seen = std::collections::BTreeSet::new();
        for name in ["run work", "receive work", "settle work", "process"] {
            let spans = traces.named(name);
            assert!(!spans.is_empty(), "{name}: {:#?}", traces.spans());
            for span in spans {
                assert_eq!(span.parent_span_id, SpanId::INVALID, "{relation:?}: {span:?}");
                assert!(seen.insert(span.span_context.trace_id().to_string()), "{span:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn linked_runs_are_traces_of_their_own() {
    let traces = Traces::new(Level::INFO);
    let client = Client::new(memory().await);
    let (script, mut heard) = begetting();
    let worker = Running::new(worker(&client, script).traces(TraceRelation::Link));
    client.enqueue(Act { order: "fine".into() }).await.unwrap();
    heard.next().await;
    drained(&**client.backend(), WORK).await;
    worker.stop().await;

    let [enqueue] = &traces.named("enqueue work")[..] else { panic!("{:#?}", traces.spans()) };
    let [run] = &traces.named("run work")[..] else { panic!("{:#?}", traces.spans()) };
    assert_eq!(run.parent_span_id, SpanId::INVALID);
    assert_ne!(run.span_context.trace_id(), enqueue.span_context.trace_id());
    let link = &run.links.iter().next().unwrap().span_context;
    assert_eq!(link.trace_id(), enqueue.span_context.trace_id());
    assert_eq!(link.span_id(), enqueue.span_context.span_id());
}

/// Whatever is on the wire, the job runs; a `tracestate` travels with it.
#[tokio::test(start_paused = true)]
async fn what_is_on_the_wire_is_taken_up_or_ignored() {
    let traces = Traces::new(Level::INFO);
    let backend = memory().await;
    let client = Client::new(backend.clone());
    let (script, mut heard) = told(|order, cx| async move {
        if order == "given" {
            assert_eq!(cx.trace_context(), Some((PARENT, Some("a=1"))));
        }
        Ok(())
    });
    let worker = Running::new(worker(&client, script));
    let given = client.enqueue(Act { order: "given".into() });
    given.trace_context(PARENT, Some("a=1".into())).await.unwrap();
    for trace in ["nonsense", "00-0-0-00", ""] {
        let job = with(job("broken"), "trace", json!({ "traceparent": trace }));
        put_job(&backend, &job).await;
    }
    heard.take(4).await;
    drained(&backend, WORK).await;
    assert_eq!(worker.stop().await.completed(), 4);

    let runs = traces.named("run work");
    let with_parent: Vec<_> =
        runs.iter().filter(|run| run.parent_span_id != SpanId::INVALID).collect();
    assert_eq!((runs.len(), with_parent.len()), (4, 1));
    let context = &with_parent[0].span_context;
    assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(with_parent[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(context.trace_state().header(), "a=1");
}

/// A context that would make a job too large is left behind.
#[tokio::test(start_paused = true)]
async fn a_trace_keeps_no_job_out() {
    let _traces = Traces::new(Level::INFO);
    let backend = memory().await;
    let client = Client::new(backend.clone());
    let enqueue = |size: usize| client.enqueue(Act { order: "x".repeat(size) });
    let (mut fits, mut too_large) = (0, 100_000);
    while too_large - fits > 1 {
        let middle = (fits + too_large) / 2;
        match enqueue(middle).await {
            Ok(_) => fits = middle,
            Err(_) => too_large = middle,
        }
    }
    let traced = |body: &bytes::Bytes| {
        serde_json::from_slice::<serde_json::Value>(body).unwrap()["trace"].is_object()
    };
    backend.purge(&name(WORK)).await.unwrap();
    enqueue(fits).await.unwrap();
    enqueue(fits - 200).await.unwrap();
    let bodies = bodies(&backend, WORK).await;
    assert_eq!(bodies.iter().map(traced).collect::<Vec<_>>(), [false, true]);
}
