//! Reading a recorded trace.
//!
//! The format is that of the Mooncake project's traces (FAST'25): one JSON object a line, of which
//! three fields count here.
//!
//! | field | meaning |
//! |---|---|
//! | `input_length` | tokens in the prompt |
//! | `output_length` | tokens in the answer |
//! | `hash_ids` | one id for every 512 tokens of the prompt; the last may stand for fewer |
//!
//! Prompts whose first ids are equal begin with equal tokens, and differ in every token from the
//! first different id on.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError};
use std::path::{Path, PathBuf};
use std::str;

use serde::Deserialize;
use thiserror::Error;

use crate::request::{Piece, Request};

/// Tokens that one id stands for in the Mooncake traces.
pub const TOKENS_PER_ID: u32 = 512;

/// The byte order mark that some editors put in front of UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Requests in the order in which they arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    requests: Vec<Request>,
}

/// Why a trace cannot be used.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file is missing, a folder, not text, or not readable.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: IoError,
    },
    /// A line is not a request.
    #[error("{}, line {line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has no requests at all.
    #[error("{}: not a single request", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Trace {
    /// Reads a recorded trace whose ids stand for [`TOKENS_PER_ID`] tokens. Skips blank lines.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, a line is malformed, or there is no request in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TraceError> {
        Self::open_with(path, TOKENS_PER_ID)
    }

    /// Reads a recorded trace whose ids stand for `tokens_per_id` tokens each, which must not be 0.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, tokens_per_id: u32) -> Result<Self, TraceError> {
        let path = path.as_ref();
        match File::open(path) {
            Ok(file) => Self::read(BufReader::new(file), path, tokens_per_id),
            Err(source) => Err(unreadable(path, source)),
        }
    }

    /// Reads a trace that is called `path` in errors.
    fn read(mut file: impl BufRead, path: &Path, tokens_per_id: u32) -> Result<Self, TraceError> {
        let (mut ids, mut recorded, mut bytes) = (HashMap::new(), Vec::new(), Vec::new());
        for number in 1.. {
            bytes.clear();
            let read = file.read_until(b'\n', &mut bytes);
            if read.map_err(|source| unreadable(path, source))? == 0 {
                break;
            }
            let line = parse(&bytes, tokens_per_id).map_err(|reason| TraceError::Malformed {
                path: path.to_path_buf(),
                line: number,
                reason,
            })?;
            if let Some(line) = line {
                let prompt = pieces(&line, tokens_per_id, &mut ids);
                recorded.push((prompt, line.output_length));
            }
        }
        if recorded.is_empty() {
            let path = path.to_path_buf();
            return Err(TraceError::Empty { path });
        }
        let requests = (ids.len() as u32..).zip(recorded);
        let request = |(id, (prompt, tokens))| Request::new(prompt, Piece { id, tokens });
        Ok(Self::new(requests.map(request).collect()))
    }

    /// Creates a trace of requests.
    pub(crate) fn new(requests: Vec<Request>) -> Self {
        Self { requests }
    }

    /// Returns the requests in order of arrival.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}

fn unreadable(path: &Path, source: IoError) -> TraceError {
    let path = path.to_path_buf();
    TraceError::Unreadable { path, source }
}

/// The fields of a line that count.
#[derive(Deserialize)]
struct Line {
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Parses a line and checks that its fields agree. Returns `None` for a blank line.
fn parse(bytes: &[u8], tokens_per_id: u32) -> Result<Option<Line>, String> {
    let text = str::from_utf8(bytes)
        .map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    if text.trim().is_empty() {
        return Ok(None);
    }
    let line: Line = serde_json::from_str(text).map_err(|error| plain(&error))?;
    let (length, ids) = (line.input_length, line.hash_ids.len());
    if length == 0 {
        return Err("input_length is 0".to_owned());
    }
    match length.div_ceil(tokens_per_id) {
        wanted if wanted as usize == ids => Ok(Some(line)),
        wanted => Err(format!(
            "input_length {length} asks for {wanted} hash_ids of {tokens_per_id} tokens, not {ids}"
        )),
    }
}

/// Returns the pieces of a prompt, one for each recorded id. Behind another prefix the same id says
/// something else, so `ids` has the number of each piece by the piece before it and its recorded
/// id.
fn pieces(line: &Line, tokens_per_id: u32, ids: &mut HashMap<(u32, u64), u32>) -> Box<[Piece]> {
    // No piece has this number.
    let mut before = u32::MAX;
    let mut left = line.input_length;
    let piece = |&id: &u64| {
        let next = u32::try_from(ids.len()).expect("fewer than 2^32 pieces");
        before = *ids.entry((before, id)).or_insert(next);
        let tokens = left.min(tokens_per_id);
        left -= tokens;
        Piece { id: before, tokens }
    };
    line.hash_ids.iter().map(piece).collect()
}

/// Describes what is wrong with the JSON, without its own line number, which is always 1 here.
fn plain(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    format!(
        "{} (column {})",
        text.strip_suffix(&place).unwrap_or(&text),
        error.column()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        Trace::read(text.as_bytes(), Path::new("t.jsonl"), TOKENS_PER_ID)
    }

    fn sentence(text: &str) -> String {
        read(text).expect_err("malformed").to_string()
    }

    const GOOD: &str = r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [18446744073709551615, 3]}"#;

