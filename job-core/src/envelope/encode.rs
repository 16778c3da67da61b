//! Writing an envelope.
//!
//! By hand up to the end of what every envelope has, since every enqueue pays for it; what is
//! there only sometimes is left to serde.

use bytes::Bytes;
use serde::Serialize;

use super::{Envelope, FORMAT, History, Overrides, millis};

/// The longest number of milliseconds, and what an envelope has besides values.
const FRAME: usize =
    "{\"format\":1,\"id\":\"\",\"name\":\"\",\"args\":,\"enqueued_at\":}".len() + 36 + 13;

pub(super) fn encode(envelope: &Envelope<'_>) -> Result<Bytes, serde_json::Error> {
    let (name, args) = (&envelope.name, envelope.args.get());
    let mut body = Vec::with_capacity(FRAME + name.len() + args.len());
    body.push(b'{');
    first(&mut body, "format", &FORMAT)?;
    body.extend_from_slice(b",\"id\":\"");
    body.extend_from_slice(
        envelope.id.as_uuid().hyphenated().encode_lower(&mut [0; 36]).as_bytes(),
    );
    body.extend_from_slice(b"\"");
    field(&mut body, "name", name)?;
    body.extend_from_slice(b",\"args\":");
    body.extend_from_slice(args.as_bytes());
    if envelope.args_version != 1 {
        field(&mut body, "args_version", &envelope.args_version)?;
    }
    field(&mut body, "enqueued_at", &millis::since_epoch(envelope.enqueued_at))?;
    if envelope.options != Overrides::default() {
        field(&mut body, "options", &envelope.options)?;
    }
    if let Some(due_at) = envelope.due_at {
        field(&mut body, "due_at", &millis::since_epoch(due_at))?;
    }
    if !envelope.delay_left.is_zero() {
        field(&mut body, "delay_left_ms", &millis::of(envelope.delay_left))?;
    }
    if let Some(trace) = &envelope.trace {
        field(&mut body, "trace", trace)?;
    }
    if !envelope.meta.is_empty() {
        field(&mut body, "meta", &envelope.meta)?;
    }
    if envelope.history != History::default() {
        field(&mut body, "history", &envelope.history)?;
    }
    if !envelope.errors.is_empty() {
        field(&mut body, "errors", &envelope.errors)?;
    }
    if let Some(poison) = &envelope.poison {
        field(&mut body, "poison", poison)?;
    }
    if let Some(original) = &envelope.original {
        field(&mut body, "original", original)?;
    }
    for (key, value) in &envelope.extra {
        field(&mut body, key, value)?;
    }
    body.push(b'}');
    Ok(body.into())
}

/// One more field of the object.
fn field<T: Serialize + ?Sized>(
    body: &mut Vec<u8>,
    key: &str,
    value: &T,
) -> Result<(), serde_json::Error> {
    body.push(b',');
    first(body, key, value)
}

fn first<T: Serialize + ?Sized>(
    body: &mut Vec<u8>,
    key: &str,
    value: &T,
) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *body, key)?;
    body.push(b':');
    serde_json::to_writer(body, value)
}
