//! The comparison as a picture: hit ratio against capacity.

use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;

use crate::compare::{Comparison, PERCENTS, Row};

/// Width and height in pixels.
const SIZE: (u32, u32) = (760, 440);

/// One line of the picture.
type Line<'a> = (&'a str, RGBColor, Box<dyn Fn(&Row) -> f64 + 'a>);

/// Draws the hit ratios as an SVG document.
pub fn draw(comparison: &Comparison) -> String {
    let mut svg = String::new();
    draw_on(&mut svg, comparison).expect("a string takes whatever is drawn on it");
    svg
}

fn draw_on(svg: &mut String, comparison: &Comparison) -> Result<(), Box<dyn std::error::Error>> {
    let lines: [Line<'_>; 4] = [
        (
            "no limit",
            RGBColor(150, 150, 150),
            Box::new(|_| comparison.unlimited),
        ),
        (
            "offline bound",
            RGBColor(0, 158, 115),
            Box::new(|row| row.offline),
        ),
        ("exact LRU", RGBColor(213, 94, 0), Box::new(|row| row.lru)),
        ("kvtrie", RGBColor(0, 90, 180), Box::new(|row| row.kvtrie)),
    ];
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
        .caption(caption, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(across.with_key_points(percents.to_vec()), 0.0..highest)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 14))
        .x_desc("capacity, percent of the distinct blocks")
        .y_desc("share of the prompt tokens found cached")
        .x_label_formatter(&|percent| format!("{percent:.0}"))
        .y_label_formatter(&|ratio| format!("{ratio:.2}"))
        .draw()?;
    for (name, colour, ratio) in lines {
        let points = || {
            comparison
                .rows
                .iter()
                .map(|row| (row.percent as f64, ratio(row)))
        };
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 14))
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    area.present()?;
    Ok(())
}
