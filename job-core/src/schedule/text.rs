//! Backoffs as text, `exponential(2s, 10m)`, for configuration and for what a worker tells of
//! itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Backoff, Curve, Jitter};
use crate::duration::{self, to_text};

/// A text that is no backoff; it says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidBackoff(String);

/// As [`FromStr`] reads it; one of the program's own is `custom`, which cannot be read.
impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.curve {
            Curve::Exponential { base, max } => {
                write!(f, "exponential({}, {})", to_text(*base), to_text(*max))?;
            }
            Curve::Linear { step, max } => {
                write!(f, "linear({}, {})", to_text(*step), to_text(*max))?;
            }
            Curve::Fixed(delay) => write!(f, "fixed({})", to_text(*delay))?,
            Curve::Custom(_) => f.write_str("custom")?,
        }
        match (self.jitter, self.curve.usual_jitter()) {
            (Jitter::None, Jitter::Full) => f.write_str(", no jitter"),
            (Jitter::Full, Jitter::None) => f.write_str(", full jitter"),
            _ => Ok(()),
        }
    }
}

/// Reads `exponential(base, max)`, `linear(step, max)` or `fixed(delay)`, with `, no jitter` or
/// `, full jitter` after it for another jitter than the usual one.
///
/// ```
/// use std::time::Duration;
/// use job_core::Backoff;
///
/// let backoff: Backoff = "exponential(2s, 10m)".parse()?;
/// assert_eq!(backoff.ceiling(2), Duration::from_secs(4));
/// # Ok::<(), job_core::InvalidBackoff>(())
/// ```
impl FromStr for Backoff {
    type Err = InvalidBackoff;

    fn from_str(text: &str) -> Result<Self, InvalidBackoff> {
        let not_one = || {
            InvalidBackoff(format!(
                "`{text}` is not a backoff: write `exponential(2s, 10m)`, `linear(5s, 1m)` or \
                 `fixed(30s)`"
            ))
        };
        let (kind, rest) = text.split_once('(').ok_or_else(not_one)?;
        let (args, after) = rest.split_once(')').ok_or_else(not_one)?;
        let args: Vec<_> = args.split(',').map(|arg| arg.trim().trim_matches('"')).collect();
        let read =
            |text: &str| duration::parse(text).map_err(|error| InvalidBackoff(error.to_string()));
        let backoff = match (kind.trim(), &*args) {
            ("exponential", [base, max]) => Self::exponential(read(base)?, read(max)?),
            ("linear", [step, max]) => Self::linear(read(step)?, read(max)?),
            ("fixed", [delay]) => Self::fixed(read(delay)?),
            _ => return Err(not_one()),
        };
        match after.trim() {
            "" => Ok(backoff),
            ", no jitter" => Ok(backoff.jitter(Jitter::None)),
            ", full jitter" => Ok(backoff.jitter(Jitter::Full)),
            _ => Err(not_one()),
        }
    }
}

/// As its text.
impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From its text, or from a table such as `{ kind = "exponential", base = "2s", max = "10m" }`
/// with an optional `jitter = "none"` or `"full"`.
impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(BackoffVisitor)
    }
}

struct BackoffVisitor;

impl<'de> Visitor<'de> for BackoffVisitor {
    type Value = Backoff;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backoff such as \"exponential(2s, 10m)\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Backoff, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Backoff, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        let (backoff, jitter) = match table {
            Table::Exponential { base, max, jitter } => (Backoff::exponential(base, max), jitter),
            Table::Linear { step, max, jitter } => (Backoff::linear(step, max), jitter),
            Table::Fixed { delay, jitter } => (Backoff::fixed(delay), jitter),
        };
        Ok(match jitter {
            Some(JitterName::None) => backoff.jitter(Jitter::None),
            Some(JitterName::Full) => backoff.jitter(Jitter::Full),
            None => backoff,
        })
    }
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Table {
    Exponential {
        #[serde(with = "duration")]
        base: Duration,
        #[serde(with = "duration")]
        max: Duration,
        jitter: Option<JitterName>,
    },
    Linear {
        #[serde(with = "duration")]
        step: Duration,
        #[serde(with = "duration")]
        max: Duration,
        jitter: Option<JitterName>,
    },
    Fixed {
        #[serde(with = "duration")]
        delay: Duration,
        jitter: Option<JitterName>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum JitterName {
    None,
    Full,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_read_again() {
        for text in [
            "exponential(2s, 10m)",
            "exponential(2s, 10m), no jitter",
            "linear(500ms, 1h30m)",
            "fixed(0s)",
            "fixed(5s), full jitter",
        ] {
            assert_eq!(text.parse::<Backoff>().unwrap().to_string(), text);
        }
        assert_eq!(Backoff::default().to_string(), "exponential(5s, 10m)");
        assert_eq!(Backoff::custom(|_| Duration::ZERO).to_string(), "custom");
        let as_in_rust = "exponential( \"2s\",\"10m\" )".parse::<Backoff>().unwrap();
        assert_eq!(as_in_rust.to_string(), "exponential(2s, 10m)");
    }

    #[test]
    fn tables_are_read_too() {
        for (table, text) in [
            (json!({ "kind": "exponential", "base": "2s", "max": "10m" }), "exponential(2s, 10m)"),
            (
                json!({ "kind": "linear", "step": "2s", "max": "10m", "jitter": "none" }),
                "linear(2s, 10m), no jitter",
            ),
            (json!({ "kind": "fixed", "delay": "2s", "jitter": "full" }), "fixed(2s), full jitter"),
        ] {
            let backoff: Backoff = serde_json::from_value(table).unwrap();
            assert_eq!(backoff.to_string(), text);
        }
        let error = serde_json::from_value::<Backoff>(json!({ "kind": "random" })).unwrap_err();
        assert!(error.to_string().contains("expected one of `exponential`"), "{error}");
        let short = json!({ "kind": "exponential", "base": "2s" });
        let error = serde_json::from_value::<Backoff>(short).unwrap_err();
        assert_eq!(error.to_string(), "missing field `max`");
    }

    #[test]
    fn what_is_none_says_what_to_write() {
        for text in ["", "fixed", "fixed(", "fixed()", "fixed(1s, 2s)", "linear(1s)", "custom"] {
            let error = text.parse::<Backoff>().unwrap_err().to_string();
            assert!(error.contains("write `"), "{text}: {error}");
        }
        assert!("fixed(1s), much jitter".parse::<Backoff>().is_err());
        assert!("fixed(1s) of course".parse::<Backoff>().is_err());
    }
}
