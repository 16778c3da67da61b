//! Charts as SVG: a line for each contender, over a few places from left to right, on a logarithmic
//! scale. Plain text, with nothing to depend on.

use std::fmt::Write as _;

use crate::table::grouped;

const COLOURS: [&str; 6] = ["#1f6feb", "#d1242f", "#9a6700", "#1a7f37", "#8250df", "#57606a"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
/// Where the lines may be.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 704.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = 330.0;
/// How many names are in a row of the legend.
const NAMES: usize = 4;

/// What is to be drawn.
#[derive(Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What it counts.
    pub unit: &'static str,
    /// The places from left to right.
    pub places: Vec<String>,
    /// What runs over them.
    pub lines: Vec<Line>,
}

/// The values of one contender.
#[derive(Debug)]
pub struct Line {
    /// Whose they are.
    pub name: String,
    /// A value for each place, or one for all of them.
    pub values: Values,
}

/// The height of a line.
#[derive(Debug, PartialEq)]
pub enum Values {
    /// One for each place, where there is one.
    Each(Vec<Option<f64>>),
    /// The same everywhere.
    Level(f64),
}

impl Values {
    fn all(&self) -> Vec<f64> {
        match self {
            Self::Each(values) => values.iter().flatten().copied().collect(),
            Self::Level(value) => vec![*value],
        }
    }
}

/// The chart as SVG; `None` if nothing in it is above zero.
pub fn svg(chart: &Chart) -> Option<String> {
    let values = chart.lines.iter().flat_map(|line| line.values.all()).filter(|value| *value > 0.0);
    let marks = marks(&values.collect::<Vec<_>>())?;
    let (least, most) = (marks.first()?.ln(), marks.last()?.ln());
    let y = |value: f64| BOTTOM - (value.ln() - least) / (most - least) * (BOTTOM - TOP);
    let step = (RIGHT - LEFT) / chart.places.len().max(1) as f64;
    let x = |place: usize| LEFT + (place as f64 + 0.5) * step;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\">{}, {}</text>\n",
        escaped(&chart.title),
        chart.unit,
    );
    for mark in &marks {
        let y = y(*mark);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#d0d7de\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            tick(*mark),
        );
    }
    for (place, name) in chart.places.iter().enumerate() {
        let (x, y) = (x(place), BOTTOM + 20.0);
        let name = escaped(name);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>");
    }
    for (index, line) in chart.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        svg.push_str(&legend(index, &line.name, colour));
        match &line.values {
            Values::Level(value) if *value > 0.0 => {
                let _ = writeln!(
                    svg,
                    "<path d=\"M{LEFT} {:.1}H{RIGHT}\" stroke=\"{colour}\" stroke-width=\"2\" \
                     stroke-dasharray=\"6 4\"/>",
                    y(*value),
                );
            }
            Values::Level(_) => {}
            Values::Each(values) => {
                let points = values.iter().enumerate();
                let points = points.filter_map(|(place, value)| {
                    let value = value.filter(|value| *value > 0.0)?;
                    Some((x(place), y(value)))
                });
                svg.push_str(&polyline(&points.collect::<Vec<_>>(), colour));
            }
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn legend(index: usize, name: &str, colour: &str) -> String {
    let x = 16.0 + (index % NAMES) as f64 * 174.0;
    let y = 40.0 + (index / NAMES) as f64 * 16.0;
    format!(
        "<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
         <text x=\"{}\" y=\"{}\" font-size=\"11\">{}</text>\n",
        x + 14.0,
        y + 9.0,
        escaped(name),
    )
}

fn polyline(points: &[(f64, f64)], colour: &str) -> String {
    let joined = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}"));
    let mut text = format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
        joined.collect::<Vec<_>>().join(" "),
    );
    for (x, y) in points {
        let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
    }
    text
}

/// The marks of the scale: 1, 2, 5, 10 and so on, from below the least value to above the most, and
/// powers of ten alone where those would be many.
fn marks(values: &[f64]) -> Option<Vec<f64>> {
    let least = values.iter().copied().reduce(f64::min)?;
    let most = values.iter().copied().reduce(f64::max)?;
    let steps: &[f64] = if most / least > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let (low, high) = (least.log10().floor() as i32, most.log10().floor() as i32 + 1);
    let powers = (low..=high).map(|power| 10_f64.powi(power));
    let all: Vec<_> = powers.flat_map(|power| steps.iter().map(move |step| step * power)).collect();
    let first = all.iter().rposition(|mark| *mark <= least).unwrap_or(0);
    let last = all.iter().position(|mark| *mark >= most).unwrap_or(all.len() - 1);
    // There are always two, or nothing could be in between.
    Some(all[first..=last.max(first + 1)].to_vec())
}

fn tick(mark: f64) -> String {
    if mark < 1.0 { format!("{mark}") } else { grouped(mark) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_around_all_values() {
        assert_eq!(marks(&[120.0, 900.0]).unwrap(), [100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(marks(&[5.0]).unwrap(), [5.0, 10.0]);
        assert_eq!(marks(&[3.0, 4000.0]).unwrap(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(marks(&[]), None);
    }

    #[test]
    fn lines_run_from_the_lowest_mark_to_the_highest() {
        let line = |name: &str, values| Line { name: name.to_owned(), values };
        let chart = Chart {
            title: "drain".to_owned(),
            unit: "jobs/s",
            places: vec!["1".to_owned(), "16".to_owned(), "64".to_owned()],
            lines: vec![
                line("a & b", Values::Each(vec![Some(100.0), None, Some(1000.0)])),
                line("c", Values::Level(1000.0)),
            ],
        };
        let svg = svg(&chart).unwrap();
        assert!(svg.contains("points=\"192.3,330.0 601.7,80.0\""), "{svg}");
        assert!(svg.contains("d=\"M90 80.0H704\" stroke=\"#d1242f\""), "{svg}");
        assert!(svg.contains(">a &amp; b<") && svg.contains(">1,000<"), "{svg}");
        assert!(super::svg(&Chart { lines: Vec::new(), ..chart }).is_none());
    }
}
