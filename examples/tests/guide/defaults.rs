//! The tables of defaults in the guide, beside the code.

use std::collections::BTreeMap;

use job_core::prelude::*;
use job_core::telemetry::TraceRelation;
use job_core::{WorkerConfig, WorkerDescription};
use job_memory::MemoryBackend;
use serde_json::{Value, json};

use super::{Page, root};

/// Says nothing of itself.
#[job(queue = "plain")]
async fn plain() -> Result<(), JobError> {
    Ok(())
}

#[test]
fn the_tables_of_defaults_are_those_of_the_code() {
    let page = Page::read(&root().join("docs/src/settings.md"));
    let (worker, queue) = (table(&page, "worker"), table(&page, "queue"));

    // Nothing is missing, and nothing is there that is no setting.
    assert_eq!(worker.keys().cloned().collect::<Vec<_>>(), fields(json!({ "": 0 })));
    let fields_of_queue = fields(json!({ "queues": { "mail": { "": 0 } } }));
    assert_eq!(queue.keys().cloned().collect::<Vec<_>>(), fields_of_queue);

    let client = Client::new(MemoryBackend::new());
    let built = Worker::builder(&client).http(([127, 0, 0, 1], 0)).build().expect("a worker");
    let description = built.describe();
    let WorkerDescription { http, .. } = &description.worker;
    let http = serde_json::to_value(http.as_ref().expect("an address")).expect("JSON");
    let of_worker = serde_json::to_value(&description.worker).expect("JSON");
    for (name, default) in &worker {
        let actual = match name.as_str() {
            "traces" => serde_json::to_value(TraceRelation::default()).expect("JSON"),
            "sample_every" | "stall_limit" => http[name].clone(),
            // Not there unless somebody asks for it.
            "http" | "serve" | "queues" => Value::Null,
            _ => of_worker[name].clone(),
        };
        assert_eq!(*default, shown(&actual), "of a worker: {name}");
    }

    let plain = description.queues.iter().find(|queue| queue.name == "plain").expect("it");
    let of_queue = serde_json::to_value(plain).expect("JSON");
    for (name, default) in &queue {
        let actual = shown(&of_queue[name]);
        match default.as_str() {
            "the worker's" => assert_eq!(actual, worker[name], "of a queue: {name}"),
            default => assert_eq!(default, actual, "of a queue: {name}"),
        }
    }
}

/// The table whose head begins with that word: names and defaults.
fn table(page: &Page, head: &str) -> BTreeMap<String, String> {
    let from = page.rows.iter().position(|row| row[0] == head).expect(head);
    let rows = page.rows[from + 1..].iter();
    let rows = rows.take_while(|row| row[0] != "worker" && row[0] != "queue" && row.len() == 3);
    rows.map(|row| (row[0].clone(), row[1].clone())).collect()
}

/// The settings there are, as the error for one that is none lists them.
fn fields(unknown: Value) -> Vec<String> {
    let error = WorkerConfig::read(unknown).expect_err("no such field").to_string();
    let list = error.split_once("expected one of ").expect(&error).1;
    let mut fields: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    fields.sort();
    fields
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
