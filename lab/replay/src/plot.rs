//! The comparison as a chart: hit ratio against capacity.

use kvtrie_harness::chart::{Axis, Chart, Line, Mark, svg};
use kvtrie_harness::machine;

use crate::compare::{Comparison, Row};

/// Returns the chart as an SVG document.
pub fn draw(comparison: &Comparison) -> String {
    let points = |ratio: fn(&Row) -> f64| {
        let point = |row: &Row| (row.percent as f64, ratio(row));
        comparison.rows.iter().map(point).collect()
    };
    let unlimited = |row: &Row| (row.percent as f64, comparison.unlimited);
    let chart = Chart {
        title: format!(
            "{}: blocks of {} tokens, {} requests in flight",
            comparison.workload, comparison.block_size, comparison.in_flight
        ),
        x: Axis::log("capacity, % of the distinct blocks"),
        y: Axis::linear("share of the prompt tokens found cached"),
        mark: Mark::Points,
        lines: vec![
            Line::kvtrie("kvtrie", points(|row| row.kvtrie)),
            Line::other("exact LRU", points(|row| row.lru)),
            Line::other("offline, by next use", points(|row| row.next_use)),
            Line::other("no limit", comparison.rows.iter().map(unlimited).collect()),
        ],
    };
    svg(&machine::description(), &[chart])
}
