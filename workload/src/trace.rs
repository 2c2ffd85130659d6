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
//! Equal ids become equal tokens and different ids different ones.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::request::{Piece, Request};

/// Tokens that one id of a recorded trace stands for.
pub const TOKENS_PER_ID: u32 = 512;

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
    /// Reads a recorded trace. Blank lines are passed over.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, a line is malformed, or there is no request in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TraceError> {
        let path = path.as_ref();
        match File::open(path) {
            Ok(file) => Self::read(BufReader::new(file), path),
            Err(source) => Err(unreadable(path, source)),
        }
    }

    /// Reads a trace that is called `path` in errors.
    fn read(lines: impl BufRead, path: &Path) -> Result<Self, TraceError> {
        let mut ids = Ids::default();
        let mut requests = Vec::new();
        for (index, line) in lines.lines().enumerate() {
            let line = line.map_err(|source| unreadable(path, source))?;
            if line.trim().is_empty() {
                continue;
            }
            let request = parse(&line, &mut ids).map_err(|reason| TraceError::Malformed {
                path: path.to_path_buf(),
                line: index + 1,
                reason,
            })?;
            requests.push(request);
        }
        if requests.is_empty() {
            let path = path.to_path_buf();
            return Err(TraceError::Empty { path });
        }
        Ok(Self { requests })
    }

    /// A trace of requests made elsewhere.
    pub(crate) fn new(requests: Vec<Request>) -> Self {
        Self { requests }
    }

    /// The requests in order of arrival.
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

/// Makes a request of one line, or says what is wrong with the line.
fn parse(text: &str, ids: &mut Ids) -> Result<Request, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| plain(&error))?;
    let wanted = line.input_length.div_ceil(TOKENS_PER_ID) as usize;
    if wanted == 0 {
        return Err("input_length is 0".to_owned());
    }
    if line.hash_ids.len() != wanted {
        return Err(format!(
            "input_length {} asks for {wanted} hash_ids, not {}",
            line.input_length,
            line.hash_ids.len()
        ));
    }
    let mut left = line.input_length;
    let pieces = line.hash_ids.iter().map(|&recorded| {
        let tokens = left.min(TOKENS_PER_ID);
        left -= tokens;
        let id = ids.of(recorded);
        Piece { id, tokens }
    });
    let prompt = pieces.collect();
    let answer = Piece {
        id: ids.fresh(),
        tokens: line.output_length,
    };
    Ok(Request::new(prompt, answer))
}

/// What JSON has to say, without its own line number, which is always 1 here.
fn plain(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    format!(
        "{} (column {})",
        text.strip_suffix(&place).unwrap_or(&text),
        error.column()
    )
}

/// Small numbers for the ids of pieces, given out as they come. Recorded ids may be hashes of 64
/// bits; each gets a number of its own, so that no two of them can spell the same tokens.
#[derive(Default)]
pub(crate) struct Ids {
    recorded: HashMap<u64, u32>,
    next: u32,
}

impl Ids {
    /// The number of a recorded id: always the same one.
    fn of(&mut self, recorded: u64) -> u32 {
        if let Some(&id) = self.recorded.get(&recorded) {
            return id;
        }
        let id = self.fresh();
        self.recorded.insert(recorded, id);
        id
    }

    /// A number that nobody has.
    pub(crate) fn fresh(&mut self) -> u32 {
        let id = self.next;
        self.next = id.checked_add(1).expect("fewer than 2^32 pieces");
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        Trace::read(text.as_bytes(), Path::new("t.jsonl"))
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
        assert_eq!((first.prompt_len(), first.output_len()), (600, 5));
        assert_eq!(first.pieces(), second.pieces());
        let (mut one, mut two) = (Vec::new(), Vec::new());
        first.write_output(&mut one);
        second.write_output(&mut two);
        assert_ne!(one, two, "answers are never shared");
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        let text = sentence(&format!("{GOOD}\n{{\"input_length\": 5}}\n"));
        assert_eq!(
            text,
            "t.jsonl, line 2: missing field `output_length` (column 19)"
        );
        assert!(sentence("\nnonsense").starts_with("t.jsonl, line 2: expected"));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let text = sentence(r#"{"input_length": 513, "output_length": 1, "hash_ids": [1]}"#);
        assert_eq!(
            text,
            "t.jsonl, line 1: input_length 513 asks for 2 hash_ids, not 1"
        );
        let text = sentence(r#"{"input_length": 0, "output_length": 1, "hash_ids": []}"#);
        assert_eq!(text, "t.jsonl, line 1: input_length is 0");
        let text = sentence(r#"{"input_length": -4, "output_length": 1, "hash_ids": [1]}"#);
        assert!(text.contains("invalid value"), "{text}");
    }

    #[test]
    fn a_file_without_requests_or_without_text_is_refused() {
        assert_eq!(sentence("\n \n"), "t.jsonl: not a single request");
        let text = Trace::read(&[0xff, b'\n'][..], Path::new("t.jsonl"));
        assert!(matches!(text, Err(TraceError::Unreadable { .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let text = Trace::open("no/such/file").expect_err("missing");
        assert!(text.to_string().starts_with("cannot read no/such/file: "));
    }
}
