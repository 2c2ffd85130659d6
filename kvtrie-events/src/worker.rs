//! The thread of a publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvtrie::ChangeFeed;

use crate::batch::Batcher;
use crate::counts::Counts;
use crate::outlet::{Outlet, retry};
use crate::replay::Replays;

/// Shortest time between two repetitions of the state.
const REPEAT_PAUSE: Duration = Duration::from_secs(1);
/// Batches of a repetition that are sent at once, and the pause in which subscribers read them.
const SLICE: (u64, Duration) = (64, Duration::from_millis(10));
/// How long the thread waits at a time, and so how long `stop` waits for it.
const NAP: Duration = Duration::from_millis(20);

/// What the thread owns.
pub struct Worker {
    pub feed: ChangeFeed,
    pub batcher: Batcher,
    pub outlet: Outlet,
    pub replays: Option<Replays>,
    pub interval: Duration,
    pub heartbeat: Duration,
    pub repeats: bool,
    pub counts: Arc<Counts>,
}

impl Worker {
    /// Publishes until it is told to stop.
    pub fn run(mut self, stop: &AtomicBool) -> zmq::Result<()> {
        // A router may remember an earlier life of this worker.
        self.batcher.cleared();
        let mut next = Instant::now();
        let (mut repeat, mut repeated) = (false, None::<Instant>);
        // Relaxed: see `Publisher::join`.
        while !stop.load(Ordering::Relaxed) {
            if next <= Instant::now() {
                self.publish()?;
                next = Instant::now() + self.interval;
            }
            if let Some(replays) = &mut self.replays {
                repeat |= replays.turn(&self.outlet, &self.feed)? && self.repeats;
            }
            if repeat && repeated.is_none_or(|last| last.elapsed() >= REPEAT_PAUSE) {
                self.repeat()?;
                (repeat, repeated) = (false, Some(Instant::now()));
            }
            self.wait(next)?;
        }
        self.publish()
    }

    /// Sends what has changed, or a heartbeat if nothing was sent for long.
    fn publish(&mut self) -> zmq::Result<()> {
        let Self {
            feed,
            batcher,
            outlet,
            ..
        } = self;
        let mut result = Ok(());
        let mut send = |payload| {
            if result.is_ok() {
                result = outlet.send(payload);
            }
        };
        // What is put off now comes with the next poll.
        feed.poll(|change| batcher.push(&change, &mut send));
        batcher.finish(&mut send);
        result?;
        if self.outlet.last().elapsed() >= self.heartbeat {
            let empty = self.batcher.seal();
            self.outlet.send(empty)?;
        }
        Ok(())
    }

    /// Sends all that is cached to all subscribers, in slices that their queues hold.
    fn repeat(&mut self) -> zmq::Result<()> {
        let Self {
            feed,
            batcher,
            outlet,
            ..
        } = self;
        let (mut result, mut sent) = (Ok(()), 0_u64);
        let mut send = |payload| {
            if result.is_ok() {
                result = outlet.send(payload);
                sent += 1;
                if sent.is_multiple_of(SLICE.0) {
                    thread::sleep(SLICE.1);
                }
            }
        };
        feed.snapshot(|change| batcher.push(&change, &mut send));
        batcher.finish(&mut send);
        self.counts.repeat();
        result
    }

    /// Waits until it is time to publish, or a router asks for a replay.
    fn wait(&self, next: Instant) -> zmq::Result<()> {
        let nap = next.saturating_duration_since(Instant::now()).min(NAP);
        let Some(replays) = &self.replays else {
            thread::sleep(nap);
            return Ok(());
        };
        if replays.is_busy() {
            // Requests may be left unread, and queues empty without notice.
            thread::sleep(nap.min(Duration::from_millis(1)));
            return Ok(());
        }
        // A nap of less than a millisecond would not be one.
        let nap = i64::try_from(nap.as_millis()).unwrap_or(i64::MAX).max(1);
        retry(|| replays.socket().poll(zmq::POLLIN, nap)).map(drop)
    }
}
