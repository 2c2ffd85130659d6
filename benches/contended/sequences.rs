//! Requests of a trace, spelled out.

use kvtrie_gauge::prompts::BLOCK;
use kvtrie_workload::Trace;

/// Tokens that are spelled out at most: half a gigabyte.
const MOST_TOKENS: usize = 128 << 20;

/// A request: its prompt and what is answered, in whole blocks.
pub struct Sequence {
    /// Prompt and answer.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt, which may end inside a block.
    pub prompt: usize,
}

/// The requests of a trace in order, as many as fit into [`MOST_TOKENS`].
pub fn spell(trace: &Trace) -> Vec<Sequence> {
    let mut total = 0;
    let mut answer = Vec::new();
    let spelled = trace.requests().iter().map(|request| {
        let mut tokens = Vec::new();
        request.write_prompt(&mut tokens);
        request.write_output(&mut answer);
        tokens.append(&mut answer);
        tokens.truncate(tokens.len() / BLOCK * BLOCK);
        tokens.shrink_to_fit();
        let prompt = request.prompt_len().min(tokens.len());
        Sequence { tokens, prompt }
    });
    spelled
        .take_while(|sequence| {
            total += sequence.tokens.len();
            total <= MOST_TOKENS
        })
        .collect()
}
