//! What one call says about the jobs that it enqueues, and the message that comes of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Client;
use super::error::{Cause, Invalid};
use crate::backend::{Capabilities, Outgoing};
use crate::envelope::{NewJob, Overrides, Pages, ROOM, Trace};
use crate::{Job, JobId, JobOptions, QueueName};

/// How deep serde_json reads by default.
const DEEPEST: usize = 127;

/// How long the args of most jobs are at the most, in bytes.
const LIKELY: usize = 128;

/// The args of the jobs of one call as JSON, one after the other.
#[derive(Default)]
pub(super) struct ArgsText(Vec<u8>);

/// Where the args of one job are.
pub(super) type Args = Result<Range<usize>, Invalid>;

impl ArgsText {
    /// Writes those of one more job. What serde says about a failure is dropped: it may repeat
    /// values.
    pub(super) fn write<J: Job>(&mut self, job: &J) -> Args {
        let start = self.0.len();
        self.0.reserve(LIKELY);
        if serde_json::to_writer(&mut self.0, job).is_err() {
            self.0.truncate(start);
            return Err(Invalid::Args);
        }
        if is_deeper_than(DEEPEST, &self.0[start..]) {
            self.0.truncate(start);
            return Err(Invalid::TooDeep);
        }
        Ok(start..self.0.len())
    }

    pub(super) fn of(&self, args: Args) -> Result<&[u8], Invalid> {
        args.map(|place| &self.0[place])
    }
}

