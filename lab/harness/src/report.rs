//! Tables, and goals beside what was measured.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Row, Table, presets};

use crate::chart::{Chart, svg};
use crate::machine::description;
use crate::options::Options;

/// Prints a Markdown table under a heading: the first column is text, the others are numbers.
pub fn print_table<R: Into<Row>>(
    title: &str,
    columns: impl Into<Row>,
    rows: impl IntoIterator<Item = R>,
) {
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
        let written = fs::write(folder.join(file), svg(&description(), charts));
        written.expect("the chart can be written");
    }
}

/// One row of the table of goals: the work, what it should cost, what it was measured to cost, and
/// whether the goal is reached.
#[derive(Debug, Clone)]
pub struct Goal([String; 4]);

impl Goal {
    /// Creates a goal for a figure, shown in some way, that should be at most `limit`.
    pub fn at_most(work: &str, limit: f64, unit: &str, figure: (f64, impl Display)) -> Self {
        let (value, shown) = figure;
        let goal = format!("at most {limit}{unit}");
        Self::new(work, goal, shown.to_string(), value <= limit)
    }

    /// Creates a goal for a figure, shown in some way, that should be at least `limit`.
    pub fn at_least(work: &str, limit: f64, unit: &str, figure: (f64, impl Display)) -> Self {
        let (value, shown) = figure;
        let goal = format!("at least {limit}{unit}");
        Self::new(work, goal, shown.to_string(), value >= limit)
    }

    /// Creates a row of which everything is known.
    #[must_use]
    pub fn new(work: &str, goal: String, measured: String, reached: bool) -> Self {
        let verdict = if reached { "yes" } else { "no" };
        Self([work.to_owned(), goal, measured, verdict.to_owned()])
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
    let rows = || goals.iter().map(|Goal(row)| row);
    print_table("Goals", ["work", "goal", "measured", "reached"], rows());
    if let Some(folder) = report {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .open(folder.join("goals.md"));
        let mut file = file.expect("the report folder can be written to");
        for row in rows() {
            writeln!(file, "| {} |", row.join(" | ")).expect("the goals can be written");
        }
    }
}
