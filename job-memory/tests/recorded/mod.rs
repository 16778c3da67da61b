//! Keeps what is told by `tracing`, and holds it against the lists of `job_core::telemetry`.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use job_core::telemetry;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A log line or a span.
#[derive(Clone, Debug)]
pub struct Told {
    pub name: &'static str,
    pub level: Level,
    pub target: String,
    pub fields: BTreeMap<&'static str, String>,
    /// The names of the spans it was in, the innermost first.
    pub within: Vec<&'static str>,
    /// What its callsite can say.
    known: BTreeSet<&'static str>,
}

impl Told {
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Recorded {
    events: Arc<Mutex<Vec<Told>>>,
    spans: Arc<Mutex<Vec<(u64, Told)>>>,
}

impl Recorded {
    /// Keeps what this thread tells from that level on, until the guard is dropped.
    pub fn from(level: Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let recorded = Self::default();
        let layer = recorded.clone().with_filter(LevelFilter::from_level(level));
        let subscriber = tracing_subscriber::registry().with(layer);
        (recorded, tracing::subscriber::set_default(subscriber))
    }

    /// The log lines of this framework, in order.
    pub fn events(&self) -> Vec<Told> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|told| told.target.starts_with("job_core")).cloned().collect()
    }

    /// Those of that name.
    pub fn of(&self, name: &str) -> Vec<Told> {
        self.events().into_iter().filter(|told| told.name == name).collect()
    }

    /// The spans of that name, with all that was said in them until now.
    pub fn spans(&self, name: &str) -> Vec<Told> {
        let spans = self.spans.lock().unwrap();
        spans.iter().map(|(_, told)| told.clone()).filter(|told| told.name == name).collect()
    }

    /// All that was told is as `job_core::telemetry` has it.
    #[track_caller]
    pub fn check(&self) {
        for told in self.events() {
            let listed = telemetry::events().find(|event| event.name == told.name);
            let listed = listed.unwrap_or_else(|| panic!("{told:?} is not listed"));
            assert_eq!((listed.level, listed.target), (told.level, &*told.target), "{told:?}");
            let mut fields: BTreeSet<_> = listed.fields.iter().copied().collect();
            fields.insert("message");
            assert_eq!(told.known, fields, "{}", told.name);
            assert_eq!(told.field("message"), listed.message);
        }
        for (_, told) in self.spans.lock().unwrap().iter() {
            if !told.target.starts_with("job_core") {
                continue;
            }
            let listed = telemetry::spans().find(|span| span.name == told.name);
            let listed = listed.unwrap_or_else(|| panic!("{told:?} is not listed"));
            assert_eq!((listed.level, listed.target), (told.level, &*told.target), "{told:?}");
            assert_eq!(told.known, listed.fields.iter().copied().collect(), "{}", told.name);
        }
    }
}

fn told(metadata: &'static Metadata<'static>, fields: Fields) -> Told {
    Told {
        name: metadata.name(),
        level: *metadata.level(),
        target: metadata.target().to_owned(),
        fields: fields.0,
        within: Vec::new(),
        known: metadata.fields().iter().map(|field| field.name()).collect(),
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorded {
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut told = told(event.metadata(), fields);
        let scope = cx.event_scope(event);
        told.within = scope.into_iter().flatten().map(|span| span.name()).collect();
        self.events.lock().unwrap().push(told);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut told = told(attributes.metadata(), fields);
        let scope = cx.span_scope(id);
        told.within = scope.into_iter().flatten().skip(1).map(|span| span.name()).collect();
        self.spans.lock().unwrap().push((id.into_u64(), told));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let mut spans = self.spans.lock().unwrap();
        // Ids are used again: it is the last of that one.
        let span = spans.iter_mut().rev().find(|(of, _)| *of == id.into_u64());
        if let Some((_, told)) = span {
            told.fields.extend(fields.0);
        }
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.0.insert(field.name(), value.to_string());
    }
}
