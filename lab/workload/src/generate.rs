//! A multi-turn workload made up from a seed.
//!
//! Shaped like a chat service's traffic: a few system prompts of uneven popularity open every
//! conversation; a conversation's prompt is all that was said before and a new question; many
//! conversations are open at a time and take turns at random; and one prompt in four is asked once
//! and never again, which is what flushes a cache.

use fastrand::Rng;

use crate::request::{Piece, Request};
use crate::trace::Trace;

/// System prompts; the `k`-th is `k` times rarer than the first.
const SYSTEM_PROMPTS: usize = 12;
/// Conversations that are open at the same time.
const OPEN: usize = 400;
/// Most turns of one conversation.
const MOST_TURNS: u32 = 12;

/// A conversation between two turns.
struct Conversation {
    said: Vec<Piece>,
    turns_left: u32,
}

/// Everything that traffic is drawn from.
struct Traffic {
    rng: Rng,
    /// The id of the next piece.
    next_id: u32,
    systems: Vec<Piece>,
}

impl Trace {
    /// Makes up a trace of this many conversations and one-off prompts; the same seed gives the
    /// same trace.
    pub fn generated(conversations: usize, seed: u64) -> Self {
        let mut traffic = Traffic::new(seed);
        let mut open = Vec::new();
        let mut unopened = conversations;
        let mut requests = Vec::new();
        loop {
            while unopened > 0 && open.len() < OPEN {
                unopened -= 1;
                open.push(traffic.open());
            }
            if open.is_empty() {
                return Self { requests };
            }
            let turn = traffic.rng.usize(..open.len());
            requests.push(traffic.turn(&mut open[turn]));
            if open[turn].turns_left == 0 {
                open.swap_remove(turn);
            }
        }
    }
}

impl Traffic {
    fn new(seed: u64) -> Self {
        let mut traffic = Self {
            rng: Rng::with_seed(seed),
            next_id: 0,
            systems: Vec::new(),
        };
        traffic.systems = (0..SYSTEM_PROMPTS)
            .map(|_| traffic.piece(200, 3000))
            .collect();
        traffic
    }

    /// Opens a conversation, or one in four times a prompt that is asked only once.
    fn open(&mut self) -> Conversation {
        if self.rng.u32(..4) == 0 {
            let said = vec![self.piece(500, 8000)];
            return Conversation {
                said,
                turns_left: 1,
            };
        }
        // Another turn follows with a chance of four in five.
        let turns_left = (1..MOST_TURNS)
            .find(|_| self.rng.u32(..5) == 0)
            .unwrap_or(MOST_TURNS);
        let said = vec![self.system()];
        Conversation { said, turns_left }
    }

    /// Draws a system prompt by its popularity: a rank is drawn, and kept with a chance of one in
    /// rank.
    fn system(&mut self) -> Piece {
        loop {
            let rank = self.rng.usize(..SYSTEM_PROMPTS);
            if self.rng.usize(..=rank) == 0 {
                return self.systems[rank];
            }
        }
    }

    /// Returns a conversation's next request, and remembers its answer.
    fn turn(&mut self, conversation: &mut Conversation) -> Request {
        conversation.said.push(self.piece(16, 600));
        let pieces = conversation.said.clone().into_boxed_slice();
        let answer = self.piece(32, 800);
        conversation.said.push(answer);
        conversation.turns_left -= 1;
        Request { pieces, answer }
    }

    /// Creates a new piece. Its length is spread evenly on a logarithmic scale, as in real prompts.
    fn piece(&mut self, shortest: u32, longest: u32) -> Piece {
        let ratio = f64::from(longest) / f64::from(shortest);
        let length = f64::from(shortest) * ratio.powf(self.rng.f64());
        let id = self.next_id;
        self.next_id += 1;
        Piece {
            id,
            tokens: length as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_trace() {
        assert_eq!(Trace::generated(50, 1), Trace::generated(50, 1));
        assert_ne!(Trace::generated(50, 1), Trace::generated(50, 2));
        assert!(Trace::generated(0, 1).requests().is_empty());
    }

    #[test]
    fn a_conversations_next_prompt_contains_the_answer() {
        let trace = Trace::generated(200, 7);
        let requests = trace.requests();
        assert!(
            requests.len() > 400,
            "most conversations have several turns"
        );
        let mut followed = 0;
        for (index, request) in requests.iter().enumerate() {
            let mut later = requests[index + 1..].iter();
            if let Some(next) = later.find(|next| next.pieces.starts_with(&request.pieces)) {
                followed += 1;
                let so_far = [request.prompt(), request.answer()].concat();
                assert!(next.prompt().starts_with(&so_far));
            }
        }
        assert!(followed > requests.len() / 3, "{followed}");
    }
}
