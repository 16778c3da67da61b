//! The settings of workers and queues as they come from files and environment variables.
//!
//! It knows no format and reads nothing itself: any serde format will do.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Backoff, duration};

/// Settings of a worker for [`WorkerBuilder::config`](crate::WorkerBuilder::config).
///
/// Every field may be left out and then changes nothing. A field that is not known is an error,
/// so that a slip of the pen does not go unnoticed. Durations are texts such as `"30s"` or
/// `"1h30m"`, as in `#[job(timeout = "30s")]`; a number without a unit is refused.
///
/// ```
/// # fn example(client: job_core::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use job_core::{Worker, WorkerConfig};
///
/// let config = WorkerConfig::read(&mut serde_json::Deserializer::from_str(
///     r#"{
///         "concurrency": 64,
///         "backoff": "exponential(2s, 10m)",
///         "grace": "25s",
///         "queues": { "mail": { "concurrency": 4, "rate_limit": "100 per 1s" } }
///     }"#,
/// ))?;
/// let worker = Worker::builder(&client).config(config).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// How many jobs run at once over all queues. No limit by default but that of each queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// How often a job is tried if neither call, job nor queue says so. 20 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long to wait between attempts if neither job nor queue says so.
    /// `exponential(5s, 10m)` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How long one attempt may take if neither job nor queue says so. `30m` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long running jobs have to finish at a shutdown. `25s` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
    /// How many times a job may take its worker process with it. 3 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_limit: Option<u32>,
    /// How long in sum a message is put back that the worker does not know what to do with.
    /// `1d` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub put_back_limit: Option<Duration>,
    /// How often the backend is asked for backlog, age and poison of each queue, where somebody
    /// wants to know. `30s` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub sample_every: Option<Duration>,
    /// How the span of a run is connected with whoever enqueued its job: `parent`, the default, or
    /// `link`. Only with the feature `otel`.
    #[cfg(feature = "otel")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<crate::telemetry::TraceRelation>,
    /// Where health, metrics and scaling figures are served, as `127.0.0.1:9090`. Nowhere by
    /// default. Only with the feature `http`.
    #[cfg(feature = "http")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<std::net::SocketAddr>,
    /// How long the worker may not move before `/livez` says so. `60s` by default. Only with the
    /// feature `http`.
    #[cfg(feature = "http")]
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub stall_limit: Option<Duration>,
    /// The queues to serve, and no others, whatever calls say: `["mail", "pictures"]`, or
    /// `"mail, pictures"` as a variable of the environment has it. One program can thereby run as
    /// several workers. What calls and `queues` say of a queue holds if it is served. By default
    /// those of the calls of [`queue`](crate::WorkerBuilder::queue), or those of all jobs.
    #[serde(deserialize_with = "names", skip_serializing_if = "Option::is_none")]
    pub serve: Option<Vec<String>>,
    /// Settings of queues, by name. They do not choose the queues, which `serve` does: those that
    /// a worker does not serve are left out, so that several workers can have one file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<String, QueueConfig>,
}

/// Settings of one queue in a [`WorkerConfig`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct QueueConfig {
    /// How many of its jobs run at once in this worker. 16 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// How many of its jobs start in a window of time in this worker, such as `"100 per 1s"`. No
    /// limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How long a message is hidden from other workers at a time. `60s` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub lease: Option<Duration>,
    /// How long it waits after the first empty receive. `100ms` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub min_poll: Option<Duration>,
    /// The longest wait between two receives of an idle queue. `5s` by default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub max_poll: Option<Duration>,
    /// How often its jobs are tried that say nothing themselves. As the worker by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long its jobs wait between attempts that say nothing themselves. As the worker by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How long an attempt of its jobs may take that say nothing themselves. As the worker by
    /// default.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// So many starts in any window of a certain length: `"100 per 1s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How many.
    pub limit: u32,
    /// The length of the window.
    pub per: Duration,
}

impl WorkerConfig {
    /// Reads a config from any serde format.
    ///
    /// # Errors
    /// [`ConfigError`] says which field is wrong, as `queues.mail.timeout`, which the errors of
    /// many formats do not.
    pub fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, ConfigError> {
        serde_path_to_error::deserialize(from).map_err(|error| {
            let path = error.path().to_string();
            ConfigError { path, problem: error.into_inner().to_string() }
        })
    }

    /// Takes over what `other` says.
    pub(super) fn overlay(&mut self, other: Self) {
        let Self {
            concurrency,
            max_attempts,
            backoff,
            timeout,
            grace,
            crash_limit,
            put_back_limit,
            sample_every,
            #[cfg(feature = "otel")]
            traces,
            #[cfg(feature = "http")]
            http,
            #[cfg(feature = "http")]
            stall_limit,
            serve,
            queues,
        } = other;
        set(&mut self.concurrency, concurrency);
        set(&mut self.max_attempts, max_attempts);
        set(&mut self.backoff, backoff);
        set(&mut self.timeout, timeout);
        set(&mut self.grace, grace);
        set(&mut self.crash_limit, crash_limit);
        set(&mut self.put_back_limit, put_back_limit);
        set(&mut self.sample_every, sample_every);
        #[cfg(feature = "otel")]
        set(&mut self.traces, traces);
        #[cfg(feature = "http")]
        set(&mut self.http, http);
        #[cfg(feature = "http")]
        set(&mut self.stall_limit, stall_limit);
        set(&mut self.serve, serve);
        for (name, queue) in queues {
            self.queues.entry(name).or_default().overlay(queue);
        }
    }
}

