//! What the tests share: a cache, a subscriber, a router's view.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kvtrie::{Namespace, PrefixCache, Prompt};
use rmpv::Value;

/// Makes a cache with a change feed.
pub fn cache(blocks: usize, block_size: usize) -> PrefixCache {
    let builder = PrefixCache::builder().blocks(blocks).block_size(block_size);
    builder.change_feed(true).build().unwrap()
}

/// Caches every complete block of a prompt.
pub fn serve<'p>(cache: &PrefixCache, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) {
    let mut request = cache.sequence(namespace, prompt);
    request.grow(cache, 0).unwrap();
    request.advance(request.uncomputed().len());
}

/// The parts of a message after its topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub number: u64,
    pub payload: Vec<u8>,
}

impl Message {
    /// Takes a message apart: topic, number, payload.
    pub fn of(frames: &[Vec<u8>]) -> Self {
        let [.., number, payload] = frames else {
            panic!("a message has three frames: {frames:?}");
        };
        Self {
            number: u64::from_be_bytes(number.as_slice().try_into().unwrap()),
            payload: payload.clone(),
        }
    }

    /// Returns the events of the batch.
    pub fn events(&self) -> Vec<Value> {
        events(&self.payload)
    }
}

/// Returns the events of a batch.
pub fn events(mut payload: &[u8]) -> Vec<Value> {
    let batch = rmpv::decode::read_value(&mut payload).unwrap();
    assert!(payload.is_empty(), "bytes behind the batch");
    let [timestamp, events, _rank] = batch.as_array().unwrap().as_slice() else {
        panic!("a batch has three parts: {batch}");
    };
    assert!(timestamp.as_f64().unwrap() > 1e9, "{timestamp}");
    events.as_array().unwrap().clone()
}

/// Returns a field of an event; nil if it has none.
pub fn field<'e>(event: &'e Value, name: &str) -> &'e Value {
    let fields = event.as_map().unwrap();
    let found = fields.iter().find(|(key, _)| key.as_str() == Some(name));
    found.map_or(&Value::Nil, |(_, value)| value)
}

/// Connects a subscriber to all topics.
pub fn subscribe(context: &zmq::Context, endpoint: &str) -> zmq::Socket {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_rcvtimeo(5_000).unwrap();
    // One message waits here; the others wait at the publisher.
    socket.set_rcvhwm(1).unwrap();
    socket.set_subscribe(b"").unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

/// Receives one message, of a topic.
pub fn receive(socket: &zmq::Socket, topic: &str) -> Message {
    let frames = socket.recv_multipart(0).expect("a message in time");
    assert_eq!((frames.len(), frames[0].as_slice()), (3, topic.as_bytes()));
    Message::of(&frames)
}

/// Asks for a replay, and returns its messages without the end.
pub fn replay(context: &zmq::Context, endpoint: &str, from: u64) -> Vec<Message> {
    let socket = context.socket(zmq::DEALER).unwrap();
    socket.set_rcvtimeo(5_000).unwrap();
    socket.connect(endpoint).unwrap();
    let asked = from.to_be_bytes().to_vec();
    socket.send_multipart([vec![], asked], 0).unwrap();
    let mut messages = Vec::new();
    loop {
        let frames = socket.recv_multipart(0).expect("a reply in time");
        assert_eq!((frames.len(), frames[0].len()), (4, 0));
        let message = Message::of(&frames);
        if message.payload.is_empty() {
            assert_eq!(message.number, u64::MAX);
            return messages;
        }
        messages.push(message);
    }
}

/// What a router knows of one worker. It checks the rules of the format.
#[derive(Debug, Default)]
pub struct View {
    /// The parent of each block.
    pub blocks: HashMap<u64, Option<u64>>,
}

impl View {
    /// Applies a batch.
    pub fn apply(&mut self, payload: &[u8]) {
        for event in events(payload) {
            match field(&event, "type").as_str().unwrap() {
                "BlockStored" => self.stored(&event),
                "BlockRemoved" => {
                    for hash in hashes(&event) {
                        self.blocks
                            .remove(&hash)
                            .expect("a stored block is removed");
                    }
                }
                "AllBlocksCleared" => self.blocks.clear(),
                other => panic!("unknown event {other}"),
            }
        }
    }

    fn stored(&mut self, event: &Value) {
        let mut parent = field(event, "parent_block_hash").as_u64();
        let size = field(event, "block_size").as_u64().unwrap() as usize;
        let tokens = field(event, "token_ids").as_array().unwrap().len();
        assert_eq!(tokens, hashes(event).len() * size);
        for hash in hashes(event) {
            assert!(parent.is_none_or(|parent| self.blocks.contains_key(&parent)));
            self.blocks.insert(hash, parent);
            parent = Some(hash);
        }
    }

    /// Returns whether the view has exactly the prefix of a prompt that is cached.
    pub fn has_exactly(&self, cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> bool {
        let mut hash = namespace.hash();
        let found = cache.peek(namespace, prompt);
        prompt
            .chunks_exact(cache.block_size())
            .enumerate()
            .all(|(number, block)| {
                hash = cache.compute_block_hash(hash, block);
                self.blocks.contains_key(&hash.get()) == ((number + 1) * block.len() <= found)
            })
    }
}

/// Returns the hashes of an event.
pub fn hashes(event: &Value) -> Vec<u64> {
    let hashes = field(event, "block_hashes").as_array().unwrap();
    hashes.iter().map(|hash| hash.as_u64().unwrap()).collect()
}

/// Waits until something holds, for at most ten seconds.
#[track_caller]
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
