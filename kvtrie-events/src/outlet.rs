//! The PUB socket, and the ring of what went through it.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::counts::Counts;
use crate::ring::Ring;

/// Sends payloads to all subscribers, and keeps the last ones.
pub struct Outlet {
    socket: zmq::Socket,
    topic: String,
    ring: Ring,
    /// When the last payload was sent.
    last: Instant,
    counts: Arc<Counts>,
}

impl Outlet {
    /// Makes an outlet of a bound PUB socket.
    pub fn new(socket: zmq::Socket, topic: String, ring: Ring, counts: Arc<Counts>) -> Self {
        Self {
            socket,
            topic,
            ring,
            last: Instant::now(),
            counts,
        }
    }

    /// Sends a payload under the next number. A subscriber whose queue is full misses it.
    pub fn send(&mut self, payload: Vec<u8>) -> zmq::Result<()> {
        let number = self.ring.next().to_be_bytes();
        let frames: [&[u8]; 3] = [self.topic.as_bytes(), &number, &payload];
        retry(|| self.socket.send_multipart(frames, 0))?;
        self.last = Instant::now();
        self.counts.sent(payload.len());
        self.ring.push(payload);
        self.counts.kept(self.ring.len(), self.ring.bytes());
        Ok(())
    }

    /// Returns the topic of all messages.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the last payloads.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Returns when the last payload was sent.
    pub fn last(&self) -> Instant {
        self.last
    }
}

/// Returns a number above all that an earlier publisher of this worker has used.
///
/// Routers ignore numbers that they have passed, and ask for what lies between if they see a gap.
/// So the numbers must grow across restarts. A publisher starts with the microseconds since 1970,
/// and adds one for each batch. A batch takes more than a microsecond, so the next publisher starts
/// higher, unless the clock of the machine was set back in between.
pub fn first_number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_micros() as u64)
}

/// Calls again if a signal has interrupted the call.
pub fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            result => return result,
        }
    }
}