impl QueueConfig {
    /// Takes over what `other` says.
    pub(super) fn overlay(&mut self, other: Self) {
        let Self {
            concurrency,
            rate_limit,
            lease,
            min_poll,
            max_poll,
            max_attempts,
            backoff,
            timeout,
        } = other;
        set(&mut self.concurrency, concurrency);
        set(&mut self.rate_limit, rate_limit);
        set(&mut self.lease, lease);
        set(&mut self.min_poll, min_poll);
        set(&mut self.max_poll, max_poll);
        set(&mut self.max_attempts, max_attempts);
        set(&mut self.backoff, backoff);
        set(&mut self.timeout, timeout);
    }
}

fn set<T>(field: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *field = given;
    }
}

/// What is wrong with a config, and in which field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker's config is wrong at `{path}`: {problem}")]
pub struct ConfigError {
    path: String,
    problem: String,
}

impl ConfigError {
    /// The field, as `queues.mail.timeout`; `.` is the config as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.limit, duration::to_text(self.per))
    }
}

impl Serialize for RateLimit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_rate(&text).map_err(serde::de::Error::custom)
    }
}

fn parse_rate(text: &str) -> Result<RateLimit, String> {
    let parts = text.split_once(" per ").and_then(|(limit, per)| {
        let limit = limit.trim().parse().ok()?;
        Some((limit, per.trim()))
    });
    let Some((limit, per)) = parts else {
        return Err(format!("`{text}` is not a rate: write one such as `100 per 1s`"));
    };
    let per = duration::parse(per).map_err(|error| error.to_string())?;
    Ok(RateLimit { limit, per })
}

/// A list of names, or a text with commas between them.
fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("names of queues such as `mail, pictures`, or a list of them")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            Ok(Some(names.map(str::to_owned).collect()))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = list.next_element()? {
                names.push(name);
            }
            Ok(Some(names))
        }
    }

    from.deserialize_any(Names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: serde_json::Value) -> Result<WorkerConfig, String> {
        WorkerConfig::read(config).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_may_be_left_out() {
        let config = read(json!({ "serve": null, "queues": { "mail": {} } })).unwrap();
        assert_eq!(serde_json::to_value(config).unwrap(), json!({ "queues": { "mail": {} } }));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let full = json!({
            "concurrency": 64,
            "max_attempts": 3,
            "backoff": "fixed(5s)",
            "timeout": "1h30m",
            "grace": "0s",
            "crash_limit": 2,
            "put_back_limit": "1d",
            "serve": ["mail"],
            "queues": { "mail": {
                "concurrency": 4,
                "rate_limit": "100 per 1s",
                "lease": "1m",
                "min_poll": "50ms",
                "max_poll": "10s",
                "max_attempts": 5,
                "backoff": "linear(1s, 1m), no jitter",
                "timeout": "30s",
            } },
        });
        assert_eq!(serde_json::to_value(read(full.clone()).unwrap()).unwrap(), full);
    }

    #[test]
    fn an_error_names_the_field_and_says_what_to_write() {
        for (config, said) in [
            (json!({ "timeout": "30" }), "at `timeout`: `30` has no unit: write `30s` if"),
            (json!({ "timeout": 30 }), "at `timeout`: `30` has no unit: write `30s` if"),
            (json!({ "timeout": 1.5 }), "at `timeout`: `1.5` is not a duration: write whole"),
            (json!({ "grace": true }), "at `grace`: invalid type: boolean `true`, expected a dur"),
            (json!({ "concurrency": "many" }), "at `concurrency`: invalid type: string \"many\""),
            (json!({ "concurency": 4 }), "at `concurency`: unknown field `concurency`, expected"),
            (
                json!({ "queues": { "mail": { "leese": "1m" } } }),
                "at `queues.mail.leese`: unknown field `leese`, expected one of `concurrency`",
            ),
            (
                json!({ "queues": { "mail": { "rate_limit": "100/s" } } }),
                "at `queues.mail.rate_limit`: `100/s` is not a rate: write one such as `100 per",
            ),
            (
                json!({ "queues": { "mail": { "rate_limit": "100 per second" } } }),
                "at `queues.mail.rate_limit`: `second` is not a duration: write whole numbers",
            ),
            (
                json!({ "backoff": "random(1s)" }),
                "at `backoff`: `random(1s)` is not a backoff: write `exponential(2s, 10m)`, ",
            ),
            (json!({ "serve": 1 }), "at `serve`: invalid type: integer `1`, expected names of que"),
            (json!({ "serve": [1] }), "at `serve[0]`: invalid type: integer `1`, expected a str"),
            (json!({ "backoff": "fixed(5)" }), "at `backoff`: `5` has no unit: write `5s` if"),
            (
                json!({ "backoff": { "kind": "fixed", "base": "5s" } }),
                "at `backoff`: unknown field `base`, expected ",
            ),
        ] {
            let error = read(config).unwrap_err();
            assert!(error.contains(said), "{error}\n{said}");
        }
    }

    #[test]
    fn later_settings_win_field_by_field() {
        let mut config = read(json!({
            "timeout": "1s",
            "grace": "1s",
            "queues": { "a": { "concurrency": 1, "lease": "1s" }, "b": { "concurrency": 1 } },
        }))
        .unwrap();
        let later = json!({
            "timeout": "2s",
            "queues": { "a": { "concurrency": 2 }, "c": { "concurrency": 2 } },
        });
        config.overlay(read(later).unwrap());
        let expected = json!({
            "timeout": "2s",
            "grace": "1s",
            "queues": {
                "a": { "concurrency": 2, "lease": "1s" },
                "b": { "concurrency": 1 },
                "c": { "concurrency": 2 },
            },
        });
        assert_eq!(serde_json::to_value(config).unwrap(), expected);
    }
}
