//! Sockets as a router has them.

use std::time::{Duration, Instant};

use rmpv::Value;

use crate::common::events;

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

/// Waits until something holds, for at most ten seconds.
#[track_caller]
pub fn wait_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
