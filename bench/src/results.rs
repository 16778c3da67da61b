//! `RESULTS.md` and its charts, written from the figures of a run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::chart;
use crate::figure::Report;
use crate::table;

/// Writes `RESULTS.md` and a chart for each measure that has figures at several concurrencies, or
/// of how soon jobs start.
///
/// # Errors
/// If a file cannot be written.
pub fn save(report: &Report) -> std::io::Result<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let charts = folder.join("charts");
    std::fs::create_dir_all(&charts)?;
    let mut text = head(report);
    for (part, measure) in report.measures() {
        let figures = report.of(part, measure);
        let Some(svg) = chart::of_measure(measure, &figures) else { continue };
        let name = format!("{}.svg", file_name(part, measure));
        std::fs::write(charts.join(&name), svg)?;
        let _ = writeln!(text, "![{part}: {measure}](charts/{name})\n");
    }
    text.push_str(&table::of_report(report));
    std::fs::write(Path::new(&folder).join("RESULTS.md"), text.trim_end().to_owned() + "\n")
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    let versions = machine.crates.iter().map(|(name, version)| format!("{name} {version}"));
    format!(
        "# Results\n\nWritten by `cargo run --release -p bench -- all --save` on {}: {} processors \
         ({}), {}, {}; {}. Medians of {} rounds, with the least and the most.\n\n",
        machine.date,
        machine.processors,
        machine.processor,
        machine.system,
        machine.rustc,
        versions.collect::<Vec<_>>().join(", "),
        report.rounds,
    )
}

/// Letters and digits of both, with dashes between.
fn file_name(part: &str, measure: &str) -> String {
    let text = format!("{part} {measure}");
    let words = text.split(|char: char| !char.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_plain_names() {
        assert_eq!(file_name("memory", "live: many, p99.9"), "memory-live-many-p99-9");
    }
}
