//! Figures as tables, for a terminal and for a file alike.

use std::fmt::Write as _;

use crate::figure::{Figure, Report, Unit};

/// Whose ratios to the others are shown.
pub const OURS: &str = "this framework";

/// The figures of one measure as a table in Markdown, and our best beside everybody else's. Says so
/// where there are not as many samples as rounds.
pub fn of_measure(figures: &[&Figure], rounds: usize) -> String {
    let Some(first) = figures.first() else { return String::new() };
    let columns = Columns::of(figures);
    let mut head = vec!["".to_owned()];
    let mut name = |is_there: bool, name: &str| {
        if is_there {
            head.push(name.to_owned());
        }
    };
    name(columns.concurrency, "at a time");
    name(true, first.unit.label());
    name(columns.range, "least");
    name(columns.range, "most");
    name(columns.cpu, "CPU µs a job");
    name(
        columns.ratio,
        if first.unit.more_is_better() {
            "ours : it (more is better)"
        } else {
            "ours : it (less is better)"
        },
    );
    let mut rows = vec![head];
    rows.extend(figures.iter().map(|figure| columns.row(figures, figure)));
    let mut text = lay_out(&rows);
    let ratios: Vec<_> = bests(figures)
        .into_iter()
        .filter_map(|(contender, _, ratio)| Some(format!("{contender} {:.2}", ratio?)))
        .collect();
    if !ratios.is_empty() && columns.concurrency {
        let _ = writeln!(text, "\nOur best over theirs: {}.", ratios.join(", "));
    }
    text + &fewer_samples(figures, rounds)
}

/// Whose figures are not of one sample for each round.
fn fewer_samples(figures: &[&Figure], rounds: usize) -> String {
    let is_less = |figure: &&&Figure| figure.samples.len() != rounds;
    let count = |count: usize| match count {
        1 => "one sample".to_owned(),
        count => format!("{count} samples"),
    };
    let mut less = figures.iter().filter(is_less);
    let Some(first) = less.next() else { return String::new() };
    let same = |figure: &&Figure| figure.samples.len() == first.samples.len();
    if figures.iter().all(same) {
        return format!("\nOf {} each.\n", count(first.samples.len()));
    }
    let whose = figures.iter().filter(is_less).map(|figure| {
        let at = figure.concurrency.map(|it| format!(" at {it}")).unwrap_or_default();
        format!("{}{at} of {}", figure.contender, count(figure.samples.len()))
    });
    format!("\nOf fewer: {}.\n", whose.collect::<Vec<_>>().join("; "))
}

/// Which columns say something.
struct Columns {
    concurrency: bool,
    range: bool,
    cpu: bool,
    ratio: bool,
}

impl Columns {
    fn of(figures: &[&Figure]) -> Self {
        let any = |is_so: &dyn Fn(&Figure) -> bool| figures.iter().any(|figure| is_so(figure));
        Self {
            concurrency: any(&|figure| figure.concurrency.is_some()),
            range: any(&|figure| figure.samples.len() > 1),
            cpu: any(&|figure| !figure.cpu.is_empty()),
            ratio: any(&|figure| ratio(figures, figure).is_some()),
        }
    }

