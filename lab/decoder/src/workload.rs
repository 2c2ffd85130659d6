//! Chats to serve: every user talks to the same assistant, turn after turn.
//!
//! All conversations begin with one system prompt. A turn's prompt is the whole conversation so
//! far, answers included, and a user's next turn comes as soon as the answer to the last is there.

use crate::{Client, Completion, Request, Tokenizer};

/// What every conversation begins with.
const SYSTEM: &str = "System: You help the visitors of a small museum of clocks. Be brief and \
    kind. Say what a clock is made of, who made it and when, and how it keeps time. The ground \
    floor shows sundials, water clocks and hourglasses; the first floor shows tower clocks, \
    table clocks and the workshop of a clockmaker; the second floor shows ships' chronometers, \
    railway clocks and wristwatches. The museum opens at ten and closes at five, on Thursdays at \
    eight. Children are welcome and may wind the great tower clock at noon. If you do not know an \
    answer, say so, and send the visitor to the desk at the entrance.";

const OPENINGS: [&str; 8] = [
    "Please tell me about",
    "Where do I find",
    "How old is",
    "My daughter would like to see",
    "Who made",
    "What is so special about",
    "How do you look after",
    "Is there a book about",
];

const SUBJECTS: [&str; 12] = [
    "the great tower clock",
    "the water clock with the brass doves",
    "the oldest sundial",
    "the ship's chronometer from the blue case",
    "the clockmaker's lathe",
    "the watch that runs backwards",
    "the hourglass of the harbour office",
    "the clock without hands",
    "the railway clock over the stairs",
    "the cuckoo on the first floor",
    "the pendulum in the stairwell",
    "the astronomer's table clock",
];

/// Conversations, with everything that the users will say already in tokens.
#[derive(Debug, Clone)]
pub struct Chats {
    system: Vec<u32>,
    /// By user, by turn.
    messages: Vec<Vec<Vec<u32>>>,
    answer: usize,
    samples: usize,
}

impl Chats {
    /// Creates conversations of these users and turns, with at most `answer` tokens an answer and
    /// `samples` answers a turn. The same for the same numbers.
    pub fn new(
        tokenizer: &Tokenizer,
        (users, turns): (usize, usize),
        answer: usize,
        samples: usize,
    ) -> Result<Self, String> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut message = |user: usize| {
            let opening = OPENINGS[rng.usize(..OPENINGS.len())];
            let subject = SUBJECTS[rng.usize(..SUBJECTS.len())];
            let text = format!("\nVisitor {user}: {opening} {subject}?\nYou:");
            tokenizer.encode(&text, false)
        };
        let mut conversation = |user| (0..turns).map(|_| message(user)).collect();
        Ok(Self {
            system: tokenizer.encode(SYSTEM, true)?,
            messages: (1..=users)
                .map(&mut conversation)
                .collect::<Result<_, String>>()?,
            answer,
            samples,
        })
    }

    /// Returns the tokens of the longest prompt that can come up.
    pub fn longest_prompt(&self) -> usize {
        let conversation = |turns: &Vec<Vec<u32>>| {
            let said: usize = turns.iter().map(Vec::len).sum();
            self.system.len() + said + turns.len().saturating_sub(1) * self.answer
        };
        self.messages.iter().map(conversation).max().unwrap_or(0)
    }

    /// Returns the prompt of a user's first turn, users counted from 0.
    pub fn first_prompt(&self, user: usize) -> Vec<u32> {
        [&self.system[..], &self.messages[user][0]].concat()
    }

    /// Returns the number of all requests.
    pub fn requests(&self) -> usize {
        self.messages.iter().map(Vec::len).sum()
    }

    /// Holds all conversations with a decoder and calls `heard` after each answer. Returns the
    /// completions, ordered by user, turn and sample.
    pub fn hold(&self, client: &Client<'_>, heard: impl Fn()) -> Result<Vec<Completion>, String> {
        let mut talks: Vec<Talk<'_>> = self
            .messages
            .iter()
            .map(|said| Talk::new(self, said))
            .collect();
        for (user, talk) in talks.iter_mut().enumerate() {
            self.submit(client, user, talk)?;
        }
        let mut completions = Vec::new();
        while talks.iter().any(Talk::is_waiting) {
            let completion = client.receive();
            let user = completion.id / self.turns();
            let talk = &mut talks[user];
            talk.hear(&completion);
            completions.push(completion);
            heard();
            if !talk.is_waiting() {
                self.submit(client, user, talk)?;
            }
        }
        completions.sort_by_key(|completion| (completion.id, completion.sample));
        Ok(completions)
    }

    /// Submits the user's next message, if there is one.
    fn submit(&self, client: &Client<'_>, user: usize, talk: &mut Talk<'_>) -> Result<(), String> {
        let Some(prompt) = talk.say(self.samples) else {
            return Ok(());
        };
        client.submit(Request {
            id: user * self.turns() + talk.turn - 1,
            prompt,
            answer: self.answer,
            samples: self.samples,
        })
    }

    fn turns(&self) -> usize {
        self.messages.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// One conversation while it is held.
#[derive(Debug)]
struct Talk<'c> {
    messages: &'c [Vec<u32>],
    history: Vec<u32>,
    /// Messages said.
    turn: usize,
    /// Answers to the last message that are still to come.
    awaited: usize,
}

impl<'c> Talk<'c> {
    fn new(chats: &Chats, messages: &'c [Vec<u32>]) -> Self {
        Self {
            messages,
            history: chats.system.clone(),
            turn: 0,
            awaited: 0,
        }
    }

    /// Returns the prompt of the next turn, to which `samples` answers will come.
    fn say(&mut self, samples: usize) -> Option<Vec<u32>> {
        let message = self.messages.get(self.turn)?;
        self.history.extend_from_slice(message);
        self.turn += 1;
        self.awaited = samples;
        Some(self.history.clone())
    }

    /// Takes an answer; the conversation goes on with the first sample.
    fn hear(&mut self, completion: &Completion) {
        self.awaited -= 1;
        if completion.sample == 0 {
            self.history.extend_from_slice(&completion.tokens);
        }
    }

    fn is_waiting(&self) -> bool {
        self.awaited > 0
    }
}
