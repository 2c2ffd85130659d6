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
use std::path::Path;
use std::{fs, str};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::request::{Piece, Request};

/// Tokens that one id stands for in the Mooncake traces.
pub const TOKENS_PER_ID: u32 = 512;

/// The byte order mark that some editors put in front of UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Requests in the order in which they arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub(crate) requests: Vec<Request>,
}

impl Trace {
    /// Reads a recorded trace whose ids stand for [`TOKENS_PER_ID`] tokens. Skips blank lines.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, a line is malformed, or there is no request in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, TOKENS_PER_ID)
    }

    /// Reads a recorded trace whose ids stand for `tokens_per_id` tokens each, which must not be 0.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, tokens_per_id: u32) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let text = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        Self::read(&text, &name, tokens_per_id)
    }

    /// Reads the text of a trace that is called `name` in errors.
    fn read(text: &[u8], name: &str, tokens_per_id: u32) -> Result<Self> {
        let (mut ids, mut recorded) = (HashMap::new(), Vec::new());
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = parse(line, tokens_per_id);
            if let Some(line) = line.with_context(|| format!("{name}, line {number}"))? {
                let pieces = pieces(&line, tokens_per_id, &mut ids);
                recorded.push((pieces, line.output_length));
            }
        }
        ensure!(!recorded.is_empty(), "{name}: not a single request");
        let requests = (ids.len() as u32..).zip(recorded);
        let request = |(id, (pieces, tokens))| Request {
            pieces,
            answer: Piece { id, tokens },
        };
        let requests = requests.map(request).collect();
        Ok(Self { requests })
    }

    /// Returns the requests in order of arrival.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}

/// The fields of a line that count.
#[derive(Deserialize)]
struct Line {
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Parses a line and checks that its fields agree. Returns `None` for a blank line.
fn parse(line: &[u8], tokens_per_id: u32) -> Result<Option<Line>> {
    let text = str::from_utf8(line)
        .map_err(|error| anyhow!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    if text.trim().is_empty() {
        return Ok(None);
    }
    let line: Line = serde_json::from_str(text).map_err(|error| plain(&error))?;
    let (length, ids) = (line.input_length, line.hash_ids.len());
    ensure!(length > 0, "input_length is 0");
    let wanted = length.div_ceil(tokens_per_id);
    ensure!(
        wanted as usize == ids,
        "input_length {length} asks for {wanted} hash_ids of {tokens_per_id} tokens, not {ids}"
    );
    Ok(Some(line))
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
fn plain(error: &serde_json::Error) -> anyhow::Error {
    let (line, column) = (error.line(), error.column());
    let place = format!(" at line {line} column {column}");
    let text = error.to_string();
    anyhow!(text.replace(&place, &format!(" (column {column})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Result<Trace> {
        Trace::read(text.as_ref(), "t.jsonl", TOKENS_PER_ID)
    }

    fn sentence(text: impl AsRef<[u8]>) -> String {
        format!("{:#}", read(text).expect_err("malformed"))
    }

    const GOOD: &str = r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [18446744073709551615, 3]}"#;

    #[test]
    fn a_line_becomes_a_prompt_of_its_length() {
        let trace = read(format!("{GOOD}\n\n{GOOD}\n")).expect("well-formed");
        let [first, second] = trace.requests() else {
            panic!("two requests");
        };
        assert_eq!(first.prompt_len(), 600);
        assert_eq!(first.prompt(), second.prompt());
        assert_eq!(first.answer().len(), 5);
        assert_ne!(first.answer(), second.answer(), "answers are never shared");
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
        assert!(sentence(format!("{GOOD}\n{{\n")).starts_with("t.jsonl, line 2: "));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_named_by_their_line() {
        let text = sentence([GOOD.as_bytes(), b"\n{\"a\": \"\xff\"}\n"].concat());
        assert_eq!(text, "t.jsonl, line 2: byte 8 is not UTF-8");
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let trace = read(format!("\u{feff}{GOOD}\r\n{GOOD}\r\n")).expect("well-formed");
        assert_eq!(trace.requests().len(), 2);
    }

    /// Writes a line of a prompt with 100 tokens in its last id and 512 in the others.
    fn line(ids: &[u64]) -> String {
        let length = ids.len() * 512 - 412;
        format!(r#"{{"input_length": {length}, "output_length": 1, "hash_ids": {ids:?}}}"#)
    }

    #[test]
    fn prompts_are_equal_as_far_as_their_first_ids_are() {
        let ids: [&[u64]; 3] = [&[1, 2, 3, 4], &[1, 2], &[1, 5, 3, 4]];
        let trace = read(ids.map(line).join("\n")).expect("well-formed");
        let prompts: Vec<_> = trace.requests().iter().map(Request::prompt).collect();
        let [long, short, other] = &prompts[..] else {
            panic!("three requests");
        };
        assert_eq!((long.len(), short.len()), (3 * 512 + 100, 512 + 100));
        assert!(long.starts_with(short), "a prompt may end inside a piece");
        assert_eq!(long[..512], other[..512]);
        let apart = long[512..].iter().zip(&other[512..]);
        assert!(apart.into_iter().all(|(a, b)| a != b));
    }
}
