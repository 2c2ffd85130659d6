//! Tables for people, and the table of goals.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};

/// Prints a Markdown table under a heading: the first column is text, the rest are numbers.
pub fn print_table(title: &str, columns: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table
        .load_preset(presets::ASCII_MARKDOWN)
        .set_header(columns)
        .add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n### {title}\n\n{table}");
}

/// One row of the table of goals.
#[derive(Debug, Clone)]
pub struct Goal {
    /// The work.
    pub work: String,
    /// What it should cost.
    pub goal: String,
    /// What it was measured to cost.
    pub measured: String,
    /// Whether that is reached.
    pub reached: bool,
}

impl Goal {
    /// A figure that should be `limit` at most.
    pub fn at_most(
        work: impl Into<String>,
        limit: f64,
        unit: &str,
        value: f64,
        measured: impl Display,
    ) -> Self {
        Self {
            work: work.into(),
            goal: format!("at most {limit}{unit}"),
            measured: measured.to_string(),
            reached: value <= limit,
        }
    }

    /// A figure that should be `limit` at least.
    pub fn at_least(
        work: impl Into<String>,
        limit: f64,
        unit: &str,
        value: f64,
        measured: impl Display,
    ) -> Self {
        Self {
            work: work.into(),
            goal: format!("at least {limit}{unit}"),
            measured: measured.to_string(),
            reached: value >= limit,
        }
    }
}

/// Prints the goals and, if there is a report folder, adds them to its `goals.md`.
///
/// # Panics
///
/// Where the folder cannot be written to.
pub fn print_goals(goals: &[Goal], report: Option<&Path>) {
    let row = |goal: &Goal| {
        let verdict = if goal.reached { "yes" } else { "no" };
        vec![
            goal.work.clone(),
            goal.goal.clone(),
            goal.measured.clone(),
            verdict.to_owned(),
        ]
    };
    let rows: Vec<_> = goals.iter().map(row).collect();
    print_table("Goals", &["work", "goal", "measured", "reached"], &rows);
    if let Some(folder) = report {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("goals.md"))
            .expect("the report folder can be written to");
        for row in rows {
            writeln!(file, "| {} |", row.join(" | ")).expect("the report folder can be written to");
        }
    }
}
