//! The chart beside the table: prefill work, and how long users wait for a first token.

use std::{
    error::Error,
    fs::{self, File},
    path::Path,
    time::Duration,
};

use plotters::prelude::*;

use crate::{BadInput, Summary};

/// Width and height of the picture.
const SIZE: (u32, u32) = (960, 400);

/// Colours of the runs, in order: without and with the cache.
const COLOURS: [RGBColor; 2] = [RGBColor(150, 150, 150), RGBColor(30, 110, 190)];

/// Makes sure that a chart can be written there, before hours have gone into its figures.
///
/// # Errors
///
/// It cannot.
pub fn prepare(path: &Path) -> Result<(), BadInput> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| File::create(path))
        .map(drop)
        .map_err(|e| unwritable(path, &e))
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// Draws the runs, each under its name, into an SVG file.
///
/// # Errors
///
/// The file cannot be written.
pub fn draw(path: &Path, runs: &[(&str, &Summary)]) -> Result<(), BadInput> {
    draw_panels(path, runs).map_err(|e| unwritable(path, &*e))
}

fn unwritable(path: &Path, e: &dyn Error) -> BadInput {
    BadInput::new(format!("{} cannot be written: {e}", path.display()))
}

fn draw_panels(path: &Path, runs: &[(&str, &Summary)]) -> Drawn {
    let picture = SVGBackend::new(path, SIZE).into_drawing_area();
    picture.fill(&WHITE)?;
    let (left, right) = picture.split_horizontally(SIZE.0 / 3);
    draw_prefill(&left, runs)?;
    draw_waiting(&right, runs)?;
    picture.present()?;
    Ok(())
}

/// A bar for each run: the prompt tokens that it computed.
fn draw_prefill(panel: &Panel<'_>, runs: &[(&str, &Summary)]) -> Drawn {
    let highest = runs.iter().map(|(_, run)| run.prefilled).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(panel)
        .caption("Prompt tokens computed", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (0..runs.len() - 1).into_segmented(),
            0..highest + highest / 10 + 1,
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|segment| match segment {
            SegmentValue::CenterOf(run) => runs[*run].0.to_owned(),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .draw()?;
    chart.draw_series(runs.iter().enumerate().map(|(at, (_, run))| {
        let corners = [
            (SegmentValue::Exact(at), 0),
            (SegmentValue::Exact(at + 1), run.prefilled),
        ];
        let mut bar = Rectangle::new(corners, COLOURS[at].filled());
        bar.set_margin(0, 0, 18, 18);
        bar
    }))?;
    Ok(())
}

/// A curve for each run: the share of requests that have their first token after so long.
fn draw_waiting(panel: &Panel<'_>, runs: &[(&str, &Summary)]) -> Drawn {
    let longest = runs.iter().filter_map(|(_, run)| run.to_first_token.max());
    let longest = longest.max().unwrap_or_default().as_secs_f64() * 1e3;
    let mut chart = ChartBuilder::on(panel)
        .caption("Requests that have their first token", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..longest.max(1.0), 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("milliseconds after submission")
        .y_desc("% of requests")
        .x_label_formatter(&|milliseconds| format!("{milliseconds:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, run), colour) in runs.iter().zip(COLOURS) {
        let curve = steps(run.to_first_token.sorted());
        chart
            .draw_series(LineSeries::new(curve, colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// A step up for each request: milliseconds, and the percentage that waited no longer.
fn steps(waits: &[Duration]) -> Vec<(f64, f64)> {
    let percent = |count: usize| 100.0 * count as f64 / waits.len() as f64;
    let step = |(count, wait): (usize, &Duration)| {
        let milliseconds = wait.as_secs_f64() * 1e3;
        [
            (milliseconds, percent(count)),
            (milliseconds, percent(count + 1)),
        ]
    };
    waits.iter().enumerate().flat_map(step).collect()
}
