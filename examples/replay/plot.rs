//! The comparison as a picture: hit ratio against capacity.

use std::error::Error;

use plotters::coord::combinators::{BindKeyPoints, LogCoord, WithKeyPoints};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::compare::{Comparison, PERCENTS, Row};

/// Width and height in pixels.
const SIZE: (u32, u32) = (760, 440);

/// Percent of the blocks across, hit ratio upwards.
type Axes = Cartesian2d<WithKeyPoints<LogCoord<f64>>, RangedCoordf64>;
/// The picture.
type Chart<'a, 's> = ChartContext<'a, SVGBackend<'s>, Axes>;
/// One line of it.
type Line<'a> = (&'a str, RGBColor, Box<dyn Fn(&Row) -> f64 + 'a>);

/// Draws the hit ratios as an SVG document.
pub fn draw(comparison: &Comparison) -> String {
    let mut svg = String::new();
    draw_on(&mut svg, comparison).expect("a string takes whatever is drawn on it");
    svg
}

fn draw_on(svg: &mut String, comparison: &Comparison) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let caption = format!(
        "{}: blocks of {} tokens, {} requests in flight",
        comparison.workload, comparison.block_size, comparison.in_flight
    );
    let percents = PERCENTS.map(|percent| percent as f64);
    let across = (percents[0]..percents[PERCENTS.len() - 1]).log_scale();
    let highest = (comparison.unlimited * 1.1).max(0.01);
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(across.with_key_points(percents.to_vec()), 0.0..highest)?;
    draw_axes(&mut chart)?;
    draw_lines(&mut chart, comparison)?;
    area.present()?;
    Ok(())
}

fn draw_axes(chart: &mut Chart<'_, '_>) -> Result<(), Box<dyn Error>> {
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 15))
        .x_desc("capacity, percent of the distinct blocks")
        .y_desc("share of the prompt tokens found cached")
        .x_label_formatter(&|percent| format!("{percent:.0}"))
        .y_label_formatter(&|ratio| format!("{ratio:.2}"))
        .draw()?;
    Ok(())
}

fn draw_lines<'s>(
    chart: &mut Chart<'s, 's>,
    comparison: &Comparison,
) -> Result<(), Box<dyn Error>> {
    // The Okabe-Ito colours, which the colour-blind tell apart too; kvtrie lies on top.
    let lines: [Line<'_>; 4] = [
        (
            "no limit",
            RGBColor(150, 150, 150),
            Box::new(|_| comparison.unlimited),
        ),
        (
            "offline, by next use",
            RGBColor(0, 158, 115),
            Box::new(|row| row.next_use),
        ),
        ("exact LRU", RGBColor(213, 94, 0), Box::new(|row| row.lru)),
        ("kvtrie", RGBColor(0, 114, 178), Box::new(|row| row.kvtrie)),
    ];
    for (name, colour, ratio) in lines {
        let stroke = colour.stroke_width(2);
        let point = |row: &Row| (row.percent as f64, ratio(row));
        let points = || comparison.rows.iter().map(point);
        chart
            .draw_series(LineSeries::new(points(), stroke))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
        chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 15))
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}
