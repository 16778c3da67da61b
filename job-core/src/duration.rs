//! Durations as people write them: `"500ms"`, `"30s"`, `"1h30m"`, in configuration files,
//! environment variables and what a worker tells of itself.
//!
//! The syntax is that of `#[job(timeout = "30s")]`, and zero is allowed: whole numbers with the
//! units `d`, `h`, `m`, `s` and `ms`, the larger ones first.
//!
//! ```
//! use std::time::Duration;
//! use job_core::duration;
//!
//! assert_eq!(duration::parse("1h30m")?, Duration::from_secs(5400));
//! assert_eq!(duration::to_text(Duration::from_millis(90_500)), "1m30s500ms");
//!
//! let error = duration::parse("30").unwrap_err();
//! assert_eq!(error.to_string(), "`30` has no unit: write `30s` if seconds are meant");
//! # Ok::<(), job_core::duration::InvalidDuration>(())
//! ```

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

/// A text that is no duration; it says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDuration(String);

/// Longer than this is a slip of the pen.
const MOST: Duration = Duration::from_secs(366 * DAY / 1000);

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The units from the largest on, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)];

/// Reads a duration of at most 366 days.
///
/// # Errors
/// [`InvalidDuration`] says what is wrong and what to write.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = |problem: String| Err(InvalidDuration(problem));
    let mut rest = text;
    let mut total = 0_u64;
    let mut largest_left = 0;
    if rest.is_empty() {
        return invalid("a duration is a number with a unit: write `30s`".into());
    }
    while !rest.is_empty() {
        let (digits, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| !c.is_ascii_digit());
        if digits.is_empty() || unit.contains('.') {
            return invalid(format!(
                "`{text}` is not a duration: write whole numbers with a unit, such as `500ms`, \
                 `30s` or `1h30m`"
            ));
        }
        if unit.is_empty() {
            return invalid(format!("`{text}` has no unit: write `{text}s` if seconds are meant"));
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return invalid(match meant(unit.trim()) {
                Some(unit) => format!("`{text}` is not a duration: write `{digits}{unit}`"),
                None => {
                    format!("there is no unit `{}`: use `ms`, `s`, `m`, `h` or `d`", unit.trim())
                }
            });
        };
        if index < largest_left {
            return invalid(format!(
                "the units of `{text}` are not in order: write the larger ones first, each once, \
                 such as `1h30m`"
            ));
        }
        largest_left = index + 1;
        total = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(UNITS[index].1))
            .and_then(|millis| total.checked_add(millis))
            .ok_or_else(|| too_long(text))?;
        rest = after;
    }
    let total = Duration::from_millis(total);
    if total > MOST { Err(too_long(text)) } else { Ok(total) }
}

/// Writes a duration so that [`parse`] reads it again, but for what is below a millisecond.
pub fn to_text(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    if rest == 0 {
        return if duration.is_zero() { "0s".into() } else { "<1ms".into() };
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let number = rest / u128::from(millis);
        rest %= u128::from(millis);
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    text
}

fn too_long(text: &str) -> InvalidDuration {
    InvalidDuration(format!("`{text}` is longer than a year: write at most `366d`"))
}

/// What someone who writes that unit means.
fn meant(unit: &str) -> Option<&'static str> {
    Some(match unit.to_lowercase().as_str() {
        "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    })
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

/// Writes a duration as its text.
pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&to_text(*duration))
}

/// Reads a duration from its text. A bare number is refused: what is meant by it, nobody knows.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    // Not `deserialize_str`: some formats make a text of a number, and its unit would be guessed.
    from.deserialize_any(DurationVisitor)
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\" or \"1h30m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Duration, E> {
        self.visit_str(&number.to_string())
    }
}

/// The same for what may be left out.
pub(crate) mod option {
    use super::{Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(serde::Deserialize)]
        struct Text(#[serde(with = "super")] Duration);
        let given = <Option<Text> as serde::Deserialize>::deserialize(from)?;
        Ok(given.map(|Text(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones() {
        for (text, millis) in [
            ("0s", 0),
            ("0h0ms", 0),
            ("1ms", 1),
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1d", DAY),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0h5m", 300_000),
            ("90m", 5_400_000),
            ("366d", 366 * DAY),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn bad_ones_say_what_to_write() {
        for (text, advice) in [
            ("", "write `30s`"),
            ("30", "write `30s` if seconds"),
            ("1h30", "write `1h30s` if seconds"),
            ("s", "write whole numbers"),
            ("-5s", "write whole numbers"),
            ("1.5h", "write whole numbers"),
            ("soon", "write whole numbers"),
            ("30 s", "write `30s`"),
            ("30 sec", "write `30s`"),
            ("30S", "write `30s`"),
            ("2weeks", "use `ms`, `s`, `m`, `h` or `d`"),
            ("5us", "use `ms`, `s`, `m`, `h` or `d`"),
            ("30m1h", "write the larger ones first"),
            ("1h1h", "write the larger ones first"),
            ("367d", "write at most `366d`"),
            ("366d1ms", "write at most `366d`"),
            ("99999999999999999999999s", "write at most `366d`"),
            ("18446744073709551615d", "write at most `366d`"),
            ("1\u{1f980}", "there is no unit"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn texts_are_read_again() {
        for millis in [0, 1, 999, 1000, 61_000, 90_500, 5_400_000, DAY, 93_784_005, 366 * DAY] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&to_text(duration)), Ok(duration));
        }
        assert_eq!(to_text(Duration::from_secs(1800)), "30m");
        assert_eq!(to_text(Duration::from_nanos(1)), "<1ms");
        assert!(to_text(Duration::MAX).ends_with("15s999ms"));
    }
}
