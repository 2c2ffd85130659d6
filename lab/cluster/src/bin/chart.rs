//! Draws the times to the first token that `cluster.py` has measured.
//!
//! ```text
//! chart RESULTS.json CHART.svg        {"name": [seconds, …], …}, kvtrie's own line first
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use kvtrie_harness::chart::{Axis, Chart, Line, svg};
use kvtrie_harness::machine;

fn main() -> Result<(), Box<dyn Error>> {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let [results, chart] = options.as_slice() else {
        return Err("chart RESULTS.json CHART.svg".into());
    };
    let times: BTreeMap<String, Vec<f64>> =
        serde_json::from_str(&std::fs::read_to_string(results)?)?;
    let lines = times.into_iter().map(|(name, times)| {
        let points = percentiles(times);
        if name == "KV-aware" {
            Line::kvtrie(name, points)
        } else {
            Line::other(name, points)
        }
    });
    let drawing = Chart {
        title: "Time to the first token".to_owned(),
        x: Axis::linear("share of the requests, %"),
        y: Axis::linear("milliseconds, at most"),
        lines: lines.collect(),
    };
    let caption = machine::description();
    std::fs::write(Path::new(chart), svg(&caption, &[drawing]))?;
    Ok(())
}

/// Returns the times in milliseconds at each percentile from 5 to 95.
fn percentiles(mut times: Vec<f64>) -> Vec<(f64, f64)> {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
    let percents = (5..=95).step_by(5);
    percents
        .map(|percent| (percent as f64, 1_000.0 * at(percent)))
        .collect()
}
