//! Bars as SVG: a group for each concurrency, a bar for each contender. Plain text, with nothing to
//! depend on.

use std::fmt::Write as _;

use crate::figure::Figure;
use crate::table::grouped;

const COLOURS: [&str; 6] = ["#1f6feb", "#d1242f", "#bf8700", "#1a7f37", "#8250df", "#57606a"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Where the bars begin and end.
const LEFT: f64 = 90.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = 320.0;

/// A chart of one measure's medians; `None` if there are fewer than two of them.
pub fn of_measure(measure: &str, figures: &[&Figure]) -> Option<String> {
    let most = figures.iter().map(|figure| figure.median()).fold(0.0, f64::max);
    if figures.len() < 2 || most <= 0.0 {
        return None;
    }
    let contenders = distinct(figures.iter().map(|figure| figure.contender.as_str()));
    let groups = distinct(figures.iter().map(|figure| figure.concurrency));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\">{measure}, {}</text>\n",
        figures[0].unit.label(),
    );
    for (index, contender) in contenders.iter().enumerate() {
        let (x, colour) = (16.0 + index as f64 * 140.0, colour(index));
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"40\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"49\" font-size=\"10\">{contender}</text>",
            x + 14.0,
        );
    }
    for line in 0..=4 {
        let share = f64::from(line) / 4.0;
        let y = BOTTOM - share * (BOTTOM - TOP);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y}H{}\" stroke=\"#d0d7de\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - 16.0,
            LEFT - 6.0,
            y + 4.0,
            grouped(most * share),
        );
    }
    let group_width = (WIDTH - 16.0 - LEFT) / groups.len() as f64;
    let bar_width = group_width * 0.8 / contenders.len() as f64;
    for (group, concurrency) in groups.iter().enumerate() {
        let x = LEFT + (group as f64 + 0.1) * group_width;
        let label = match concurrency {
            Some(concurrency) => format!("{concurrency} at a time"),
            None => "one after the other".to_owned(),
        };
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\">{label}</text>", BOTTOM + 18.0);
        for figure in figures.iter().filter(|figure| figure.concurrency == *concurrency) {
            let place = contenders.iter().position(|it| *it == figure.contender).unwrap_or(0);
            let height = figure.median() / most * (BOTTOM - TOP);
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
                x + place as f64 * bar_width,
                BOTTOM - height,
                bar_width * 0.9,
                colour(place),
            );
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Unit;

    #[test]
    fn the_best_bar_is_as_high_as_there_is_room() {
        let figure = |contender: &str, value| Figure {
            part: "memory".to_owned(),
            measure: "drain".to_owned(),
            contender: contender.to_owned(),
            concurrency: Some(16),
            unit: Unit::JobsPerSecond,
            samples: vec![value],
            cpu: Vec::new(),
        };
        let figures = [figure("a", 1000.0), figure("b", 500.0)];
        let svg = of_measure("drain", &figures.iter().collect::<Vec<_>>()).unwrap();
        assert!(svg.contains("height=\"240.0\"") && svg.contains("height=\"120.0\""), "{svg}");
        assert!(svg.contains("16 at a time") && svg.contains(">1,000<"), "{svg}");
        assert!(of_measure("drain", &[&figures[0]]).is_none());
    }
}
