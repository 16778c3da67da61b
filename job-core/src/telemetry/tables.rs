//! The tables of `tables.md` are these lists: a name that is in one is in the other.

use std::fmt::Write as _;
use std::path::Path;

use super::names::{METRICS, MetricKind};
use super::{events, spans};

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn code(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn tables() -> String {
    let mut text = String::from("# Spans\n\n| span | level | fields |\n|---|---|---|\n");
    for span in spans() {
        let level = span.level.to_string().to_lowercase();
        row(&mut text, &[code(&[span.name]), level, code(span.fields)]);
    }
    text += "\n# Log lines\n\n| event | level | target | says | fields |\n|---|---|---|---|---|\n";
    for event in events() {
        let level = event.level.to_string().to_lowercase();
        let cells = [code(&[event.name]), level, code(&[event.target])];
        let cells = cells.into_iter().chain([event.message.to_owned(), code(event.fields)]);
        row(&mut text, &cells.collect::<Vec<_>>());
    }
    text += "\n# Metrics\n\n| metric | kind | labels | says |\n|---|---|---|---|\n";
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let cells = [code(&[metric.name]), kind.to_owned(), code(metric.labels)];
        let cells = cells.into_iter().chain([metric.description.to_owned()]);
        row(&mut text, &cells.collect::<Vec<_>>());
    }
    text
}

#[test]
fn the_docs_have_every_name_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/tables.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, tables()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    for (line, (is, shall)) in written.lines().zip(tables().lines()).enumerate() {
        assert_eq!(is, shall, "tables.md, line {}; UPDATE_GOLDEN=1 writes it", line + 1);
    }
    assert_eq!(written.lines().count(), tables().lines().count());
}

#[test]
fn names_are_unique_and_follow_the_rules() {
    let mut seen = std::collections::BTreeSet::new();
    for metric in METRICS {
        assert!(seen.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("job_"), "{}", metric.name);
        let total = metric.name.ends_with("_total");
        assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
        let ids = ["id", "job_id", "message_id"];
        assert!(!metric.labels.iter().any(|label| ids.contains(label)), "{}", metric.name);
    }
    for name in events().map(|event| event.name).chain(spans().map(|span| span.name)) {
        assert!(seen.insert(name), "{name} is there twice");
    }
}

/// Log lines and spans are made in this module alone, or the tables would not have them.
#[test]
fn nobody_else_writes_log_lines() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs")
                && !path.starts_with(src.join("telemetry"))
            {
                let text = std::fs::read_to_string(&path).unwrap();
                for name in ["trace", "debug", "info", "warn", "error", "event", "span"] {
                    for macros in [format!("{name}!("), format!("{name}_span!(")] {
                        let found = text.match_indices(&macros).find(|(at, _)| {
                            let before = text[..*at].bytes().last().unwrap_or(b' ');
                            !(before.is_ascii_alphanumeric() || before == b'_')
                        });
                        assert_eq!(found, None, "{}", path.display());
                    }
                }
                files += 1;
            }
        }
    }
    assert!(files > 50, "{files} files were looked at");
}