    fn row(&self, figures: &[&Figure], figure: &Figure) -> Vec<String> {
        let (least, most) = figure.range();
        let mut row = vec![figure.contender.clone()];
        if self.concurrency {
            row.push(figure.concurrency.map_or_else(String::new, |it| it.to_string()));
        }
        row.push(number(figure.median(), figure.unit));
        if self.range {
            row.extend([least, most].map(|value| number(value, figure.unit)));
        }
        if self.cpu {
            row.push(figure.median_cpu().map_or_else(String::new, |cpu| format!("{cpu:.2}")));
        }
        if self.ratio {
            let ratio = ratio(figures, figure);
            row.push(ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        }
        row
    }
}

/// Ours over a peer's: at the same concurrency, or at our best where it has none.
fn ratio(figures: &[&Figure], peer: &Figure) -> Option<f64> {
    if peer.contender == OURS {
        return None;
    }
    let ours = figures.iter().filter(|figure| figure.contender == OURS);
    let ours = ours
        .filter(|figure| peer.concurrency.is_none_or(|_| figure.concurrency == peer.concurrency));
    let medians = ours.map(|figure| figure.median());
    let best = medians.reduce(if peer.unit.more_is_better() { f64::max } else { f64::min })?;
    Some(best / peer.median())
}

/// Each contender's best median, and ours over it.
pub fn bests(figures: &[&Figure]) -> Vec<(String, f64, Option<f64>)> {
    let mut bests: Vec<(String, f64, Unit)> = Vec::new();
    for figure in figures {
        let median = figure.median();
        match bests.iter_mut().find(|(contender, ..)| *contender == figure.contender) {
            None => bests.push((figure.contender.clone(), median, figure.unit)),
            Some((_, best, unit)) if unit.more_is_better() => *best = best.max(median),
            Some((_, best, _)) => *best = best.min(median),
        }
    }
    let ours = bests.iter().find(|(contender, ..)| contender == OURS).map(|(_, best, _)| *best);
    let with_ratio = bests.into_iter().map(|(contender, best, _)| {
        let ratio = ours.filter(|_| contender != OURS).map(|ours| ours / best);
        (contender, best, ratio)
    });
    with_ratio.collect()
}

/// All tables of a run.
pub fn of_report(report: &Report) -> String {
    let mut text = String::new();
    for (part, measure) in report.measures() {
        let figures = report.of(part, measure);
        let _ = writeln!(text, "### {part}: {measure}\n\n{}", of_measure(&figures, report.rounds));
    }
    text + &left_out(report)
}

/// What was left out.
pub fn left_out(report: &Report) -> String {
    let lines = report.left_out.0.iter().map(|left_out| format!("Left out: {left_out}.\n"));
    lines.collect()
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::JobsPerSecond | Unit::Nanoseconds | Unit::Bytes => grouped(value),
        Unit::Microseconds => format!("{value:.1}"),
        Unit::Count if value >= 100.0 => grouped(value),
        Unit::Count => format!("{value:.2}"),
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0).max(2)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "| {cell:<width$} "),
                _ => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column == 0 { '-' } else { ':' };
                let _ = write!(text, "|{}{end}", "-".repeat(width + 1));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(contender: &str, concurrency: Option<usize>, value: f64) -> Figure {
        Figure {
            part: "memory".to_owned(),
            measure: "drain".to_owned(),
            contender: contender.to_owned(),
            concurrency,
            unit: Unit::JobsPerSecond,
            samples: vec![value],
            cpu: vec![1.0],
        }
    }

    #[test]
    fn ratios_are_at_the_same_concurrency_or_at_our_best() {
        let figures = [
            figure(OURS, Some(1), 1000.0),
            figure(OURS, Some(16), 3000.0),
            figure("a", Some(1), 500.0),
            figure("b", None, 1500.0),
        ];
        let figures: Vec<_> = figures.iter().collect();
        assert_eq!(ratio(&figures, figures[2]), Some(2.0));
        assert_eq!(ratio(&figures, figures[3]), Some(2.0));
        assert_eq!(ratio(&figures, figures[0]), None);
        assert_eq!(bests(&figures)[1], ("a".to_owned(), 500.0, Some(6.0)));
        let table = of_measure(&figures, 1);
        assert!(table.contains("| this framework |        16 |  3,000 |"), "{table}");
        assert!(table.contains("| ours : it (more is better) |"), "{table}");
        assert!(!table.contains("sample"), "{table}");
    }

    #[test]
    fn a_table_says_of_how_few_samples_it_is() {
        let (one, other) = (figure(OURS, Some(16), 1000.0), figure("a", None, 500.0));
        let table = of_measure(&[&one, &other], 7);
        assert!(table.ends_with("\nOf one sample each.\n"), "{table}");
        let all = Figure { samples: vec![1.0; 7], ..other };
        let table = of_measure(&[&one, &all], 7);
        assert!(table.ends_with("\nOf fewer: this framework at 16 of one sample.\n"), "{table}");
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (value, text) in [(0.0, "0"), (999.4, "999"), (1000.0, "1,000"), (1e7, "10,000,000")] {
            assert_eq!(grouped(value), text);
        }
    }
}
