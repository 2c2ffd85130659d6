//! Replays: what a router gets that joined late or lost a message.
//!
//! A router asks for all batches from a number on. It gets them from the ring if the ring reaches
//! back so far. Otherwise it gets the **state**: a batch that clears the worker, then all that is
//! cached, under the last numbers before the ring's next. The ring follows.
//!
//! ```text
//! asked ──► in the ring, or after it ─────────────────────────► ring from there ──► end
//!   │                                                               ▲
//!   ├─────► before it, but nothing was ever dropped ──► all of the ring
//!   └─────► before it ──► state up to a number, then ───────────────┘
//! ```
//!
//! A replay sends as much as the router's queue takes, and goes on in the next turn. If the ring
//! drops what the replay would send next, the replay starts anew with the state.
//!
//! # Gaps
//!
//! A router that joins late asks from 0 on, and after a restart of the worker from the number that
//! it saw last. Then the answer does not start with the number asked for. Dynamo's indexer takes
//! it. vllm-router 0.1.17 drops it, and all that it knew of the worker. So [`Replays::turn`] tells
//! when such a replay has ended, and the publisher sends the state once more, to all subscribers.
//!
//! # Memory
//!
//! At most one state exists. Replays share it while the ring still continues it; a replay that
//! needs a newer one waits until the others are done, or given up. Requests are read only while
//! there are fewer than [`MOST`] replays.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use kvtrie::ChangeFeed;

use crate::batch::{Batcher, Format};
use crate::counts::Counts;
use crate::outlet::{Outlet, retry};
use crate::ring::Ring;

/// Most replays at a time.
const MOST: usize = 64;
/// Most messages of one replay before the next gets its turn, and new changes are published.
const BURST: usize = 64;
/// How long a router may read nothing before its replay is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that is cached after a certain batch.
struct State {
    payloads: Vec<Vec<u8>>,
    /// The number of that batch.
    number: u64,
}

/// A replay under way.
struct Replay {
    /// The identity of the router's socket.
    router: Vec<u8>,
    /// The first number that the router asked for.
    asked: u64,
    /// Whether the answer starts with the number asked for.
    has_gap: bool,
    /// The state, and how much of it is sent.
    state: Option<(Arc<State>, usize)>,
    /// The number of the batch of the ring to send next.
    next: u64,
    /// When a message was last sent.
    moved: Instant,
}

/// What became of a message.
enum Sent {
    Yes,
    QueueFull,
    RouterGone,
}

/// How a replay stands after its turn.
enum Turn {
    GoesOn,
    Ended { has_gap: bool },
}

/// The ROUTER socket and its replays.
pub struct Replays {
    socket: zmq::Socket,
    active: Vec<Replay>,
    state: Weak<State>,
    format: Format,
    counts: Arc<Counts>,
}

impl Replays {
    /// Serves replays through a bound ROUTER socket.
    pub fn new(socket: zmq::Socket, format: Format, counts: Arc<Counts>) -> Self {
        Self {
            socket,
            active: Vec::new(),
            state: Weak::new(),
            format,
            counts,
        }
    }

    /// Returns the socket, to wait for requests.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Returns whether replays are under way.
    pub fn is_busy(&self) -> bool {
        !self.active.is_empty()
    }

    /// Reads requests, and moves each replay on. Returns whether one has ended that had a gap.
    pub fn turn(&mut self, outlet: &Outlet, feed: &ChangeFeed) -> zmq::Result<bool> {
        self.accept()?;
        let mut had_gap = false;
        for mut replay in std::mem::take(&mut self.active) {
            match self.advance(&mut replay, outlet, feed)? {
                Turn::GoesOn if replay.moved.elapsed() < PATIENCE => self.active.push(replay),
                Turn::GoesOn => self.counts.abandoned_replay(),
                Turn::Ended { has_gap } => had_gap |= has_gap,
            }
        }
        Ok(had_gap)
    }

    /// Reads the requests that have arrived. A router that asks again starts anew.
    fn accept(&mut self) -> zmq::Result<()> {
        while self.active.len() < MOST {
            let frames = match retry(|| self.socket.recv_multipart(zmq::DONTWAIT)) {
                Err(zmq::Error::EAGAIN) => break,
                frames => frames?,
            };
            // Anything else is not a request.
            let [router, empty, asked] = frames.as_slice() else {
                continue;
            };
            let (true, Ok(asked)) = (empty.is_empty(), asked.as_slice().try_into()) else {
                continue;
            };
            let asked = u64::from_be_bytes(asked);
            self.counts.replay();
            self.active.retain(|replay| replay.router != *router);
            self.active.push(Replay {
                router: router.clone(),
                asked,
                has_gap: false,
                state: None,
                next: asked,
                moved: Instant::now(),
            });
        }
        Ok(())
    }

