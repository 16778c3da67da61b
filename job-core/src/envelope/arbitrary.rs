//! Random envelopes for property tests: everything that can be written, extremes included.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    AttemptError, Envelope, History, Mark, Original, Overrides, Poison, PoisonState, Trace,
};
use super::{MAX_ERROR, MAX_ERRORS, cut, millis};
use crate::PoisonReason;
use crate::backend::MessageId;

pub(crate) const REASONS: [PoisonReason; 9] = [
    PoisonReason::AttemptsExhausted,
    PoisonReason::Crashed,
    PoisonReason::Permanent,
    PoisonReason::Undecodable,
    PoisonReason::UnknownJob,
    PoisonReason::NewerFormat,
    PoisonReason::NewerArgs,
    PoisonReason::BadArgs,
    PoisonReason::Other,
];

/// Any text, control characters included: they are the longest when escaped.
pub(crate) fn text(most: usize) -> impl Strategy<Value = String> {
    let char = prop_oneof![4 => any::<char>(), 1 => prop::char::range('\0', '\x1f')];
    vec(char, 0..=most).prop_map(|chars| chars.into_iter().collect())
}

fn raw(json: String) -> Cow<'static, RawValue> {
    Cow::Owned(RawValue::from_string(json).expect("the generator writes JSON"))
}

