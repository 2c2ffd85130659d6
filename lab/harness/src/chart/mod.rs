//! Charts as SVG.
//!
//! The line of kvtrie itself has the same colour in every chart and lies on top. The other lines
//! are wider the further below they lie, and their markers larger, so that lines that coincide are
//! all visible.

mod axis;

use std::cmp::Reverse;

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
/// The colour of kvtrie, then those of the other lines, from the Okabe-Ito palette: colour-blind
/// readers can tell them apart.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#6e6e6e", "#56b4e9",
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

    /// Creates the line of a cache, of which "kvtrie" is one, over an axis of names: the first
    /// value belongs to the first name and so on.
    pub fn of_cache(name: &str, values: impl IntoIterator<Item = f64>) -> Self {
        Self {
            name: name.to_owned(),
            points: (0..).map(f64::from).zip(values).collect(),
            is_kvtrie: name == "kvtrie",
        }
    }
}

/// Returns charts as an SVG document, two in a row, over a caption that names the machine and the
/// date (see [`machine::description`](crate::machine::description)).
#[must_use]
pub fn svg(caption: &str, charts: &[Chart]) -> String {
    let columns = charts.len().clamp(1, 2);
    let rows = charts.len().div_ceil(columns);
    let (width, height) = (SIZE.0 * columns as f64, SIZE.1 * rows as f64 + CAPTION);
    let draw = |(place, chart): (usize, &Chart)| {
        let left = SIZE.0 * (place % columns) as f64;
        let top = SIZE.1 * (place / columns) as f64;
        let chart = chart.draw();
        format!("<g transform=\"translate({left} {top})\">\n{chart}</g>\n")
    };
    let drawn: String = charts.iter().enumerate().map(draw).collect();
    let corner = (width - 12.0, height - 12.0);
    let caption = text(corner, "end", "fill=\"#666\"", caption);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         {drawn}{caption}</svg>\n"
    )
}

/// Returns a text that starts, ends or has its middle at a place.
fn text((x, y): (f64, f64), anchor: &str, more: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>\n")
}

/// Returns a line through some points, with a marker at each. The higher its level, the further
/// below the other lines it lies.
fn path(level: usize, points: &[(f64, f64)]) -> String {
    let width = 2.0 + 1.1 * level as f64;
    let radius = 1.0 + width;
    let colour = match level {
        0 => COLOURS[0],
        other => COLOURS[1 + (other - 1) % (COLOURS.len() - 1)],
    };
    let fill = if level == 0 { colour } else { "white" };
    let corners = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}"));
    let corners = corners.collect::<Vec<_>>().join("L");
    let circle = |(x, y): &(f64, f64)| {
        format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\" \
             stroke=\"{colour}\" stroke-width=\"1.6\"/>\n"
        )
    };
    let circles: String = points.iter().map(circle).collect();
    format!(
        "<path d=\"M{corners}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\"/>\n\
         {circles}"
    )
}

impl Chart {
    fn draw(&self) -> String {
        let levels = self.levels();
        let (legend, top) = self.legend(&levels);
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let x_ends = (MARGINS.0, SIZE.0 - MARGINS.1);
        let y_ends = (SIZE.1 - MARGINS.2, top);
        let x = self.x.fit(points().map(|point| point.0), x_ends);
        let y = self.y.fit(points().map(|point| point.1), y_ends);
        let mut lines: Vec<_> = self.lines.iter().zip(&levels).collect();
        lines.sort_by_key(|(_, level)| Reverse(**level));
        let draw = |(line, level): (&Line, &usize)| {
            let points = line.points.iter();
            let places = points.map(|point| (x.place(point.0), y.place(point.1)));
            path(*level, &places.collect::<Vec<_>>())
        };
        let lines: String = lines.into_iter().map(draw).collect();
        let middle = (SIZE.0 / 2.0, 24.0);
        let title = text(middle, "middle", "font-size=\"16\"", &self.title);
        title + &legend + &self.axes(&x, &y) + &lines
    }

    /// Returns the level of each line: 0 for kvtrie, and 1, 2, … for the others.
    fn levels(&self) -> Vec<usize> {
        let mut others = 1..;
        let level = |line: &Line| match line.is_kvtrie {
            true => 0,
            false => others.next().expect("there is always a next number"),
        };
        self.lines.iter().map(level).collect()
    }

    /// Returns the legend, and where the plot below it starts.
    fn legend(&self, levels: &[usize]) -> (String, f64) {
        let (letter, sample) = LEGEND;
        let (mut x, mut y) = (MARGINS.0, 24.0 + ROW);
        let mut legend = String::new();
        for (line, &level) in self.lines.iter().zip(levels) {
            let width = sample + letter * (line.name.chars().count() + 2) as f64;
            if x + width > SIZE.0 && x > MARGINS.0 {
                (x, y) = (MARGINS.0, y + ROW);
            }
            let ends = [x + 4.0, x + sample - 10.0].map(|x| (x, y - 4.5));
            legend += &path(level, &ends);
            legend += &text((x + sample, y), "start", "", &line.name);
            x += width;
        }
        (legend, y + ROW * 0.8)
    }

    /// Returns grid lines, ticks and labels.
    fn axes(&self, x: &Fitted, y: &Fitted) -> String {
        let ((left, right), (bottom, top)) = (x.pixels, y.pixels);
        let row = |(value, label): &(f64, String)| {
            let y = y.place(*value);
            let label = text((left - 8.0, y + 4.5), "end", "", label);
            format!("<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\n{label}")
        };
        let column = |(value, label): &(f64, String)| {
            let x = x.place(*value);
            let label = text((x, bottom + 19.0), "middle", "", label);
            format!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"#555\"/>\n{label}")
        };
        let rows = y.ticks.iter().map(row);
        let ticks: String = rows.chain(x.ticks.iter().map(column)).collect();
        let below = ((left + right) / 2.0, bottom + 40.0);
        let beside = (18.0, (top + bottom) / 2.0);
        let turned = format!("transform=\"rotate(-90 {} {:.1})\"", beside.0, beside.1);
        let below = text(below, "middle", "", &self.x.label);
        let beside = text(beside, "middle", &turned, &self.y.label);
        format!(
            "{ticks}<path d=\"M{left} {top:.1}V{bottom}H{right}\" fill=\"none\" stroke=\"#555\"/>\n\
             {below}{beside}"
        )
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
                x: Axis::names("threads", 1..=2),
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
            let own = plot.find(COLOURS[0]).expect("the line of kvtrie");
            let other = plot.find(COLOURS[1]).expect("the other line");
            assert!(own > other, "kvtrie is drawn last");
            assert!(plot[own..].contains("stroke-width=\"2.0\""));
            assert!(plot[other..own].contains("stroke-width=\"3.1\""));
        }
    }
}
