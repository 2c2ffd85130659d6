//! Chats to serve: every user talks to the same assistant, turn after turn.
//!
//! All conversations begin with one system prompt. A turn's prompt is the whole conversation so
//! far, answers included, and a user's next turn comes as soon as the answer to the last is there.
//! The texts are as random as the weights of the model.

use std::ops::RangeInclusive;

/// Tokens of the system prompt.
const SYSTEM: RangeInclusive<usize> = 650..=650;
/// Tokens of a user's message.
const MESSAGE: RangeInclusive<usize> = 40..=80;

/// Conversations, with everything that the users will say already in tokens.
#[derive(Debug, Clone)]
pub struct Chats {
    system: Vec<u32>,
    /// By user, by turn.
    messages: Vec<Vec<Vec<u32>>>,
    /// Tokens of an answer.
    pub answer: usize,
    /// Answers to each turn: the k-th starts with the k-th best token and goes on greedily. The
    /// conversation goes on with the first.
    pub samples: usize,
}

impl Chats {
    /// Creates conversations of these users and turns, with `answer` tokens an answer and `samples`
    /// answers a turn. The same for the same numbers.
    pub fn new((users, turns): (usize, usize), answer: usize, samples: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut text = |tokens| -> Vec<u32> {
            let tokens = rng.usize(tokens);
            (0..tokens).map(|_| rng.u8(..).into()).collect()
        };
        let system = text(SYSTEM);
        let mut conversation = |_| (0..turns).map(|_| text(MESSAGE)).collect();
        Self {
            system,
            messages: (0..users).map(&mut conversation).collect(),
            answer,
            samples,
        }
    }

    /// Returns the tokens of the longest prompt that can come up.
    pub fn longest_prompt(&self) -> usize {
        let conversation = |turns: &Vec<Vec<u32>>| {
            let said: usize = turns.iter().map(Vec::len).sum();
            self.system.len() + said + turns.len().saturating_sub(1) * self.answer
        };
        self.messages.iter().map(conversation).max().unwrap_or(0)
    }

    /// Returns the prompt of each user's first turn.
    pub fn first_prompts(&self) -> impl Iterator<Item = Vec<u32>> {
        let users = 0..self.messages.len();
        users.filter_map(|user| self.prompt((user, 0), self.system.clone()))
    }

    /// Returns the prompt of a user's turn after the tokens `said`, if the user has more to say.
    pub fn prompt(&self, (user, turn): (usize, usize), mut said: Vec<u32>) -> Option<Vec<u32>> {
        said.extend(self.messages[user].get(turn)?);
        Some(said)
    }

    /// Returns the number of all answers.
    pub fn answers(&self) -> usize {
        self.samples * self.messages.iter().map(Vec::len).sum::<usize>()
    }
}
