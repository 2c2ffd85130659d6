//! The chart beside the table: prefill work, and how long users wait for a first token.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use kvtrie_harness::chart::{self, Axis, Chart, Line, Mark};
use kvtrie_harness::machine;

use crate::Summary;

/// Creates the file of a chart, so that a path that cannot be written is reported before the run.
pub fn prepare(path: &Path) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let created = folder.and_then(|()| File::create(path));
    created.map(drop).map_err(|e| unwritable(path, &e))
}

/// Draws the runs, each under its name, into an SVG file. The first run has no cache.
pub fn draw(path: &Path, runs: &[(&str, &Summary)]) -> Result<(), String> {
    let lines = |points: fn(&Summary) -> Vec<(f64, f64)>| {
        let line = |(place, (name, run)): (usize, &(&str, &Summary))| match place {
            0 => Line::other(*name, points(run)),
            _ => Line::kvtrie(*name, points(run)),
        };
        runs.iter().enumerate().map(line).collect()
    };
    let prefill = Chart {
        title: "Prefill work".to_owned(),
        x: Axis::names("", vec!["prompt tokens computed".to_owned()]),
        y: Axis::linear("tokens"),
        mark: Mark::Bars,
        lines: lines(|run| vec![(0.0, run.prefilled as f64)]),
    };
    let waiting = Chart {
        title: "Requests that have their first token".to_owned(),
        x: Axis::linear("milliseconds after submission"),
        y: Axis::linear("% of the requests"),
        mark: Mark::Curve,
        lines: lines(waits),
    };
    chart::write(path, &machine::description(), &[prefill, waiting])
        .map_err(|e| unwritable(path, &e))
}

/// Returns milliseconds, and the percentage of the requests that waited no longer.
fn waits(run: &Summary) -> Vec<(f64, f64)> {
    let wait = |percent: f64| 1e3 * run.to_first_token.duration(percent / 100.0).as_secs_f64();
    let points = (0..=100).map(|percent| (wait(f64::from(percent)), f64::from(percent)));
    points.collect()
}

fn unwritable(path: &Path, e: &io::Error) -> String {
    format!("{} cannot be written: {e}", path.display())
}
