//! What a publisher has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a publisher's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublisherStats {
    /// Batches sent, heartbeats included.
    pub batches: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Batches kept for replays now.
    pub ring_batches: u64,
    /// Bytes of their payloads.
    pub ring_bytes: u64,
    /// Replays that routers have asked for.
    pub replays: u64,
    /// Replays that began with the whole state, because the ring did not reach back far enough.
    pub full_replays: u64,
    /// Times that the whole state was sent to all subscribers, for a router that drops replays with
    /// gaps.
    pub repeats: u64,
    /// Replays given up, because the router left or did not read for 30 seconds.
    pub abandoned_replays: u64,
}

/// The counters. (All Relaxed: statistics, written by the publisher's thread alone.)
#[derive(Debug, Default)]
pub struct Counts {
    batches: AtomicU64,
    bytes: AtomicU64,
    ring_batches: AtomicU64,
    ring_bytes: AtomicU64,
    replays: AtomicU64,
    full_replays: AtomicU64,
    repeats: AtomicU64,
    abandoned_replays: AtomicU64,
}

/// Adds to a counter.
fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Counts {
    /// Counts a batch of so many bytes.
    pub fn sent(&self, bytes: usize) {
        add(&self.batches, 1);
        add(&self.bytes, bytes);
    }

    /// Notes what the ring keeps.
    pub fn kept(&self, batches: usize, bytes: usize) {
        self.ring_batches.store(batches as u64, Ordering::Relaxed);
        self.ring_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a request for a replay.
    pub fn replay(&self) {
        add(&self.replays, 1);
    }

    /// Counts a replay that begins with the state.
    pub fn full_replay(&self) {
        add(&self.full_replays, 1);
    }

    /// Counts that the state was sent to all.
    pub fn repeat(&self) {
        add(&self.repeats, 1);
    }

    /// Counts a replay that is given up.
    pub fn abandoned_replay(&self) {
        add(&self.abandoned_replays, 1);
    }

    /// Returns all counts.
    pub fn snapshot(&self) -> PublisherStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PublisherStats {
            batches: load(&self.batches),
            bytes: load(&self.bytes),
            ring_batches: load(&self.ring_batches),
            ring_bytes: load(&self.ring_bytes),
            replays: load(&self.replays),
            full_replays: load(&self.full_replays),
            repeats: load(&self.repeats),
            abandoned_replays: load(&self.abandoned_replays),
        }
    }
}