fn is_deeper_than(most: usize, json: &[u8]) -> bool {
    // Each level opens and closes, so nearly all args are done here.
    if json.len() <= 2 * most {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

/// What a call says, and what the job's type says where the call is silent.
pub(super) struct Call {
    pub(super) job: &'static str,
    version: u32,
    options: JobOptions,
    queue: Option<Result<QueueName, Invalid>>,
    due: Due,
    overrides: Overrides,
    meta: BTreeMap<String, String>,
    trace: Option<Trace>,
    raw: bool,
    invalid: Option<Invalid>,
}

#[derive(Clone, Copy)]
enum Due {
    In(Duration),
    At(SystemTime),
}

impl Call {
    pub(super) fn of<J: Job>() -> Self {
        Self {
            job: J::NAME,
            version: J::VERSION,
            options: J::OPTIONS,
            queue: None,
            due: Due::In(Duration::ZERO),
            overrides: Overrides::default(),
            meta: BTreeMap::new(),
            trace: None,
            raw: false,
            invalid: None,
        }
    }

    pub(super) fn delay(&mut self, delay: Duration) {
        self.due = Due::In(delay);
    }

    pub(super) fn at(&mut self, at: SystemTime) {
        self.due = Due::At(at);
    }

    pub(super) fn queue(&mut self, client: &Client, name: &str) {
        self.queue = Some(client.known().resolve(name));
    }

    pub(super) fn max_attempts(&mut self, max_attempts: u32) {
        if max_attempts == 0 {
            self.invalid.get_or_insert(Invalid::MaxAttempts);
        }
        self.overrides.max_attempts = Some(max_attempts);
    }

    pub(super) fn expires_in(&mut self, expires_in: Duration) {
        if expires_in.is_zero() {
            self.invalid.get_or_insert(Invalid::ExpiresIn);
        }
        self.overrides.expires_in = Some(up_to_millis(expires_in));
    }

    pub(super) fn meta(&mut self, key: String, value: String) {
        self.meta.insert(key, value);
    }

    pub(super) fn trace_context(&mut self, parent: String, state: Option<String>) {
        self.trace = Some(Trace { traceparent: parent, tracestate: state });
    }

    pub(super) fn raw(&mut self) {
        self.raw = true;
    }

    /// What of the call a message without an envelope has no place for.
    fn check_raw(&self, delay: Duration, longest: Duration) -> Result<(), Invalid> {
        if self.overrides.max_attempts.is_some() {
            Err(Invalid::Raw("max_attempts"))
        } else if self.overrides.expires_in.is_some() {
            Err(Invalid::Raw("expires_in"))
        } else if !self.meta.is_empty() {
            Err(Invalid::Raw("meta"))
        } else if delay > longest {
            Err(Invalid::RawDelay { longest })
        } else {
            Ok(())
        }
    }

    /// The queue by the order of precedence: call, job, client.
    pub(super) fn queue_of(&self, client: &Client) -> Result<QueueName, Invalid> {
        match (&self.queue, self.options.queue) {
            (Some(named), _) => named.clone(),
            (None, Some(name)) => client.known().resolve(name),
            (None, None) => Ok(client.default_queue().clone()),
        }
    }

    /// What is the same for all messages of the call. Everything relative to now is settled here.
    pub(super) fn plan(&self, client: &Client) -> Result<Plan, Invalid> {
        let queue = self.queue_of(client)?;
        if let Some(invalid) = &self.invalid {
            return Err(invalid.clone());
        }
        let backend = client.backend();
        let now = backend.now();
        let delay = match self.due {
            Due::In(delay) => delay,
            Due::At(at) => at.duration_since(now).unwrap_or_default(),
        };
        let expires_in = self.overrides.expires_in.or(self.options.expires_in);
        if expires_in.is_some_and(|expires_in| expires_in <= delay) {
            return Err(Invalid::ExpiresBeforeDue);
        }
        let capabilities = backend.capabilities();
        if self.raw {
            self.check_raw(delay, capabilities.max_delay)?;
        }
        let hop = delay.min(capabilities.max_delay);
        Ok(Plan {
            seen: client.known().contains(&queue),
            queue,
            trace: self.trace.clone().or_else(current_trace),
            now,
            hop,
            due_at: now.checked_add(delay).filter(|_| !delay.is_zero()),
            delay_left: up_to_millis(delay - hop),
            // What is never rewritten needs no room for it.
            limit: if self.raw { capabilities.max_body } else { longest_at_enqueue(capabilities) },
        })
    }

    /// The message of one job.
    pub(super) fn message(
        &self,
        plan: &Plan,
        id: JobId,
        args: &[u8],
        pages: &mut Pages,
    ) -> Result<Outgoing, Cause> {
        let body = if self.raw {
            Bytes::copy_from_slice(args)
        } else {
            let mut new = NewJob {
                id,
                name: self.job,
                args,
                args_version: self.version,
                enqueued_at: plan.now,
                options: self.overrides,
                due_at: plan.due_at,
                delay_left: plan.delay_left,
                trace: plan.trace.as_ref(),
                meta: &self.meta,
            };
            let body = new.encode(pages).map_err(|_| Invalid::Args)?;
            if body.len() > plan.limit && new.trace.take().is_some() {
                // What is only there to be looked at must not keep a job out.
                new.encode(pages).map_err(|_| Invalid::Args)?
            } else {
                body
            }
        };
        if body.len() > plan.limit {
            return Err(Cause::TooLarge { size: body.len(), limit: plan.limit });
        }
        Ok(Outgoing::new(body).delay(plan.hop).id(id))
    }
}

/// Where and when the messages of a call go.
pub(super) struct Plan {
    pub(super) queue: QueueName,
    /// Whether the queue was known to exist before the call.
    pub(super) seen: bool,
    /// The trace that the jobs belong to.
    trace: Option<Trace>,
    now: SystemTime,
    hop: Duration,
    due_at: Option<SystemTime>,
    delay_left: Duration,
    limit: usize,
}

/// The trace of whoever enqueues, if there is one and the feature `otel` looks for it.
fn current_trace() -> Option<Trace> {
    #[cfg(feature = "otel")]
    return crate::telemetry::trace_context::current();
    #[cfg(not(feature = "otel"))]
    None
}

/// Leaves room for what retries add. Where bodies are tiny, a quarter has to do.
fn longest_at_enqueue(capabilities: &Capabilities) -> usize {
    capabilities.max_body - ROOM.min(capabilities.max_body / 4)
}

/// Durations travel as whole milliseconds; none becomes shorter by it.
fn up_to_millis(duration: Duration) -> Duration {
    let rest = duration.subsec_nanos() % 1_000_000;
    if rest == 0 {
        return duration;
    }
    duration.saturating_add(Duration::from_nanos(u64::from(1_000_000 - rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_brackets_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!is_deeper_than(DEEPEST, nested(127).as_bytes()));
        assert!(is_deeper_than(DEEPEST, nested(128).as_bytes()));
        let text = serde_json::to_string(&format!("\\\"{}", "[{".repeat(500))).unwrap();
        assert!(!is_deeper_than(DEEPEST, text.as_bytes()));
        assert!(!is_deeper_than(DEEPEST, format!("[{}]", ["[]"; 500].join(",")).as_bytes()));
    }

    #[test]
    fn the_depth_limit_is_serdes() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEEPEST)).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEEPEST + 1)).is_err());
    }

    #[test]
    fn milliseconds_are_rounded_up() {
        assert_eq!(up_to_millis(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(up_to_millis(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(up_to_millis(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn tiny_bodies_leave_a_quarter() {
        let limit = |max_body| {
            let mut capabilities = Capabilities::minimal();
            capabilities.max_body = max_body;
            longest_at_enqueue(&capabilities)
        };
        assert_eq!(limit(48 * 1024), 44 * 1024);
        assert_eq!(limit(1024), 768);
        assert_eq!(limit(0), 0);
    }
}
