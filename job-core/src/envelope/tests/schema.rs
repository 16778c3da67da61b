//! `schema/envelope-1.json` describes what is written, and nothing else.

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{arbitrary, golden, golden_file, minimal};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value =
        serde_json::from_str(include_str!("../../../schema/envelope-1.json")).unwrap();
    jsonschema::meta::validate(&schema).expect("the schema is a schema");
    jsonschema::validator_for(&schema).unwrap()
});

fn complaints(value: &Value) -> Vec<String> {
    SCHEMA.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

#[test]
fn golden_files_are_valid() {
    for (name, _) in golden() {
        let value = serde_json::from_str(&golden_file(name)).unwrap();
        assert_eq!(complaints(&value), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn wrong_envelopes_are_not_valid() {
    let good: Value = serde_json::from_slice(&minimal().encode().unwrap()).unwrap();
    for field in ["format", "id", "name", "args"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(field).unwrap();
        assert!(!SCHEMA.is_valid(&bad), "without {field}");
    }
    let poison = json!({ "state": "final", "reason": "x", "at": 0, "queue": "mail" });
    let mut bad_state = poison.clone();
    bad_state["state"] = json!("maybe");
    let mut no_queue = poison.clone();
    no_queue.as_object_mut().unwrap().remove("queue");
    let wrong = [
        ("format", json!(0)),
        ("format", json!(2)),
        ("format", json!("1")),
        ("id", json!("0199C2A4-7B1E-7C3A-9D2B-5E6F7A8B9C0D")),
        ("id", json!("not a uuid")),
        ("name", json!(7)),
        ("args_version", json!(0)),
        ("args_version", json!(4_294_967_296_u64)),
        ("enqueued_at", json!("2025-10-09")),
        ("enqueued_at", json!(-1)),
        ("options", json!({ "max_attempts": 0 })),
        ("due_at", json!("2025-10-09")),
        ("delay_left_ms", json!(1.5)),
        ("trace", json!({ "tracestate": "a=1" })),
        ("meta", json!({ "tenant": 1 })),
        ("history", json!({ "failed": -1 })),
        ("history", json!({ "started": { "message_id": "1" } })),
        ("errors", json!(vec![json!({ "attempt": 1, "at": 0, "error": "" }); 6])),
        ("errors", json!([{ "attempt": 1, "at": 0 }])),
        ("poison", bad_state),
        ("poison", no_queue),
        ("original", json!({})),
        ("original", json!({ "text": "", "base64": "" })),
        ("original", json!({ "hex": "00" })),
    ];
    for (field, value) in wrong {
        let mut bad = good.clone();
        bad[field] = value.clone();
        assert!(!SCHEMA.is_valid(&bad), "{field}: {value}");
    }
    let mut good_after_all = good;
    good_after_all["poison"] = poison;
    assert_eq!(complaints(&good_after_all), Vec::<String>::new());
}

proptest! {
    #[test]
    fn whatever_is_written_is_valid(mut envelope in arbitrary::envelope()) {
        // 1e999 is JSON, but not for the validator's parser.
        let value: Result<Value, _> = serde_json::from_slice(&envelope.encode().unwrap());
        let value = match value {
            Ok(value) => value,
            Err(_) => {
                envelope.args = minimal().args;
                envelope.extra.clear();
                serde_json::from_slice(&envelope.encode().unwrap()).unwrap()
            }
        };
        prop_assert_eq!(complaints(&value), Vec::<String>::new());
    }
}
