//! Charts as SVG.
//!
//! The line of kvtrie itself has the same colour in every chart and lies on top. The other lines
//! are wider the further below they lie, and their markers larger, so that lines that coincide are
//! all visible. The legend stands above the plot, and the caption, with machine and date, below it.

mod axis;

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
/// Colours of the other lines, from the Okabe-Ito palette: colour-blind readers can tell them apart.
const OTHERS: [&str; 5] = ["#d55e00", "#009e73", "#cc79a7", "#e69f00", "#6e6e6e"];

/// One chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What the chart shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// How points are drawn.
    pub mark: Mark,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
}

/// How the points of a chart are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line with a marker at each point.
    Points,
    /// A line without markers, for many points.
    Curve,
    /// A bar from the horizontal axis to each point. The horizontal axis must have names.
    Bars,
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

    /// Draws a marker: a shape of its own for each level.
    fn marker(&self, out: &mut Svg, (x, y): (f64, f64)) {
        let Self { colour, level } = self;
        let r = 3.5 + 0.8 * *level as f64;
        let fill = if *level == 0 { colour } else { "white" };
        let look = format!("fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.6\"");
        let corners = match level % 4 {
            0 => {
                return out.push(format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\" {look}/>"
                ));
            }
            1 => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
            2 => vec![
                (0.0, -r * 1.3),
                (r * 1.3, 0.0),
                (0.0, r * 1.3),
                (-r * 1.3, 0.0),
            ],
            _ => vec![(0.0, -r * 1.2), (r * 1.2, r), (-r * 1.2, r)],
        };
        let corners = corners
            .into_iter()
            .map(|(right, down)| (x + right, y + down));
        out.push(format_args!("<path d=\"{}Z\" {look}/>", path(corners)));
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
        let mut lines: Vec<_> = self.lines.iter().zip(&styles).enumerate().collect();
        lines.sort_by_key(|(_, (_, style))| std::cmp::Reverse(style.level));
        for (place, (line, style)) in lines {
            if self.mark == Mark::Bars {
                self.draw_bars(out, &plot, place, line, style);
            } else {
                self.draw_line(out, &plot, line, style);
            }
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
            let (colour, thick) = (style.colour, style.width());
            let (middle, end) = (y - 4.5, x + sample - 6.0);
            out.push(format_args!(
                "<path d=\"M{x:.1} {middle:.1}H{end:.1}\" stroke=\"{colour}\" stroke-width=\"{thick:.1}\"/>"
            ));
            if self.mark == Mark::Points {
                style.marker(out, ((x + end) / 2.0, middle));
            }
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

    fn draw_line(&self, out: &mut Svg, plot: &Plot, line: &Line, style: &Style) {
        let place = |&(x, y): &(f64, f64)| (plot.x(x), plot.y(y));
        let (colour, width) = (style.colour, style.width());
        out.push(format_args!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\" \
             stroke-linejoin=\"round\"/>",
            path(line.points.iter().map(place))
        ));
        if self.mark == Mark::Points {
            let markers = line.points.iter().map(place);
            markers.for_each(|point| style.marker(out, point));
        }
    }

    /// Draws the bars of a line beside those of the other lines.
    fn draw_bars(&self, out: &mut Svg, plot: &Plot, place: usize, line: &Line, style: &Style) {
        let colour = style.colour;
        let share = 0.7 / self.lines.len() as f64;
        for &(x, y) in &line.points {
            let start = plot.x(x - 0.35 + share * place as f64);
            let width = plot.x(x + share) - plot.x(x);
            let (top, bottom) = (plot.y(y), plot.bottom);
            out.push(format_args!(
                "<path d=\"M{start:.1} {bottom}V{top:.1}h{width:.1}V{bottom}Z\" fill=\"{colour}\"/>"
            ));
        }
    }
}

/// Returns the commands of a path through some points.
fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let command = |(place, (x, y))| {
        let letter = if place == 0 { 'M' } else { 'L' };
        format!("{letter}{x:.1} {y:.1}")
    };
    points.enumerate().map(command).collect()
}

#[cfg(test)]
mod tests;
