//! `RESULTS.md` and its charts, written from the figures of a run.

use std::fmt::Write as _;
use std::path::Path;

use crate::chart::{self, Chart, Line, Values};
use crate::figure::{Figure, Report, Unit};
use crate::memory::START_LATENCY;
use crate::table;

/// Writes `RESULTS.md` and its charts into a folder, in place of those that are there.
///
/// # Errors
/// If a file cannot be written.
pub fn save(report: &Report, folder: &Path) -> std::io::Result<()> {
    let charts = folder.join("charts");
    if charts.exists() {
        std::fs::remove_dir_all(&charts)?;
    }
    std::fs::create_dir_all(charts)?;
    for (name, text) in files(report) {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// The files by their names: throughput against concurrency as a chart for each measure, start
/// latency as one, and all tables.
pub fn files(report: &Report) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut text = head(report);
    let mut part_before = "";
    for (part, measure) in report.measures() {
        if part != part_before {
            let _ = writeln!(text, "## {part}\n");
            if let Some(chart) = start_latency(report, part) {
                add_chart(&mut files, &mut text, part, &chart);
            }
            part_before = part;
        }
        let figures = report.of(part, measure);
        let _ = writeln!(text, "### {measure}\n");
        if let Some(chart) = by_concurrency(measure, &figures) {
            add_chart(&mut files, &mut text, part, &chart);
        }
        let _ = writeln!(text, "{}", table::of_measure(&figures, report.rounds));
    }
    text.push_str(&table::left_out(report));
    files.push(("RESULTS.md".to_owned(), text.trim_end().to_owned() + "\n"));
    files
}

fn add_chart(files: &mut Vec<(String, String)>, text: &mut String, part: &str, chart: &Chart) {
    let Some(svg) = chart::svg(chart) else { return };
    let name = format!("charts/{}.svg", file_name(part, &chart.title));
    let _ = writeln!(text, "![{part}: {}]({name})\n", chart.title);
    files.push((name, svg));
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}"));
    format!(
        "# Results\n\nWritten by `cargo run --release -p bench -- {}` at commit {} on {}: {} \
         processors ({}), {}, {}; {}. Medians of {} rounds, with the least and the most, where a \
         table does not say otherwise.\n\n",
        report.arguments.join(" "),
        machine.commit,
        machine.date,
        machine.processors,
        machine.processor,
        machine.system,
        machine.rustc,
        versions.collect::<Vec<_>>().join(", "),
        report.rounds,
    )
}

/// Throughput against concurrency, if anybody was measured at more than one.
fn by_concurrency(measure: &str, figures: &[&Figure]) -> Option<Chart> {
    let first = figures.first().filter(|figure| figure.unit == Unit::JobsPerSecond)?;
    let places = distinct(figures.iter().filter_map(|figure| figure.concurrency));
    let contenders = distinct(figures.iter().map(|figure| figure.contender.as_str()));
    let lines = contenders.into_iter().map(|contender| {
        let own = figures.iter().filter(|figure| figure.contender == contender);
        let at = |place: Option<usize>| {
            own.clone().find(|it| it.concurrency == place).map(|it| it.median())
        };
        let values = match at(None) {
            Some(level) => Values::Level(level),
            None => Values::Each(places.iter().map(|place| at(Some(*place))).collect()),
        };
        Line { name: contender.to_owned(), values }
    });
    let lines: Vec<_> = lines.collect();
    let is_line = |line: &Line| match &line.values {
        Values::Each(values) => values.iter().flatten().count() > 1,
        Values::Level(_) => false,
    };
    lines.iter().any(is_line).then(|| Chart {
        title: measure.to_owned(),
        unit: first.unit.label(),
        places: places.iter().map(|place| format!("{place} at a time")).collect(),
        lines,
    })
}

/// How soon jobs start, from percentile to percentile.
fn start_latency(report: &Report, part: &str) -> Option<Chart> {
    let percentiles = START_LATENCY.map(|(measure, place, _)| (report.of(part, measure), place));
    let contenders = percentiles[0].0.iter().map(|figure| figure.contender.clone());
    let lines = contenders.map(|name| {
        let at = |(figures, _): &(Vec<&Figure>, &str)| {
            figures.iter().find(|figure| figure.contender == name).map(|figure| figure.median())
        };
        let values = Values::Each(percentiles.iter().map(at).collect());
        Line { name, values }
    });
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| Chart {
        title: "from enqueue to start when idle".to_owned(),
        unit: Unit::Microseconds.label(),
        places: percentiles.iter().map(|(_, place)| (*place).to_owned()).collect(),
        lines,
    })
}

/// Each value once, in the order in which they come.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// Letters and digits of both, with dashes between.
fn file_name(part: &str, title: &str) -> String {
    let text = format!("{part} {title}");
    let words = text.split(|char: char| !char.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::LeftOut;
    use crate::machine::Machine;

    fn figure(measure: &str, contender: &str, concurrency: Option<usize>, unit: Unit) -> Figure {
        Figure {
            part: "memory".to_owned(),
            measure: measure.to_owned(),
            contender: contender.to_owned(),
            concurrency,
            unit,
            samples: vec![100.0, 300.0, 200.0],
            cpu: Vec::new(),
        }
    }

    #[test]
    fn throughput_and_latency_have_charts_and_everything_a_table() {
        let mut figures = vec![
            figure("drain", "this framework", Some(1), Unit::JobsPerSecond),
            figure("drain", "this framework", Some(16), Unit::JobsPerSecond),
            figure("drain", "bare channel", None, Unit::JobsPerSecond),
            figure("layers", "no layers", Some(64), Unit::JobsPerSecond),
            figure("bytes a queued job", "this framework", Some(64), Unit::Bytes),
        ];
        for (measure, ..) in START_LATENCY {
            figures.push(figure(measure, "this framework", Some(16), Unit::Microseconds));
        }
        let left_out = LeftOut(vec!["Celery: no network".to_owned()]);
        let arguments = ["all", "--save"].map(str::to_owned).into();
        let report = Report { machine: Machine::here(), arguments, rounds: 3, figures, left_out };
        let files = files(&report);
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "charts/memory-from-enqueue-to-start-when-idle.svg",
                "charts/memory-drain.svg",
                "RESULTS.md"
            ]
        );
        let text = &files[2].1;
        assert!(text.contains("![memory: drain](charts/memory-drain.svg)"), "{text}");
        assert!(text.contains("-p bench -- all --save` at commit "), "{text}");
        assert!(text.contains("### bytes a queued job\n\n|"), "{text}");
        assert!(text.contains("Left out: Celery: no network."), "{text}");
        assert!(text.contains("tokio 1."), "{text}");
        assert!(files[1].1.contains("stroke-dasharray"), "{}", files[1].1);
    }

    #[test]
    fn files_have_plain_names() {
        assert_eq!(file_name("memory", "live: many, p99.9"), "memory-live-many-p99-9");
    }
}
