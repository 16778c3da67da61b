//! Where and when something was measured, and with what.

use std::process::Command;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The crates whose versions matter to the figures.
const CRATES: [&str; 6] = ["apalis", "azure_storage_queue", "serde_json", "tokio", "tower", "uuid"];

/// Python's packages, likewise.
const PYTHON: [&str; 3] = ["azure-storage-queue", "celery", "kombu"];

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
    /// The compiler that it was built with.
    pub rustc: String,
    /// The commit that was checked out when it started, `-dirty` if there were changes.
    pub commit: String,
    /// Crates, other packages, and their versions.
    pub versions: Vec<(String, String)>,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let lock = include_str!("../../Cargo.lock");
        let crates = CRATES.iter().map(|name| (*name, version(lock, name)));
        let requirements = include_str!("../python/requirements.txt");
        let python = PYTHON.iter().map(|name| (*name, pinned(requirements, name)));
        let packages = include_str!("../../job-azure/azurite/npm/package.json");
        let azurite = [("azurite", dependency(packages, "azurite"))];
        let versions = crates.chain(python).chain(azurite);
        let versions = versions.filter_map(|(name, version)| Some((name.to_owned(), version?)));
        Self {
            date: date(SystemTime::now()),
            processor: processor(),
            processors: available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            rustc: env!("BENCH_RUSTC").to_owned(),
            commit: commit(),
            versions: versions.collect(),
        }
    }
}

/// The first version of that name in a lock file.
fn version(lock: &str, name: &str) -> Option<String> {
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split_once('"')?.0.to_owned())
}

/// The version of that name in a list of requirements.
fn pinned(requirements: &str, name: &str) -> Option<String> {
    let pinned = |line: &str| line.strip_prefix(name)?.strip_prefix("==").map(str::to_owned);
    requirements.lines().find_map(|line| pinned(line.split_whitespace().next()?))
}

/// The version of that name among the dependencies of an npm package.
fn dependency(package: &str, name: &str) -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(package).ok()?;
    Some(package["dependencies"][name].as_str()?.to_owned())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or_else(|| "an unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.current_dir(env!("CARGO_MANIFEST_DIR")).args(["describe", "--always", "--dirty"]);
    let text = git.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
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

    #[test]
    fn all_versions_are_found() {
        let here = Machine::here();
        let expected = CRATES.iter().chain(&PYTHON).chain(&["azurite"]).copied();
        let found = here.versions.iter().map(|(name, _)| name.as_str());
        assert!(found.eq(expected), "{:?}", here.versions);
    }
}
