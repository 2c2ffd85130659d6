//! The program as a whole: what it prints, and its exit code.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

/// Runs the program; the exit code, what it printed and what it complained of.
fn run(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["replay"].iter().chain(arguments).map(|text| text.into());
    let code = super::run(arguments, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code, text(out), text(err))
}

fn json(arguments: &[&str]) -> Value {
    let (code, out, err) = run(arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    serde_json::from_str(&out).expect("one JSON document")
}

/// Returns the message about invalid input, after checking that it stands alone.
fn refusal(arguments: &[&str]) -> String {
    let (code, out, err) = run(arguments);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let message = err.strip_prefix("replay: ").expect("the program's name");
    message.strip_suffix('\n').expect("a whole line").to_owned()
}

/// A trace of 120 prompts of 3 to 4 ids, many of which begin alike.
fn write_trace(folder: &TempDir) -> String {
    let mut text = String::new();
    for request in 0..120_u32 {
        let (system, user) = (request % 3, request * 7 % 40);
        let (length, ids) = match request % 4 {
            0 => (
                1700,
                format!(
                    "[{system}, {}, {}, {}]",
                    10 + user,
                    60 + user,
                    200 + request
                ),
            ),
            _ => (1200, format!("[{system}, {}, {}]", 10 + user, 60 + user)),
        };
        writeln!(
            text,
            r#"{{"input_length": {length}, "output_length": 9, "hash_ids": {ids}}}"#
        )
        .expect("a string takes what is written");
    }
    write(folder, "trace.jsonl", &text)
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("the temporary folder can be written");
    path.to_str().expect("a plain path").to_owned()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn a_replay_serves_all_and_loses_nothing() {
    let folder = folder();
    let trace = write_trace(&folder);
    // From room for two prompts to room for all, so that requests wait, share and evict.
    for (blocks, threads) in [("250", "4"), ("1000", "1"), ("20000", "8")] {
        let report = json(&[
            "--trace",
            &trace,
            "--blocks",
            blocks,
            "--threads",
            threads,
            "--in-flight",
            "8",
            "--json",
        ]);
        assert_eq!(report["requests"], 120);
        assert_eq!(report["refused"], 0, "{report}");
        assert_eq!(report["prompt_tokens"], 30 * 1700 + 90 * 1200);
        assert_eq!(report["checks"]["wrong_hits"], 0);
        assert_eq!(report["checks"]["wrong_holds"], 0);
        assert!(report["checks"]["hits"].as_u64() > Some(0));
    }
}

#[test]
fn the_table_says_what_was_saved() {
    let folder = folder();
    let (code, out, _) = run(&["--trace", &write_trace(&folder), "--block-size", "33"]);
    assert_eq!(code, 0);
    for line in [
        "requests        120",
        "prefill saved",
        "p50",
        "nothing lost",
        "all right",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
}

#[test]
fn a_comparison_fits_into_eighty_columns() {
    let folder = folder();
    let (code, out, _) = run(&["--trace", &write_trace(&folder), "--compare"]);
    assert_eq!(code, 0);
    assert!(out.contains("refused: kvtrie others"), "{out}");
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_comparison_has_its_baselines_and_a_plot() {
    let folder = folder();
    let (trace, plot) = (write_trace(&folder), write(&folder, "plot.svg", ""));
    let comparison = json(&["--trace", &trace, "--compare", "--json", "--plot", &plot]);
    let rows = comparison["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let ratio = |name: &str| row[name].as_f64().expect("a ratio");
        assert!(ratio("lru") <= ratio("next_use"), "{row}");
        assert!(ratio("next_use") <= comparison["unlimited"].as_f64().expect("a ratio"));
        // A prompt that fits into no cache is refused by all of them alike.
        assert_eq!(row["refused"], row["refused_by_baselines"]);
    }
    let svg = fs::read_to_string(Path::new(&plot)).expect("the plot");
    assert!(svg.starts_with("<svg") && svg.contains("exact LRU"));
}

/// Where a thread loses its core, other requests overtake the one in its hands. On the workload that is
/// generated, single runs stay within 0.45 points, and the mean of three varies less.
#[test]
fn eight_threads_find_what_one_finds() {
    let hit_ratio = |threads| {
        let report = json(&["--threads", threads, "--json"]);
        report["hit_ratio"].as_f64().expect("a ratio")
    };
    let one = hit_ratio("1");
    let eight = (0..3).map(|_| hit_ratio("8")).sum::<f64>() / 3.0;
    assert!((one - eight).abs() <= 0.005, "{eight} against {one}");
}

#[test]
fn a_bad_path_is_a_sentence() {
    let sentence = refusal(&["--trace", "no/such/trace.jsonl"]);
    assert!(sentence.starts_with("cannot read no/such/trace.jsonl: "));
    let sentence = refusal(&["--compare", "--plot", "no/such/folder/plot.svg"]);
    assert!(sentence.starts_with("cannot write no/such/folder/plot.svg: "));
}

#[test]
fn a_malformed_line_is_a_sentence_with_its_number() {
    let folder = folder();
    let good = r#"{"input_length": 5, "output_length": 1, "hash_ids": [1]}"#;
    let trace = write(&folder, "bad.jsonl", &format!("{good}\n{good}\n{{\n"));
    let sentence = refusal(&["--trace", &trace]);
    assert!(sentence.contains("bad.jsonl, line 3: "), "{sentence}");
}

#[test]
fn ids_of_another_size_need_an_option() {
    let folder = folder();
    let line = r#"{"input_length": 40, "output_length": 1, "hash_ids": [1, 2, 3]}"#;
    let trace = write(&folder, "small.jsonl", line);
    assert!(refusal(&["--trace", &trace]).contains("of 512 tokens, not 3"));
    let report = json(&["--trace", &trace, "--trace-block-size", "16", "--json"]);
    assert_eq!(report["prompt_tokens"], 40);
}

#[test]
fn impossible_sizes_are_a_sentence() {
    let folder = folder();
    let trace = write_trace(&folder);
    let sentence = refusal(&["--trace", &trace, "--blocks", "50"]);
    assert_eq!(
        sentence,
        "the longest prompt needs 106 blocks, and --blocks is 50"
    );
    let sentence = refusal(&["--trace", &trace, "--block-size", "2000"]);
    assert_eq!(sentence, "no prompt fills a block of 2000 tokens");
    let message = refusal(&["--trace", &trace, "--plot", "x.svg"]);
    assert!(message.contains("--compare"), "{message}");
    let sentence = refusal(&["--trace", &trace, "--blocks", "9999999999"]);
    assert!(sentence.contains("blocks"), "{sentence}");
}

#[test]
fn help_is_printed() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("--compare"));
}
