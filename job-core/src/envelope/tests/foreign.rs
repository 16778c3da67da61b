//! Events: taken for jobs, and never for envelopes.

use serde_json::{Value, json};

use super::super::decode::DecodeError;
use super::super::foreign::{EventError, Kind};
use super::*;
use crate::JobId;
use crate::decide::Message;

const HOST_KEY: &str = "$AzureWebJobsParentId";

fn message(body: impl AsRef<[u8]>) -> Message {
    Message {
        message_id: MessageId::from("m-1"),
        count: Some(1),
        inserted_at: at(60),
        body: Bytes::copy_from_slice(body.as_ref()),
    }
}

fn cloud() -> Value {
    json!({
        "specversion": "1.0",
        "type": "com.example.order.placed",
        "source": "/orders",
        "id": "A234-1234-1234",
        "time": "2025-10-09T08:53:20Z",
        "subject": "order 7",
        "datacontenttype": "application/json",
        "data": { "order": 7 },
    })
}

fn grid() -> Value {
    json!({
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "topic": "/subscriptions/x/storageAccounts/y",
        "subject": "/blobServices/default/containers/c/blobs/b.png",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2025-10-09T08:53:20.1234567Z",
        "data": { "url": "https://y.example/c/b.png" },
        "dataVersion": "",
        "metadataVersion": "1",
    })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

fn without(mut event: Value, field: &str) -> Value {
    event.as_object_mut().unwrap().remove(field).unwrap();
    event
}

fn meta(envelope: &Envelope<'_>) -> Value {
    serde_json::to_value(&envelope.meta).unwrap()
}

/// Why it is no job.
#[track_caller]
fn refused(event: &Value) -> EventError {
    match Envelope::of(&message(event.to_string())).unwrap_err() {
        DecodeError::Event(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_cloud_event_is_a_job() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/orders","type":"placed",
        "subject":"order \"7\"","time":"2025-10-09T08:53:20Z","sequence":7,"sampled":true,
        "nothing":null,"data":{"order" : 7.0},
        "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"a=1"}"#;
    let message = message(body);
    let envelope = Envelope::of(&message).unwrap();
    assert!(envelope.foreign);
    assert_eq!(envelope.id, JobId::for_event("/orders", "1"));
    assert_eq!((&*envelope.name, envelope.args.get()), ("placed", r#"{"order" : 7.0}"#));
    assert_eq!(envelope.enqueued_at, at(60));
    assert_eq!(
        meta(&envelope),
        json!({
            "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/orders", "ce-type": "placed",
            "ce-subject": "order \"7\"", "ce-time": "2025-10-09T08:53:20Z",
            "ce-sequence": "7", "ce-sampled": "true", "ce-tracestate": "a=1",
            "ce-traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        })
    );
    assert_eq!(envelope.trace.as_ref().unwrap().tracestate.as_deref(), Some("a=1"));

    let written = envelope.encode().unwrap();
    let again = Envelope::decode(&written).unwrap();
    assert_eq!(facts(&again), facts(&envelope));
    assert!(!again.foreign);
}

#[test]
fn an_event_grid_event_is_a_job_with_the_same_meta() {
    for body in [grid().to_string(), json!([grid()]).to_string(), format!(" \n[{}]", grid())] {
        let message = message(&body);
        let envelope = Envelope::of(&message).unwrap();
        assert_eq!(&*envelope.name, "Microsoft.Storage.BlobCreated");
        assert_eq!(envelope.args.get(), r#"{"url":"https://y.example/c/b.png"}"#);
        let source = "/subscriptions/x/storageAccounts/y";
        assert_eq!(envelope.id, JobId::for_event(source, "831e1650-001e-001b-66ab-eeb76e069631"));
        assert_eq!(
            meta(&envelope),
            json!({
                "ce-id": "831e1650-001e-001b-66ab-eeb76e069631",
                "ce-source": source,
                "ce-subject": "/blobServices/default/containers/c/blobs/b.png",
                "ce-type": "Microsoft.Storage.BlobCreated",
                "ce-time": "2025-10-09T08:53:20.1234567Z",
                "ce-dataversion": "",
                "ce-metadataversion": "1",
            })
        );
    }
    // What an attribute is called, nothing else may take.
    let odd = message(with(with(grid(), "source", json!("mine")), "a", json!([1])).to_string());
    let odd = Envelope::of(&odd).unwrap();
    assert_eq!(odd.meta["ce-source"], "/subscriptions/x/storageAccounts/y");
    assert_eq!(odd.meta["ce-a"], "[1]");
    let bare = message(without(without(grid(), "topic"), "dataVersion").to_string());
    let bare = Envelope::of(&bare).unwrap();
    assert_eq!(bare.id, JobId::for_event("", "831e1650-001e-001b-66ab-eeb76e069631"));
}

#[test]
fn data_may_be_base64_or_missing() {
    let args = |event: Value| {
        let message = message(event.to_string());
        Envelope::of(&message).unwrap().args.get().to_owned()
    };
    assert_eq!(args(without(cloud(), "data")), "{}");
    assert_eq!(args(with(cloud(), "data", Value::Null)), "null");
    assert_eq!(args(with(cloud(), "data", json!("<order/>"))), r#""<order/>""#);
    let base64 = with(without(cloud(), "data"), "data_base64", json!("eyJvcmRlciI6IDd9"));
    assert_eq!(args(base64), r#"{"order": 7}"#);
    for wrong in [json!("eyJvcmRlciI6"), json!("%"), json!("/w=="), json!("AAAA"), json!(7)] {
        let event = with(without(cloud(), "data"), "data_base64", wrong);
        assert_eq!(refused(&event), EventError::DataBase64);
    }
    let both = with(cloud(), "data_base64", json!("e30="));
    assert_eq!(refused(&both), EventError::DataTwice);
    // In the other schema it is a field like any other.
    let other = message(with(grid(), "data_base64", json!("e30=")).to_string());
    assert_eq!(Envelope::of(&other).unwrap().meta["ce-data_base64"], "e30=");
}

#[test]
fn what_the_host_adds_is_no_attribute() {
    for event in [cloud(), grid()] {
        let message = message(with(event, HOST_KEY, json!("p-1")).to_string());
        assert_eq!(Envelope::of(&message).unwrap().meta[HOST_KEY], "p-1");
    }
}

#[test]
fn an_event_that_is_none_says_why() {
    for version in [json!("0.3"), json!("1.1"), json!(1.0), Value::Null] {
        assert_eq!(refused(&with(cloud(), "specversion", version)), EventError::Version);
    }
    for (event, kind, attributes) in [
        (cloud(), Kind::CloudEvent, &["id", "source", "type"][..]),
        (grid(), Kind::EventGrid, &["id", "eventType"]),
    ] {
        for attribute in attributes {
            for wrong in [json!(""), json!(7), Value::Null, json!(["x"])] {
                let error = refused(&with(event.clone(), attribute, wrong));
                assert_eq!(error, EventError::Attribute(kind, attribute));
            }
        }
    }
    assert_eq!(
        refused(&without(cloud(), "id")).to_string(),
        "the message is a CloudEvent whose `id` is missing, empty or no text"
    );
    for attribute in ["id", "subject", "eventTime"] {
        assert_eq!(
            refused(&without(grid(), attribute)),
            EventError::Attribute(Kind::EventGrid, attribute)
        );
    }
    assert_eq!(
        refused(&json!([grid(), grid()])).to_string(),
        "the message holds 2 events, and a message is one job: post them one by one"
    );
    assert_eq!(refused(&json!([cloud(), 7, {}])), EventError::Several(3));
    let twice = cloud().to_string().replacen('{', r#"{"subject":"other","#, 1);
    let twice = Envelope::of(&message(twice)).unwrap_err();
    assert_eq!(twice, DecodeError::Event(EventError::Twice(Kind::CloudEvent)));
}

#[test]
fn other_json_is_no_event() {
    for body in [
        "null",
        "7",
        "\"specversion\"",
        "[]",
        "[[]]",
        "[null]",
        "[\"specversion\"]",
        "{}",
        r#"{"eventType":"x","id":"1"}"#,
        r#"{"type":"x","source":"y","id":"1","data":{}}"#,
        r#"{"data":{"specversion":"1.0"}}"#,
        r#"[7,{"specversion":"1.0"}]"#,
    ] {
        let error = Envelope::of(&message(body)).unwrap_err();
        assert!(matches!(error, DecodeError::NotAnEnvelope { .. }), "{body}: {error}");
    }
    for body in ["", "{", "specversion", "{\"specversion\":\"1.0\"} x", "\u{feff}{}"] {
        let error = Envelope::of(&message(body)).unwrap_err();
        assert!(matches!(error, DecodeError::NotJson { .. }), "{body}: {error}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Envelope::of(&message(&deep)).is_err());
}

#[test]
fn what_has_a_numeric_format_is_an_envelope_whatever_else_it_has() {
    let newer = with(cloud(), "format", json!(2));
    assert_eq!(Envelope::of(&message(newer.to_string())).unwrap_err(), DecodeError::NewerFormat(2));
    for format in [json!(1), json!(0), json!(-1), json!(1.5)] {
        let broken = with(cloud(), "format", format);
        let error = Envelope::of(&message(broken.to_string())).unwrap_err();
        assert!(matches!(error, DecodeError::NotAnEnvelope { .. }), "{error}");
    }
    // An extension attribute of that name is text.
    let event = message(with(cloud(), "format", json!("pdf")).to_string());
    assert_eq!(Envelope::of(&event).unwrap().meta["ce-format"], "pdf");

    let mut both = serde_json::from_slice::<Value>(&minimal().encode().unwrap()).unwrap();
    for (key, value) in cloud().as_object().unwrap() {
        if key != "id" {
            both[key] = value.clone();
        }
    }
    let both = message(both.to_string());
    let envelope = Envelope::of(&both).unwrap();
    assert_eq!((&*envelope.name, envelope.foreign), ("send_welcome", false));
}

#[test]
fn nothing_of_an_event_is_shown_but_id_and_name() {
    let canary = || json!("c4n4ry");
    let mut event = cloud();
    for field in ["subject", "source", "data", "x"] {
        event[field] = canary();
    }
    let good = message(event.to_string());
    let envelope = Envelope::of(&good).unwrap();
    let event_itself = Event::read(&good.body).unwrap().unwrap();
    let plain = Plain::read(std::str::from_utf8(&good.body).unwrap(), |_| true);
    let shown = format!("{envelope:?} {event_itself:?} {plain:?}");
    assert!(!shown.contains("c4n4ry"), "{shown}");

    event["data_base64"] = canary();
    for event in [event.clone(), with(event, "id", json!({ "c4n4ry": 1 })), json!([canary()])] {
        let error = Envelope::of(&message(event.to_string())).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("c4n4ry"), "{shown}");
    }
}

fn plain<'a>(body: &'a str, name: &str) -> Plain<'a> {
    Plain::read(body, |of_event| of_event == name)
}

#[test]
fn plain_json_is_the_args_as_it_stands() {
    for body in [
        r#"{ "order" : 7 }"#,
        "",
        "rubbish",
        "[1,2]",
        r#""$AzureWebJobsParentId""#,
        r#"{"deep":{"$AzureWebJobsParentId":"p"}}"#,
        r#"{"eventType":"placed","order":7}"#,
        r#"{"$AzureWebJobsParentId":"p""#,
    ] {
        let plain = plain(body, "placed");
        assert_eq!((&*plain.args, plain.id, plain.meta.len()), (body, None, 0));
    }
}

#[test]
fn an_event_on_a_raw_queue_is_unwrapped_if_it_names_the_job() {
    let body = cloud().to_string();
    let named = plain(&body, "com.example.order.placed");
    assert_eq!(named.args, r#"{"order":7}"#);
    assert_eq!(named.id, Some(JobId::for_event("/orders", "A234-1234-1234")));
    assert_eq!(named.meta["ce-subject"], "order 7");

    let other = plain(&body, "act");
    assert_eq!((&*other.args, other.id, other.meta.len()), (&*body, None, 0));

    let grid = json!([grid()]).to_string();
    let named = plain(&grid, "Microsoft.Storage.BlobCreated");
    assert_eq!(named.args, r#"{"url":"https://y.example/c/b.png"}"#);
    let base64 = with(without(cloud(), "data"), "data_base64", json!("WzFd")).to_string();
    assert_eq!(plain(&base64, "com.example.order.placed").args, "[1]");
}

#[test]
fn what_the_host_adds_is_taken_out_and_nothing_else_is_touched() {
    for (body, rest) in [
        (
            r#"{"$AzureWebJobsParentId":"p-1","a" : 1.50,"b":{"$AzureWebJobsParentId":0},"a":2}"#,
            r#"{"a":1.50,"b":{"$AzureWebJobsParentId":0},"a":2}"#,
        ),
        ("{\"é\\\"\":[1, 2],\n\"$AzureWebJobsParentId\":\"p-1\"}", r#"{"é\"":[1, 2]}"#),
        (r#"{"$AzureWebJobsParentId":"p-1"}"#, "{}"),
        (
            r#"{"$AzureWebJobsParentId":1,"$AzureWebJobsParentId":"p-1","$other":1}"#,
            r#"{"$other":1}"#,
        ),
    ] {
        let plain = plain(body, "act");
        assert_eq!(plain.args, rest);
        assert_eq!(plain.meta[HOST_KEY], "p-1");
    }
}

/// Objects that are nearly envelopes or events, or both.
fn nearly() -> impl Strategy<Value = String> {
    const KEYS: [&str; 19] = [
        "specversion",
        "type",
        "source",
        "id",
        "data",
        "data_base64",
        "time",
        "subject",
        "topic",
        "eventType",
        "eventTime",
        "dataVersion",
        "format",
        "name",
        "args",
        "meta",
        "history",
        HOST_KEY,
        "x",
    ];
    let value = prop_oneof![
        arbitrary::json(),
        Just("\"1.0\"".to_owned()),
        Just("\"e30=\"".to_owned()),
        Just("\"x\"".to_owned()),
        Just("1".to_owned()),
        Just("{}".to_owned()),
        Just(format!("\"{ID}\"")),
    ];
    let field = (prop::sample::select(&KEYS[..]), value)
        .prop_map(|(key, json)| format!("\"{key}\":{json}"));
    let object = prop::collection::vec(field, 0..19).prop_map(|f| format!("{{{}}}", f.join(",")));
    prop_oneof![
        3 => object.clone(),
        1 => prop::collection::vec(object, 0..3).prop_map(|all| format!("[{}]", all.join(","))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_event_is_read_to_the_byte_and_written_as_the_same_job(event in arbitrary::event()) {
        prop_assert!(Envelope::decode(event.body.as_bytes()).is_err());
        let message = message(&event.body);
        let envelope = Envelope::of(&message).unwrap();
        prop_assert!(envelope.foreign);
        prop_assert_eq!(envelope.id, JobId::for_event(&event.source, &event.id));
        prop_assert_eq!(&*envelope.name, &*event.name);
        prop_assert_eq!(envelope.args.get(), event.data.as_deref().unwrap_or("{}"));
        prop_assert_eq!(&envelope.meta["ce-id"], &event.id);
        prop_assert_eq!(&envelope.meta["ce-type"], &event.name);
        let written = envelope.encode().unwrap();
        prop_assert_eq!(facts(&Envelope::decode(&written).unwrap()), facts(&envelope));
        prop_assert!(Event::read(&written).unwrap().is_none());

        let plain = plain(&event.body, &event.name);
        prop_assert_eq!(&*plain.args, envelope.args.get());
        prop_assert_eq!(plain.id, Some(envelope.id));
    }

    #[test]
    fn an_envelope_is_never_taken_for_an_event(envelope in arbitrary::envelope()) {
        let body = envelope.encode().unwrap();
        prop_assert!(Event::read(&body).unwrap().is_none());
        let message = message(&body);
        let read = Envelope::of(&message).unwrap();
        prop_assert!(!read.foreign);
        prop_assert_eq!(facts(&read), facts(&envelope));
    }

    #[test]
    fn whatever_looks_like_it_is_one_or_the_other(body in nearly()) {
        let message = message(&body);
        let decoded = Envelope::decode(&message.body);
        match Envelope::of(&message) {
            Ok(envelope) => {
                prop_assert_eq!(envelope.foreign, decoded.is_err());
                let written = envelope.encode().unwrap();
                prop_assert_eq!(facts(&Envelope::decode(&written).unwrap()), facts(&envelope));
            }
            Err(_) => prop_assert!(decoded.is_err()),
        }
        let plain = plain(&body, "x");
        prop_assert!(!plain.meta.is_empty() || plain.args == body);
    }

    #[test]
    fn whatever_json_comes_is_no_surprise(body in arbitrary::json()) {
        let _ = Envelope::of(&message(&body));
        prop_assert_eq!(&*plain(&body, "x").args, &*body);
    }

    #[test]
    fn whatever_bytes_come_are_no_surprise(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Envelope::of(&message(&body)).is_err());
    }
}
