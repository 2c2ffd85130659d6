//! Charts as SVG.
//!
//! The line of kvtrie itself has the same colour in every chart and lies on top. The other lines
//! are wider the further below they lie, and their markers larger, so that lines that coincide are
//! all visible.

mod axis;

use std::cmp::Reverse;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

pub use axis::Axis;
use axis::Fitted;

/// Width and height of one chart in pixels.
const SIZE: (f64, f64) = (580.0, 410.0);
/// Space for the caption below the charts.
const CAPTION: f64 = 30.0;
/// Space around the plot: left, right, below.
const MARGINS: (f64, f64, f64) = (78.0, 18.0, 52.0);
/// Height of the title and of each row of the legend.
const ROW: f64 = 19.0;
/// Widths of a letter and of a line's sample in the legend.
const LEGEND: (f64, f64) = (7.6, 34.0);
/// The colour of kvtrie.
const KVTRIE: &str = "#0072b2";
/// Colours of the other lines, from the Okabe-Ito palette: colour-blind readers can tell them
/// apart.
const OTHERS: [&str; 6] = [
    "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#6e6e6e", "#56b4e9",
];

/// One chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What the chart shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
}

/// A named sequence of points.
#[derive(Debug, Clone)]
pub struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    is_kvtrie: bool,
}

impl Line {
    /// Creates the line of kvtrie itself.
    pub fn kvtrie(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            is_kvtrie: true,
        }
    }

    /// Creates any other line.
    pub fn other(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            is_kvtrie: false,
            ..Self::kvtrie(name, points)
        }
    }
}

/// Puts values at the places of an axis of names: the first at 0, the next at 1 and so on.
pub fn places(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    (0..).map(f64::from).zip(values).collect()
}

/// Writes charts into an SVG file, two in a row, over a caption that names the machine and the date
/// (see [`machine::description`](crate::machine::description)).
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, caption: &str, charts: &[Chart]) -> io::Result<()> {
    fs::write(path, svg(caption, charts))
}

/// Returns the charts as an SVG document.
#[must_use]
pub fn svg(caption: &str, charts: &[Chart]) -> String {
    let columns = charts.len().clamp(1, 2);
    let rows = charts.len().div_ceil(columns);
    let (width, height) = (SIZE.0 * columns as f64, SIZE.1 * rows as f64 + CAPTION);
    let mut out = Svg(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    ));
    for (place, chart) in charts.iter().enumerate() {
        let left = SIZE.0 * (place % columns) as f64;
        let top = SIZE.1 * (place / columns) as f64;
        out.push(format_args!("<g transform=\"translate({left} {top})\">"));
        chart.draw(&mut out);
        out.push(format_args!("</g>"));
    }
    out.text(width - 12.0, height - 12.0, "end", "fill=\"#666\"", caption);
    out.0 + "</svg>\n"
}

/// An SVG document in the making.
struct Svg(String);

impl Svg {
    /// Appends a line.
    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{element}").expect("a string accepts every line");
    }

    /// Appends a text that starts, ends or has its middle at a place.
    fn text(&mut self, x: f64, y: f64, anchor: &str, more: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>"
        ));
    }
}

/// How a line looks. The higher its level, the further below the other lines it lies.
struct Style {
    colour: &'static str,
    level: usize,
}

impl Style {
    /// Returns the width of the line.
    fn width(&self) -> f64 {
        2.0 + 1.1 * self.level as f64
    }

    /// Draws a line through some points, with a marker at each.
    fn draw(&self, out: &mut Svg, points: &[(f64, f64)]) {
        let (colour, width, radius) = (self.colour, self.width(), 1.0 + self.width());
        let fill = if self.level == 0 { colour } else { "white" };
        let path: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1} {y:.1}"))
            .collect();
        let path = path.join("L");
        out.push(format_args!(
            "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\"/>"
        ));
        for (x, y) in points {
            out.push(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" \
                 stroke=\"{colour}\" stroke-width=\"1.6\"/>"
            ));
        }
    }
}

/// Where the plot of a chart is, and its axes.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Fitted,
    y: Fitted,
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.place(value)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.place(value)
    }
}

