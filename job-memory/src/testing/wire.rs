//! What a message says: wire format 1, as `job-core/schema/envelope-1.json` describes it, as far as
//! tests ask about it.

use std::collections::BTreeMap;

use job_core::{Args, ArgsError, Job, JobId, PoisonReason};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message as it is read by the kit.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) id: Option<JobId>,
    /// `None` if the message is no envelope: plain JSON, or somebody's event.
    pub(super) name: Option<String>,
    /// JSON, or whatever else the body is.
    pub(super) args: String,
    version: u32,
    pub(super) meta: BTreeMap<String, String>,
    /// What is left of a delay longer than the backend's longest, in milliseconds.
    pub(super) delay_left: u64,
    pub(super) history: History,
    /// The error of the last attempt.
    pub(super) last_error: Option<String>,
    pub(super) poison: Option<Poison>,
}

/// What the job has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct History {
    pub(super) failed: u32,
    pub(super) crashed: u32,
    pub(super) snoozed: u32,
    pub(super) given_back: u32,
    pub(super) put_back: u32,
    /// Whether a start is announced in it that nobody reported on yet.
    #[serde(deserialize_with = "is_there")]
    pub(super) started: bool,
}

/// Why it is out of the running.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Poison {
    state: String,
    pub(super) reason: PoisonReason,
    pub(super) error: Option<String>,
}

impl Poison {
    /// It still is on its own queue, and only to be moved.
    pub(super) fn is_pending(&self) -> bool {
        self.state == "pending"
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    /// There to tell an envelope from anything else.
    #[serde(rename = "format")]
    _format: u64,
    id: String,
    name: String,
    #[serde(borrow)]
    args: &'a RawValue,
    #[serde(default = "first")]
    args_version: u32,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    #[serde(default, rename = "delay_left_ms")]
    delay_left: u64,
    #[serde(default)]
    history: History,
    #[serde(default)]
    errors: Vec<Failure>,
    #[serde(default)]
    poison: Option<Poison>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

fn first() -> u32 {
    1
}

fn is_there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::<serde::de::IgnoredAny>::deserialize(from)?.is_some())
}

impl Wire {
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) else {
            return Self {
                id: None,
                name: None,
                args: String::from_utf8_lossy(body).into_owned(),
                version: 1,
                meta: BTreeMap::new(),
                delay_left: 0,
                history: History::default(),
                last_error: None,
                poison: None,
            };
        };
        Self {
            id: envelope.id.parse().ok(),
            name: Some(envelope.name),
            args: envelope.args.get().to_owned(),
            version: envelope.args_version,
            meta: envelope.meta,
            delay_left: envelope.delay_left,
            history: envelope.history,
            last_error: envelope.errors.into_iter().next_back().map(|failure| failure.error),
            poison: envelope.poison,
        }
    }

    /// Whether it is a job of that kind, by name or alias. Plain JSON may be any.
    pub(super) fn is<J: Job>(&self) -> bool {
        self.name.as_deref().is_some_and(|name| name == J::NAME || J::ALIASES.contains(&name))
    }

    /// The job in it, as a worker would read it.
    pub(super) fn job<J: Job>(&self) -> Result<J, ArgsError> {
        // Plain JSON is taken for args of the job's own version.
        let version = if self.name.is_some() { self.version } else { J::VERSION };
        J::from_args(Args::new(&self.args, version))
    }

    /// How it is shown.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("a message without a job's name")
    }

    /// The args on one line, not without end.
    pub(super) fn shown_args(&self) -> String {
        const MOST: usize = 400;
        let line = match serde_json::from_str::<Value>(&self.args) {
            // As it was sent, with its fields in their order.
            Ok(_) if !self.args.contains('\n') => self.args.clone(),
            Ok(json) => json.to_string(),
            Err(_) => format!("{:?}", self.args),
        };
        match line.char_indices().nth(MOST) {
            None => line,
            Some((end, _)) => format!("{}…", &line[..end]),
        }
    }

    /// Which attempt the next run is.
    pub(super) fn attempt(&self) -> u32 {
        self.history.failed.saturating_add(self.history.crashed).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_and_anything_else_is_shown_as_it_is() {
        let wire = Wire::read(
            br#"{"format":1,"id":"0190f5c2-5d3e-7000-8000-000000000000","name":"n","args":{"a":1},
            "history":{"failed":2,"crashed":1,"started":{"message_id":"1","count":3}},
            "errors":[{"attempt":1,"at":0,"error":"first"},{"attempt":2,"at":0,"error":"last"}]}"#,
        );
        assert_eq!((wire.name(), wire.attempt()), ("n", 4));
        assert!(wire.id.is_some() && wire.history.started);
        assert_eq!(wire.last_error.as_deref(), Some("last"));
        assert_eq!(wire.shown_args(), r#"{"a":1}"#);

        let plain = Wire::read(br#"{"picture":"cat.png"}"#);
        assert_eq!(plain.name, None);
        assert_eq!(plain.args, r#"{"picture":"cat.png"}"#);
        assert_eq!(Wire::read(b"\x00\"").shown_args(), r#""\0\"""#);
    }
}
