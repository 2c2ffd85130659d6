//! Tables, and goals beside what was measured.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};

use crate::chart::{Chart, svg};
use crate::machine::description;
use crate::options::Options;

/// Prints a Markdown table under a heading: the first column is text, the others are numbers.
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

/// Writes a count: "1 thread", "2 threads".
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Draws charts into a file of the report folder, if there is one.
///
/// # Panics
///
/// If the file cannot be written.
pub fn draw(options: &Options, file: &str, charts: &[Chart]) {
    if let Some(folder) = &options.report {
        fs::write(folder.join(file), svg(&description(), charts))
            .expect("the chart can be written");
    }
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
    /// Whether the goal is reached.
    pub reached: bool,
}

impl Goal {
    /// Creates a goal for a figure that should be at most `limit`.
    pub fn at_most(
        work: impl Into<String>,
        limit: f64,
        unit: &str,
        value: f64,
        measured: impl Display,
    ) -> Self {
        let goal = format!("at most {limit}{unit}");
        Self::new(work, goal, measured, value <= limit)
    }

    /// Creates a goal for a figure that should be at least `limit`.
    pub fn at_least(
        work: impl Into<String>,
        limit: f64,
        unit: &str,
        value: f64,
        measured: impl Display,
    ) -> Self {
        let goal = format!("at least {limit}{unit}");
        Self::new(work, goal, measured, value >= limit)
    }

    /// Creates a row of which everything is known.
    pub fn new(
        work: impl Into<String>,
        goal: String,
        measured: impl Display,
        reached: bool,
    ) -> Self {
        Self {
            work: work.into(),
            goal,
            measured: measured.to_string(),
            reached,
        }
    }
}

/// A part of a program by name: measures, prints, and returns its goals.
pub type Part = (&'static str, fn(&Options) -> Vec<Goal>);

/// Runs the parts that the command line asks for, and prints their goals.
pub fn run(parts: &[Part]) {
    let options = Options::from_command_line();
    let wanted = parts.iter().filter(|(name, _)| options.wants(name));
    let goals: Vec<Goal> = wanted.flat_map(|(_, measure)| measure(&options)).collect();
    print_goals(&goals, options.report.as_deref());
}

/// Prints the goals and, if there is a report folder, appends them to its `goals.md`.
///
/// # Panics
///
/// If the folder cannot be written to.
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
        let lines: String = rows
            .iter()
            .map(|row| format!("| {} |\n", row.join(" | ")))
            .collect();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("goals.md"))
            .and_then(|mut file| file.write_all(lines.as_bytes()))
            .expect("the report folder can be written to");
    }
}