impl Chart {
    fn draw(&self, out: &mut Svg) {
        out.text(
            SIZE.0 / 2.0,
            24.0,
            "middle",
            "font-size=\"16\"",
            &self.title,
        );
        let styles = self.styles();
        let top = self.draw_legend(out, &styles);
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let plot = Plot {
            left: MARGINS.0,
            right: SIZE.0 - MARGINS.1,
            top,
            bottom: SIZE.1 - MARGINS.2,
            x: self.x.fit(points().map(|point| point.0)),
            y: self.y.fit(points().map(|point| point.1)),
        };
        self.draw_axes(out, &plot);
        let mut lines: Vec<_> = self.lines.iter().zip(&styles).collect();
        lines.sort_by_key(|(_, style)| Reverse(style.level));
        for (line, style) in lines {
            let place = |&(x, y): &(f64, f64)| (plot.x(x), plot.y(y));
            let points: Vec<_> = line.points.iter().map(place).collect();
            style.draw(out, &points);
        }
    }

    /// Returns the style of each line.
    fn styles(&self) -> Vec<Style> {
        let mut others = 0;
        let style = |line: &Line| {
            let level = if line.is_kvtrie { 0 } else { others + 1 };
            others += usize::from(!line.is_kvtrie);
            let colour = match level {
                0 => KVTRIE,
                level => OTHERS[(level - 1) % OTHERS.len()],
            };
            Style { colour, level }
        };
        self.lines.iter().map(style).collect()
    }

    /// Draws the legend and returns where the plot below it starts.
    fn draw_legend(&self, out: &mut Svg, styles: &[Style]) -> f64 {
        let (letter, sample) = LEGEND;
        let (mut x, mut y) = (MARGINS.0, 24.0 + ROW);
        for (line, style) in self.lines.iter().zip(styles) {
            let width = sample + letter * (line.name.chars().count() + 2) as f64;
            if x + width > SIZE.0 && x > MARGINS.0 {
                (x, y) = (MARGINS.0, y + ROW);
            }
            let (start, end, middle) = (x + 4.0, x + sample - 10.0, y - 4.5);
            style.draw(out, &[(start, middle), (end, middle)]);
            out.text(x + sample, y, "start", "", &line.name);
            x += width;
        }
        y + ROW * 0.8
    }

    /// Draws grid lines, ticks and labels.
    fn draw_axes(&self, out: &mut Svg, plot: &Plot) {
        let &Plot {
            left,
            right,
            top,
            bottom,
            ..
        } = plot;
        for (value, label) in &plot.y.ticks {
            let y = plot.y(*value);
            out.push(format_args!(
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>"
            ));
            out.text(left - 8.0, y + 4.5, "end", "", label);
        }
        for (value, label) in &plot.x.ticks {
            let x = plot.x(*value);
            out.push(format_args!(
                "<path d=\"M{x:.1} {bottom}v5\" stroke=\"#555\"/>"
            ));
            out.text(x, bottom + 19.0, "middle", "", label);
        }
        out.push(format_args!(
            "<path d=\"M{left} {top:.1}V{bottom}H{right}\" fill=\"none\" stroke=\"#555\"/>"
        ));
        out.text(
            (left + right) / 2.0,
            bottom + 40.0,
            "middle",
            "",
            &self.x.label,
        );
        let (x, y) = (18.0, (top + bottom) / 2.0);
        let turned = format!("transform=\"rotate(-90 {x} {y:.1})\"");
        out.text(x, y, "middle", &turned, &self.y.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvtrie_keeps_its_colour_and_lies_on_top() {
        let other = Line::other("a < b & c", vec![(0.0, 2.0), (1.0, 9.0)]);
        let own = Line::kvtrie("kvtrie", vec![(0.0, 2.0), (1.0, 2.0)]);
        for lines in [[own.clone(), other.clone()], [other, own]] {
            let chart = Chart {
                title: "Throughput".to_owned(),
                x: Axis::names("threads", vec!["1".to_owned(), "2".to_owned()]),
                y: Axis::linear("million lookups a second"),
                lines: lines.into(),
            };
            let svg = svg("a machine, 2026-11-27", &[chart]);
            let labels = [">0<", ">8<", ">10<", ">1<", ">2<", ">threads<"];
            let names = [">a machine, 2026-11-27<", ">a &lt; b &amp; c<"];
            for text in labels.iter().chain(&names) {
                assert!(svg.contains(text), "{text}");
            }
            let plot = &svg[svg.find(">million").expect("the label")..];
            let own = plot.find(KVTRIE).expect("the line of kvtrie");
            let other = plot.find(OTHERS[0]).expect("the other line");
            assert!(own > other, "kvtrie is drawn last");
            assert!(plot[own..].contains("stroke-width=\"2.0\""));
            assert!(plot[other..own].contains("stroke-width=\"3.1\""));
        }
    }
}
