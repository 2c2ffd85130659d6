//! Chats to serve: every user talks to the same assistant, turn after turn.
//!
//! All conversations begin with one system prompt. A turn's prompt is the whole conversation so
//! far, answers included, and a user's next turn comes as soon as the answer to the last is there.

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

/// Returns the tokens of a text: one for each byte.
fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

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
        let mut message = |user: usize| {
            let opening = OPENINGS[rng.usize(..OPENINGS.len())];
            let subject = SUBJECTS[rng.usize(..SUBJECTS.len())];
            bytes(&format!("\nVisitor {user}: {opening} {subject}?\nYou:"))
        };
        let conversation = |user| (0..turns).map(|_| message(user)).collect();
        Self {
            system: bytes(SYSTEM),
            messages: (1..=users).map(conversation).collect(),
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
