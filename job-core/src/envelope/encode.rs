//! Writing an envelope.
//!
//! What every envelope has is written without serde's maps, since every enqueue pays for it; what
//! is there only sometimes is left to serde.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::{Envelope, FORMAT, History, Overrides, Trace, millis};
use crate::JobId;

/// The longest number of milliseconds, and what an envelope has besides values.
const FRAME: usize =
    "{\"format\":1,\"id\":\"\",\"name\":\"\",\"args\":,\"enqueued_at\":}".len() + 36 + 13;

/// How large the buffers are that the bodies of one call share. It is what one body that stays on a
/// queue in memory can keep there of those that went.
const PAGE: usize = 4096;

/// Where the bodies of one call are written: short ones share a buffer, which saves each of them
/// two allocations.
pub(crate) struct Pages {
    page: BytesMut,
    /// How many bodies are still to come.
    left: usize,
}

impl Pages {
    pub(crate) fn new(bodies: usize) -> Self {
        Self { page: BytesMut::new(), left: bodies }
    }

    /// Room for one more body.
    fn room(&mut self, expected: usize) -> &mut BytesMut {
        if self.page.capacity() < expected {
            let all = expected.saturating_mul(self.left);
            let page = if expected < PAGE / 4 { all.min(PAGE) } else { expected };
            self.page = BytesMut::with_capacity(page.max(expected));
        }
        self.left = self.left.saturating_sub(1);
        &mut self.page
    }
}

/// What a job begins with: all that its caller says.
pub(crate) struct NewJob<'a> {
    pub(crate) id: JobId,
    pub(crate) name: &'a str,
    /// One JSON value.
    pub(crate) args: &'a [u8],
    pub(crate) args_version: u32,
    pub(crate) enqueued_at: SystemTime,
    pub(crate) options: Overrides,
    pub(crate) due_at: Option<SystemTime>,
    pub(crate) delay_left: Duration,
    pub(crate) trace: Option<&'a Trace>,
    pub(crate) meta: &'a BTreeMap<String, String>,
}

impl NewJob<'_> {
    /// The body to send.
    pub(crate) fn encode(&self, pages: &mut Pages) -> Result<Bytes, serde_json::Error> {
        let page = pages.room(FRAME + self.name.len() + self.args.len());
        if let Err(error) = self.write(page) {
            page.clear();
            return Err(error);
        }
        page.put_u8(b'}');
        Ok(page.split().freeze())
    }

    fn write(&self, body: &mut BytesMut) -> Result<(), serde_json::Error> {
        const { assert!(FORMAT == 1) };
        body.extend_from_slice(b"{\"format\":1,\"id\":\"");
        let id = self.id.as_uuid().hyphenated();
        body.extend_from_slice(id.encode_lower(&mut [0; 36]).as_bytes());
        body.extend_from_slice(b"\",\"name\":");
        value(body, self.name)?;
        body.extend_from_slice(b",\"args\":");
        body.extend_from_slice(self.args);
        if self.args_version != 1 {
            field(body, "args_version", &self.args_version)?;
        }
        body.extend_from_slice(b",\"enqueued_at\":");
        value(body, &millis::since_epoch(self.enqueued_at))?;
        if self.options != Overrides::default() {
            field(body, "options", &self.options)?;
        }
        if let Some(due_at) = self.due_at {
            field(body, "due_at", &millis::since_epoch(due_at))?;
        }
        if !self.delay_left.is_zero() {
            field(body, "delay_left_ms", &millis::of(self.delay_left))?;
        }
        if let Some(trace) = self.trace {
            field(body, "trace", trace)?;
        }
        if !self.meta.is_empty() {
            field(body, "meta", self.meta)?;
        }
        Ok(())
    }
}

pub(super) fn encode(envelope: &Envelope<'_>) -> Result<Bytes, serde_json::Error> {
    let new = NewJob {
        id: envelope.id,
        name: &envelope.name,
        args: envelope.args.get().as_bytes(),
        args_version: envelope.args_version,
        enqueued_at: envelope.enqueued_at,
        options: envelope.options,
        due_at: envelope.due_at,
        delay_left: envelope.delay_left,
        trace: envelope.trace.as_ref(),
        meta: &envelope.meta,
    };
    let mut body = BytesMut::with_capacity(FRAME + new.name.len() + new.args.len());
    new.write(&mut body)?;
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
    body.put_u8(b'}');
    Ok(body.freeze())
}

/// One more field of the object.
fn field<T: Serialize + ?Sized>(
    body: &mut BytesMut,
    key: &str,
    content: &T,
) -> Result<(), serde_json::Error> {
    body.put_u8(b',');
    value(body, key)?;
    body.put_u8(b':');
    value(body, content)
}

fn value<T: Serialize + ?Sized>(body: &mut BytesMut, value: &T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(body.writer(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(args: &str, many: usize) -> Vec<Bytes> {
        let mut pages = Pages::new(many);
        let body = |_| {
            let new = NewJob {
                id: JobId::new(),
                name: "job",
                args: args.as_bytes(),
                args_version: 1,
                enqueued_at: SystemTime::UNIX_EPOCH,
                options: Overrides::default(),
                due_at: None,
                delay_left: Duration::ZERO,
                trace: None,
                meta: &BTreeMap::new(),
            };
            new.encode(&mut pages).unwrap()
        };
        (0..many).map(body).collect()
    }

    /// How many bodies follow one another in memory from the first on.
    fn together(bodies: &[Bytes]) -> usize {
        let follows = |pair: &&[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        1 + bodies.windows(2).take_while(follows).count()
    }

    #[test]
    fn short_bodies_share_a_page_and_long_ones_have_their_own() {
        let short = bodies("{}", 100);
        assert!((20..50).contains(&together(&short)), "{}", together(&short));
        let long = bodies(&format!("\"{}\"", "x".repeat(PAGE)), 3);
        assert_eq!(together(&long), 1);
        for body in short.iter().chain(&long) {
            assert!(Envelope::decode(body).is_ok());
        }
    }
}