/// JSON as people write it, which no reader may tidy up.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-0".to_owned()),
        Just("1e999".to_owned()),
        Just("0.1000000000000000000000001".to_owned()),
        Just(r#""\u00e9\/ \ud83d\ude00""#.to_owned()),
        any::<f64>().prop_map(|n| serde_json::to_string(&n).unwrap()),
        any::<u64>().prop_map(|n| n.to_string()),
        text(20).prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", \n"))),
            vec((text(5), inner), 0..4).prop_map(|fields| {
                let field = |(key, value): &(String, String)| {
                    format!("{}\t:{value}", serde_json::to_string(key).unwrap())
                };
                format!("{{{} }}", fields.iter().map(field).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

fn time() -> impl Strategy<Value = SystemTime> {
    let near = 1_700_000_000_000_u64..1_800_000_000_000;
    prop_oneof![4 => near, 1 => 0_u64..253_402_300_799_001].prop_map(millis::to_time)
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![3 => 0_u64..100_000, 1 => any::<u64>()].prop_map(Duration::from_millis)
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 6 => 0_u32..20, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn mark() -> impl Strategy<Value = Mark> {
    (text(MessageId::MAX_LEN / 4), count())
        .prop_map(|(message_id, count)| Mark { message_id, count })
}

pub(crate) fn history() -> impl Strategy<Value = History> {
    let counts = (count(), count(), count(), count(), count(), any::<u64>());
    (counts, option::of(time()), option::of(mark()), option::of(mark())).prop_map(
        |(counts, expires_at, started, settled)| {
            let (failed, crashed, snoozed, given_back, put_back, put_back_millis) = counts;
            History {
                failed,
                crashed,
                snoozed,
                given_back,
                put_back,
                put_back_millis,
                expires_at,
                started,
                settled,
            }
        },
    )
}

fn errors() -> impl Strategy<Value = Vec<AttemptError>> {
    let error = (count(), time(), text(300)).prop_map(|(attempt, at, error)| AttemptError {
        attempt,
        at,
        error: cut(&error, MAX_ERROR),
    });
    vec(error, 0..=MAX_ERRORS)
}

fn poison() -> impl Strategy<Value = Poison> {
    let state = prop_oneof![Just(PoisonState::Pending), Just(PoisonState::Final)];
    let reason = prop::sample::select(&REASONS[..]);
    (state, reason, time(), "[a-z0-9]{3,63}", option::of(text(50)))
        .prop_map(|(state, reason, at, queue, error)| Poison { state, reason, at, queue, error })
}

fn extra() -> impl Strategy<Value = Vec<(Cow<'static, str>, Cow<'static, RawValue>)>> {
    // No field of ours begins like this.
    vec((text(8), json()), 0..3).prop_map(|fields| {
        fields.into_iter().map(|(key, json)| (format!("x-{key}").into(), raw(json))).collect()
    })
}

/// A job as its producer writes it.
pub(crate) fn fresh() -> impl Strategy<Value = Envelope<'static>> {
    let ids = (any::<u128>(), text(20), json(), 1..=u32::MAX, time());
    let options = (option::of(1..=u32::MAX), option::of(duration()))
        .prop_map(|(max_attempts, expires_in)| Overrides { max_attempts, expires_in });
    let trace = (text(60), option::of(text(20)))
        .prop_map(|(traceparent, tracestate)| Trace { traceparent, tracestate });
    let meta = btree_map(text(10), text(20), 0..4);
    let times = (option::of(time()), duration());
    (ids, options, times, option::of(trace), meta, extra()).prop_map(
        |((id, name, args, args_version, enqueued_at), options, times, trace, meta, extra)| {
            let (due_at, delay_left) = times;
            Envelope {
                id: Uuid::from_u128(id).into(),
                name: name.into(),
                args: raw(args),
                args_version,
                enqueued_at,
                options,
                due_at,
                delay_left,
                trace,
                meta,
                history: History::default(),
                errors: Vec::new(),
                poison: None,
                original: None,
                extra,
                foreign: false,
            }
        },
    )
}

/// Anything that can be an envelope.
pub(crate) fn envelope() -> impl Strategy<Value = Envelope<'static>> {
    let original = vec(any::<u8>(), 0..40);
    (fresh(), history(), errors(), option::of(poison()), option::of(original)).prop_map(
        |(fresh, history, errors, poison, original)| Envelope {
            history,
            errors,
            poison,
            original: original.map(|bytes| Original::of(&bytes)),
            ..fresh
        },
    )
}

/// All that an envelope says, comparable.
pub(crate) fn facts(e: &Envelope<'_>) -> impl PartialEq + fmt::Debug + use<> {
    let poison = e
        .poison
        .as_ref()
        .map(|p| (p.state == PoisonState::Final, p.reason, p.at, p.queue.clone(), p.error.clone()));
    let errors: Vec<_> = e.errors.iter().map(|x| (x.attempt, x.at, x.error.clone())).collect();
    let extra: Vec<_> = e.extra.iter().map(|(k, v)| (k.to_string(), v.get().to_owned())).collect();
    (
        (e.id, e.name.to_string(), e.args.get().to_owned(), e.args_version, e.enqueued_at),
        (e.options, e.due_at, e.delay_left, e.trace.clone(), e.meta.clone()),
        (e.history.clone(), errors, poison, e.original.as_ref().map(Original::bytes), extra),
    )
}

/// An event by its attributes, with what must come of it: source, id, type, and data if it has any.
#[derive(Clone, Debug)]
pub(crate) struct SomeEvent {
    pub(crate) body: String,
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Option<String>,
}

/// A valid event of either kind, alone or in an array.
pub(crate) fn event() -> impl Strategy<Value = SomeEvent> {
    let word = || text(12).prop_map(|text| format!("{text}."));
    let more = vec((text(6), json()), 0..4);
    let names = (word(), word(), word(), any::<bool>());
    let shape = (any::<bool>(), any::<bool>(), any::<prop::sample::Index>());
    (names, option::of(json()), more, shape).prop_map(
        |((source, id, name, topic), data, more, (cloud, array, at))| {
            let quoted = |text: &String| serde_json::to_string(text).unwrap();
            // No attribute begins like this.
            let mut fields: Vec<_> = more
                .into_iter()
                .enumerate()
                .map(|(index, (key, json))| (format!("x{index}{key}"), json))
                .collect();
            let mut push = |key: &str, json: String| {
                fields.insert(at.index(fields.len() + 1), (key.to_owned(), json));
            };
            push("id", quoted(&id));
            let mut from = source;
            if cloud {
                push("specversion", "\"1.0\"".into());
                push("source", quoted(&from));
                push("type", quoted(&name));
            } else {
                push("eventType", quoted(&name));
                push("eventTime", "\"2025-10-09T08:53:20Z\"".into());
                push("subject", "\"\"".into());
                if topic {
                    push("topic", quoted(&from));
                } else {
                    from.clear();
                }
            }
            if let Some(data) = &data {
                push("data", data.clone());
            }
            let field = |(key, json): &(String, String)| format!("{}: {json}", quoted(key));
            let body = format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(" ,"));
            let body = if array { format!(" [ {body}\n]") } else { body };
            SomeEvent { body, source: from, id, name, data }
        },
    )
}