    #[test]
    fn a_line_becomes_a_prompt_of_its_length() {
        let trace = read(&format!("{GOOD}\n\n{GOOD}\n")).expect("well-formed");
        let [first, second] = trace.requests() else {
            panic!("two requests");
        };
        assert_eq!(first.prompt_len(), 600);
        assert_eq!(first.prompt, second.prompt);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        first.write_output(&mut one);
        second.write_output(&mut two);
        assert_eq!(one.len(), 5);
        assert_ne!(one, two, "answers are never shared");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, error) in [
            ("\n \n", "t.jsonl: not a single request"),
            ("\nnonsense", "t.jsonl, line 2: expected"),
            (
                r#"{"input_length": 5}"#,
                "t.jsonl, line 1: missing field `output_length` (column 19)",
            ),
            (
                r#"{"input_length": 513, "output_length": 1, "hash_ids": [1]}"#,
                "t.jsonl, line 1: input_length 513 asks for 2 hash_ids of 512 tokens, not 1",
            ),
            (
                r#"{"input_length": 0, "output_length": 1, "hash_ids": []}"#,
                "t.jsonl, line 1: input_length is 0",
            ),
            (
                r#"{"input_length": -4, "output_length": 1, "hash_ids": [1]}"#,
                "t.jsonl, line 1: invalid value",
            ),
        ] {
            let sentence = sentence(text);
            assert!(sentence.starts_with(error), "{sentence}");
        }
        assert!(sentence(&format!("{GOOD}\n{{\n")).starts_with("t.jsonl, line 2: "));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_named_by_their_line() {
        let bytes = [GOOD.as_bytes(), b"\n{\"a\": \"\xff\"}\n"].concat();
        let error = Trace::read(&bytes[..], Path::new("t.jsonl"), TOKENS_PER_ID);
        let text = error.expect_err("malformed").to_string();
        assert_eq!(text, "t.jsonl, line 2: byte 8 is not UTF-8");
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let trace = read(&format!("\u{feff}{GOOD}\r\n{GOOD}\r\n")).expect("well-formed");
        assert_eq!(trace.requests().len(), 2);
    }

    #[test]
    fn an_id_may_stand_for_another_number_of_tokens() {
        let text = r#"{"input_length": 40, "output_length": 1, "hash_ids": [1, 2, 3]}"#;
        let trace = Trace::read(text.as_bytes(), Path::new("t.jsonl"), 16).expect("well-formed");
        assert_eq!(trace.requests()[0].prompt_len(), 40);
        let text = sentence(text);
        assert!(
            text.ends_with("asks for 1 hash_ids of 512 tokens, not 3"),
            "{text}"
        );
    }

    /// Writes a line of a prompt with 100 tokens in its last id and 512 in the others.
    fn line(ids: &[u64]) -> String {
        let length = ids.len() * 512 - 412;
        format!(r#"{{"input_length": {length}, "output_length": 1, "hash_ids": {ids:?}}}"#)
    }

    #[test]
    fn prompts_are_equal_as_far_as_their_first_ids_are() {
        let ids: [&[u64]; 3] = [&[1, 2, 3, 4], &[1, 2], &[1, 5, 3, 4]];
        let trace = read(&ids.map(line).join("\n")).expect("well-formed");
        let mut prompts = [Vec::new(), Vec::new(), Vec::new()];
        for (prompt, request) in prompts.iter_mut().zip(trace.requests()) {
            request.write_prompt(prompt);
        }
        let [long, short, other] = &prompts;
        assert_eq!((long.len(), short.len()), (3 * 512 + 100, 512 + 100));
        assert!(long.starts_with(short), "a prompt may end inside a piece");
        assert_eq!(long[..512], other[..512]);
        let apart = long[512..].iter().zip(&other[512..]);
        assert!(apart.into_iter().all(|(a, b)| a != b));
    }

    #[test]
    fn a_missing_file_is_named() {
        let text = Trace::open("no/such/file").expect_err("missing");
        assert!(text.to_string().starts_with("cannot read no/such/file: "));
    }
}
