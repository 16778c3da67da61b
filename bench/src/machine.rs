//! Where and when something was measured, and with what.

use std::process::Command;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The crates whose versions matter to the figures.
const CRATES: [&str; 6] = ["apalis", "azure_storage_queue", "serde_json", "tokio", "tower", "uuid"];

/// Where and when something was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The day, in UTC.
    pub date: String,
    /// The processor's name.
    pub processor: String,
    /// How many there are.
    pub processors: usize,
    /// The system.
    pub system: String,
    /// The compiler.
    pub rustc: String,
    /// Crates and their versions.
    pub crates: Vec<(String, String)>,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let lock = include_str!("../../Cargo.lock");
        let versions =
            CRATES.iter().filter_map(|name| Some(((*name).to_owned(), version(lock, name)?)));
        Self {
            date: date(SystemTime::now()),
            processor: processor(),
            processors: available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            rustc: output("rustc", "--version"),
            crates: versions.collect(),
        }
    }
}

/// The first version of that name in a lock file.
fn version(lock: &str, name: &str) -> Option<String> {
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split_once('"')?.0.to_owned())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or_else(|| "an unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

fn output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// The day of a time, as `2024-02-29`.
fn date(time: SystemTime) -> String {
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    // Years that begin in March, in eras of 400 of them: leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (19_723, "2024-01-01"),
            (20_088, "2024-12-31"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(days * 86_400)), expected);
        }
    }

    #[test]
    fn a_lock_file_has_versions() {
        let lock = "[[package]]\nname = \"tokio\"\nversion = \"1.2.3\"\n";
        assert_eq!(version(lock, "tokio").as_deref(), Some("1.2.3"));
        assert_eq!(version(lock, "tok"), None);
    }
}