    /// Sends messages of one replay, until its queue is full or a burst is sent.
    fn advance(
        &mut self,
        replay: &mut Replay,
        outlet: &Outlet,
        feed: &ChangeFeed,
    ) -> zmq::Result<Turn> {
        for _ in 0..BURST {
            if !self.prepare(replay, outlet.ring(), feed) {
                return Ok(Turn::GoesOn);
            }
            let message = replay.message(outlet.ring());
            let ends = message.is_none();
            let (topic, number, payload) = match message {
                Some((number, payload)) => (outlet.topic(), number, payload),
                None => ("", u64::MAX, [].as_slice()),
            };
            match self.send(&replay.router, topic, number, payload)? {
                Sent::QueueFull => return Ok(Turn::GoesOn),
                Sent::RouterGone => {
                    self.counts.abandoned_replay();
                    return Ok(Turn::Ended { has_gap: false });
                }
                Sent::Yes if ends => {
                    let has_gap = replay.has_gap;
                    return Ok(Turn::Ended { has_gap });
                }
                Sent::Yes => replay.sent(),
            }
        }
        Ok(Turn::GoesOn)
    }

    /// Gives a replay the state if the ring does not have what it needs. Returns whether it can
    /// send.
    fn prepare(&mut self, replay: &mut Replay, ring: &Ring, feed: &ChangeFeed) -> bool {
        if replay.state.is_some() || replay.next >= ring.first() {
            return true;
        }
        replay.has_gap = true;
        if ring.is_complete() {
            replay.next = ring.first();
            return true;
        }
        let state = match self.state.upgrade() {
            Some(state) if state.number + 1 >= ring.first() => state,
            Some(_) => return false,
            None => self.new_state(ring, feed),
        };
        self.counts.full_replay();
        replay.next = state.number + 1;
        replay.state = Some((state, 0));
        true
    }

    /// Makes the state after the last batch of the ring.
    fn new_state(&mut self, ring: &Ring, feed: &ChangeFeed) -> Arc<State> {
        let mut payloads = Vec::new();
        let mut batcher = Batcher::new(self.format.clone());
        batcher.cleared();
        feed.snapshot(|change| batcher.push(&change, |payload| payloads.push(payload)));
        batcher.finish(|payload| payloads.push(payload));
        let number = ring.next() - 1;
        let state = Arc::new(State { payloads, number });
        self.state = Arc::downgrade(&state);
        state
    }

    /// Sends one message to a router.
    fn send(&self, router: &[u8], topic: &str, number: u64, payload: &[u8]) -> zmq::Result<Sent> {
        let number = number.to_be_bytes();
        let frames: [&[u8]; 5] = [router, &[], topic.as_bytes(), &number, payload];
        match retry(|| self.socket.send_multipart(frames, zmq::DONTWAIT)) {
            Ok(()) => Ok(Sent::Yes),
            Err(zmq::Error::EAGAIN) => Ok(Sent::QueueFull),
            Err(zmq::Error::EHOSTUNREACH) => Ok(Sent::RouterGone),
            Err(error) => Err(error),
        }
    }
}

impl Replay {
    /// Returns the number and the payload to send next; nothing at the end.
    fn message<'r>(&'r self, ring: &'r Ring) -> Option<(u64, &'r [u8])> {
        match &self.state {
            Some((state, place)) => {
                Some((state.number_of(*place, self.asked), &state.payloads[*place]))
            }
            None => Some((self.next, ring.get(self.next)?)),
        }
    }

    /// Notes that the message was sent.
    fn sent(&mut self) {
        self.moved = Instant::now();
        match &mut self.state {
            None => self.next += 1,
            Some((state, place)) => {
                *place += 1;
                if *place == state.payloads.len() {
                    self.state = None;
                }
            }
        }
    }
}

impl State {
    /// Returns the number of a payload: the last one has that of the state, those before it count
    /// down, but not below the number that the router asked for.
    fn number_of(&self, place: usize, asked: u64) -> u64 {
        let behind = (self.payloads.len() - 1 - place) as u64;
        self.number.saturating_sub(behind).max(asked)
    }
}
