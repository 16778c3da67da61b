//! W3C trace context over queues: written by the client, taken up by the run.
//!
//! What comes off the wire is anybody's: whatever is no trace context is ignored.

use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::TraceRelation;
use crate::JobContext;
use crate::envelope::Trace;

/// The longest `tracestate` that travels: what the specification asks of everybody at least.
const LONGEST_STATE: usize = 512;

/// The context of whoever is enqueueing, if a tracer has one: that of the current span, else the
/// one that was set by the API of OpenTelemetry itself.
pub(crate) fn current() -> Option<Trace> {
    of(&Span::current().context()).or_else(|| of(&opentelemetry::Context::current()))
}

fn of(context: &opentelemetry::Context) -> Option<Trace> {
    let span = context.span();
    let context = span.span_context();
    if !context.is_valid() {
        return None;
    }
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    let state = context.trace_state().header();
    Some(Trace {
        traceparent: format!("00-{trace}-{span}-{:02x}", flags & TraceFlags::SAMPLED),
        tracestate: Some(state).filter(|state| !state.is_empty() && state.len() <= LONGEST_STATE),
    })
}

/// Makes a span the first of a trace, whatever it is in.
pub(super) fn begin(span: &Span) {
    // In vain only where there is no tracer, and nobody to tell.
    let _ = span.set_parent(opentelemetry::Context::new());
}

/// Connects the span of a run with whoever enqueued its job.
pub(super) fn continue_in(span: &Span, cx: &JobContext) {
    let Some(producer) = cx.trace().and_then(read) else { return begin(span) };
    // The conventions want the link in any case.
    span.add_link(producer.clone());
    match cx.trace_relation() {
        TraceRelation::Parent => {
            let parent = opentelemetry::Context::new().with_remote_span_context(producer);
            let _ = span.set_parent(parent);
        }
        TraceRelation::Link => begin(span),
    }
}

/// Reads what travelled; `None` if it is no valid context.
fn read(trace: &Trace) -> Option<SpanContext> {
    let (trace_id, span_id, flags) = parts(&trace.traceparent)?;
    let state = trace.tracestate.as_deref().and_then(|state| TraceState::from_str(state).ok());
    let context = SpanContext::new(trace_id, span_id, flags, true, state.unwrap_or_default());
    context.is_valid().then_some(context)
}

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`; later versions may say more.
fn parts(parent: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = parent.split('-');
    let version = hex(parts.next()?, 2)?;
    let (trace, span) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
    let flags = hex(parts.next()?, 2)?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags))
}

/// So many digits, none of them upper case.
fn hex(part: &str, digits: usize) -> Option<&str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (part.len() == digits && part.bytes().all(is_digit)).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(parent: &str, state: Option<&str>) -> Trace {
        Trace { traceparent: parent.to_owned(), tracestate: state.map(str::to_owned) }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let read = read(&trace(PARENT, Some("a=1,b=2"))).unwrap();
        assert!(read.is_remote() && read.is_sampled());
        let written = of(&opentelemetry::Context::new().with_remote_span_context(read)).unwrap();
        assert_eq!(written, trace(PARENT, Some("a=1,b=2")));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = PARENT.replacen("00", "01", 1);
        assert!(read(&trace(&format!("{later}-what-ever"), None)).is_some());
        assert!(read(&trace(&later, None)).is_some());
    }

    #[test]
    fn what_is_no_context_is_ignored() {
        for parent in [
            "",
            "-",
            "nonsense",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(&trace(parent, None)), None, "{parent}");
        }
        let read = read(&trace(PARENT, Some("no state \u{0}"))).unwrap();
        assert_eq!(read.trace_state().header(), "");
    }

    #[test]
    fn nobody_who_traces_is_no_context() {
        assert_eq!(current(), None);
    }
}
