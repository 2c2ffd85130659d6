//! The program as a whole: what it prints, and its exit code.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// The folder of these tests, in which the program runs.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// A trace of 120 prompts of 3 to 4 ids, many of which begin alike.
static TRACE: LazyLock<&str> = LazyLock::new(|| {
    let line = |request: u32| {
        let user = 10 + request * 7 % 40;
        let mut ids = vec![request % 3, user, 50 + user];
        let length = if request % 4 == 0 { 1700 } else { 1200 };
        ids.extend((length == 1700).then_some(200 + request));
        format!(r#"{{"input_length": {length}, "output_length": 9, "hash_ids": {ids:?}}}"#)
    };
    let lines: Vec<_> = (0..120).map(line).collect();
    write("trace.jsonl", &lines.join("\n"));
    "trace.jsonl"
});

fn write(name: &str, text: &str) {
    let path = Path::new(FOLDER).join(name);
    fs::write(path, text).expect("the folder can be written");
}

/// Runs the program. Returns the exit code, what it printed, and what it wrote to standard error.
fn run(arguments: &str) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kvtrie-replay"))
        .args(arguments.split_whitespace())
        .current_dir(FOLDER)
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    (output.status.code(), out, err)
}

fn json(arguments: &str) -> Value {
    let (code, out, err) = run(&format!("{arguments} --json"));
    assert_eq!(code, Some(0), "{out}{err}");
    serde_json::from_str(&out).expect("one JSON document")
}

/// Returns the message about invalid input, after checking that it stands alone.
fn refusal(arguments: &str) -> String {
    let (code, out, err) = run(arguments);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    let message = err.strip_prefix("replay: ").expect("the program's name");
    message.strip_suffix('\n').expect("a whole line").to_owned()
}

#[test]
fn a_replay_serves_all_and_loses_nothing() {
    // From room for two prompts to room for all, so that requests wait, share and evict.
    for sizes in [
        "--blocks 250 --threads 8",
        "--blocks 1000 --threads 1",
        "--blocks 20000 --threads 8",
    ] {
        let report = json(&format!("--trace {} --in-flight 8 {sizes}", *TRACE));
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
    let (code, out, _) = run(&format!("--trace {} --block-size 33", *TRACE));
    assert_eq!(code, Some(0));
    let lines = [
        "requests        120",
        "prefill saved",
        "p50",
        "nothing lost",
        "all right",
    ];
    for line in lines {
        assert!(out.contains(line), "{line} in {out}");
    }
}

#[test]
fn a_comparison_fits_into_eighty_columns() {
    let (code, out, _) = run(&format!("--trace {} --compare", *TRACE));
    assert_eq!(code, Some(0));
    assert!(out.contains("next use   refused"), "{out}");
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_comparison_has_its_baselines_and_a_plot() {
    let comparison = json(&format!("--trace {} --compare --plot plot.svg", *TRACE));
    let unlimited = comparison["unlimited"].as_f64().expect("a ratio");
    let rows = comparison["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let ratio = |name: &str| row[name].as_f64().expect("a ratio");
        let kvtrie = ratio("kvtrie");
        assert!(ratio("least") <= kvtrie && kvtrie <= ratio("most"), "{row}");
        assert!(ratio("lru") <= ratio("next_use"), "{row}");
        assert!(ratio("next_use") <= unlimited, "{row}");
        // A prompt that fits into no cache is refused by all of them alike.
        assert_eq!(row["refused"], row["refused_by_baselines"]);
    }
    let refused = rows[0]["refused"].as_u64();
    assert!(refused > Some(0), "the smallest cache is too small");
    let svg = fs::read_to_string(Path::new(FOLDER).join("plot.svg")).expect("the plot");
    assert!(svg.starts_with("<svg") && svg.contains("exact LRU"));
}

/// If a thread loses its core, other requests overtake the one in its hands. On the generated
/// workload single runs stay within 0.45 points, and the mean of three varies less.
#[test]
fn eight_threads_find_what_one_finds() {
    let hit_ratio = |threads| {
        let report = json(&format!("--threads {threads}"));
        report["hit_ratio"].as_f64().expect("a ratio")
    };
    let one = hit_ratio(1);
    let eight = (0..3).map(|_| hit_ratio(8)).sum::<f64>() / 3.0;
    assert!((one - eight).abs() <= 0.005, "{eight} against {one}");
}

#[test]
fn a_bad_path_is_named() {
    let message = refusal("--trace no/such/trace.jsonl");
    assert!(message.starts_with("cannot read no/such/trace.jsonl: "));
    let message = refusal("--compare --plot no/such/folder/plot.svg");
    assert!(message.starts_with("cannot write no/such/folder/plot.svg: "));
}

#[test]
fn ids_of_another_size_need_an_option() {
    let line = r#"{"input_length": 40, "output_length": 1, "hash_ids": [1, 2, 3]}"#;
    write("small.jsonl", line);
    let message = refusal("--trace small.jsonl");
    assert!(message.contains("of 512 tokens, not 3"), "{message}");
    let report = json("--trace small.jsonl --trace-block-size 16");
    assert_eq!(report["prompt_tokens"], 40);
}

#[test]
fn impossible_sizes_and_missing_options_are_named() {
    for (options, words) in [
        ("--blocks 50", "needs 106 blocks, and --blocks is 50"),
        ("--block-size 2000", "fills a block of 2000 tokens"),
        ("--trace-block-size 0", "--trace-block-size"),
    ] {
        let message = refusal(&format!("--trace {} {options}", *TRACE));
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn invalid_options_are_named() {
    for (options, words) in [
        ("--threads 0", "0 is not in 1.."),
        ("--blocks 0", "0 is not in 1.."),
        ("--block-size 0", "0 is not in 1.."),
        ("--in-flight 0", "0 is not in 1.."),
        ("--threads 2000", "2000 is not in 1..=1024"),
        ("--in-flight 4 --threads 8", "8 threads need as many"),
        ("--blocks many", "many"),
        ("--blocks 9999999999", "9999999999"),
        ("--hint-over 1.5", "not from 0 to 1"),
        ("--hint-wrong few", "not a number"),
        ("--nonsense", "--nonsense"),
        ("--compare --blocks 5", "--blocks"),
        ("--compare --threads 8", "--threads"),
        ("--plot x.svg", "--compare"),
        ("--trace-block-size 16", "--trace <FILE>"),
    ] {
        let message = refusal(options);
        assert!(message.contains(words), "{options}: {message}");
    }
}

#[test]
fn help_is_printed() {
    let (code, out, err) = run("--help");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("--compare"));
}
