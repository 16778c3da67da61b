//! Durations as people write them: `"500ms"`, `"30s"`, `"1h30m"`.

use std::time::Duration;

/// Longer than this is a slip of the pen.
const MOST: Duration = Duration::from_secs(366 * DAY / 1000);

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The units from the largest on, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)];

/// Reads a duration.
///
/// # Errors
/// A sentence about what is wrong and what to write.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total = 0_u64;
    let mut smallest = UNITS.len();
    let mut largest_left = 0;
    if rest.is_empty() {
        return Err("a duration is a number with a unit: write `30s`".into());
    }
    while !rest.is_empty() {
        let (digits, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| !c.is_ascii_digit());
        if digits.is_empty() || unit.contains('.') {
            return Err(format!(
                "`{text}` is not a duration: write whole numbers with a unit, such as `500ms`, \
                 `30s` or `1h30m`"
            ));
        }
        if unit.is_empty() {
            return Err(format!("`{text}` has no unit: write `{text}s` if seconds are meant"));
        }
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(match meant(unit.trim()) {
                Some(unit) => format!("`{text}` is not a duration: write `{digits}{unit}`"),
                None => {
                    format!("there is no unit `{}`: use `ms`, `s`, `m`, `h` or `d`", unit.trim())
                }
            });
        };
        if index < largest_left {
            return Err(format!(
                "the units of `{text}` are not in order: write the larger ones first, each once, \
                 such as `1h30m`"
            ));
        }
        largest_left = index + 1;
        smallest = index;
        total = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(UNITS[index].1))
            .and_then(|millis| total.checked_add(millis))
            .ok_or_else(|| too_long(text))?;
        rest = after;
    }
    let total = Duration::from_millis(total);
    if total.is_zero() {
        let unit = UNITS[smallest].0;
        return Err(format!("a duration of zero is not allowed: write at least `1{unit}`"));
    }
    if total > MOST { Err(too_long(text)) } else { Ok(total) }
}

fn too_long(text: &str) -> String {
    format!("`{text}` is longer than a year: write at most `366d`")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones() {
        for (text, millis) in [
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
            ("0s", "write at least `1s`"),
            ("0h0ms", "write at least `1ms`"),
            ("367d", "write at most `366d`"),
            ("366d1ms", "write at most `366d`"),
            ("99999999999999999999999s", "write at most `366d`"),
            ("18446744073709551615d", "write at most `366d`"),
            ("1\u{1f980}", "there is no unit"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
