//! Line charts as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Size of one chart in pixels.
const SIZE: (u32, u32) = (560, 380);
/// Colours of the lines, told apart by colour-blind readers too.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

/// One chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What the chart shows.
    pub title: String,
    /// What goes to the right.
    pub x: String,
    /// What goes up.
    pub y: String,
    /// The names of the places on the horizontal axis, in order.
    pub places: Vec<String>,
    /// Whether the vertical axis is logarithmic; otherwise it starts at zero.
    pub logarithmic: bool,
    /// Whether the lines fall, so that their names find room above their end and not their start.
    pub falling: bool,
    /// Name and values, one for each place.
    pub lines: Vec<(String, Vec<f64>)>,
}

/// Draws charts side by side, two in a row.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn draw(path: &Path, charts: &[Chart]) -> Result<(), Box<dyn std::error::Error>> {
    let columns = charts.len().min(2);
    let rows = charts.len().div_ceil(2);
    let area =
        SVGBackend::new(path, (SIZE.0 * columns as u32, SIZE.1 * rows as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (chart, part) in charts.iter().zip(area.split_evenly((rows, columns))) {
        if chart.logarithmic {
            draw_one(chart, &part, chart.range(true).log_scale())?;
        } else {
            draw_one(chart, &part, chart.range(false))?;
        }
    }
    area.present()?;
    Ok(())
}

impl Chart {
    /// From below the lowest value (or zero) to above the highest.
    fn range(&self, logarithmic: bool) -> Range<f64> {
        let values = || {
            self.lines
                .iter()
                .flat_map(|(_, values)| values.iter().copied())
        };
        let high = values().fold(f64::MIN_POSITIVE, f64::max);
        let low = values().fold(high, f64::min) * 0.8;
        // The names of the lines find room above them.
        if logarithmic {
            low..high * 1.3
        } else {
            0.0..high * 1.4
        }
    }

    /// Where the names of the lines stand.
    fn names(&self) -> SeriesLabelPosition {
        if self.falling {
            SeriesLabelPosition::UpperRight
        } else {
            SeriesLabelPosition::UpperLeft
        }
    }

    /// The name of a place on the horizontal axis, or nothing between two places.
    fn place_name(&self, place: f64) -> String {
        let whole = place.round();
        let near = (place - whole).abs() < 0.05 && whole >= 0.0;
        near.then(|| self.places.get(whole as usize).cloned())
            .flatten()
            .unwrap_or_default()
    }
}

/// Draws one chart with the vertical axis given.
fn draw_one<Y>(
    chart: &Chart,
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    range: Y,
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let last = chart.places.len().saturating_sub(1) as f64;
    let mut axes = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(62)
        .build_cartesian_2d(-0.2..last + 0.2, range)?;
    axes.configure_mesh()
        .x_desc(&chart.x)
        .y_desc(&chart.y)
        .x_labels(chart.places.len() * 2)
        .x_label_formatter(&|&place| chart.place_name(place))
        .y_label_formatter(&|&value| short(value))
        .y_labels(6)
        .disable_x_mesh()
        .light_line_style(WHITE)
        .draw()?;
    for ((name, values), &colour) in chart.lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<(f64, f64)> = values
            .iter()
            .enumerate()
            .map(|(place, &value)| (place as f64, value))
            .collect();
        axes.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        axes.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 3, colour.filled())),
        )?;
    }
    axes.configure_series_labels()
        .position(chart.names())
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

/// A number as short as an axis label should be.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{}", (v * 1000.0).round() / 1000.0),
    }
}
