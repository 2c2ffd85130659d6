//! The thread of a publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvtrie::{Change, ChangeFeed};

use crate::batch::Batcher;
use crate::counts::Counts;
use crate::outlet::{Outlet, retry};
use crate::replay::Replays;

/// Shortest time between two repetitions of the state, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long subscribers have for each batch of a repetition: 32 megabytes a second.
const PACE: Duration = Duration::from_millis(2);
/// How long the thread waits at a time, and so how long `stop` waits for it.
const NAP: Duration = Duration::from_millis(20);

/// Adds a change to the next batch.
type Push<'a> = &'a mut dyn FnMut(Change<'_>);

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
        let mut last = None;
        let (mut must_repeat, mut repeats) = (false, Repeats::new());
        // Relaxed: see `Publisher::join`.
        while !stop.load(Ordering::Relaxed) {
            if self.until_next(last).is_zero() {
                self.publish()?;
                last = Some(Instant::now());
            }
            if let Some(replays) = &mut self.replays {
                must_repeat |= replays.turn(&self.outlet, &self.feed)? && self.repeats;
            }
            if must_repeat && repeats.is_due() {
                self.repeat(stop)?;
                must_repeat = false;
                repeats.note();
            }
            self.wait(self.until_next(last))?;
        }
        self.publish()
    }

    /// Returns the time until changes are sent again, after they were last sent.
    fn until_next(&self, last: Option<Instant>) -> Duration {
        last.map_or(Duration::ZERO, |last| {
            self.interval.saturating_sub(last.elapsed())
        })
    }

    /// Sends what has changed, or a heartbeat if nothing was sent for long.
    fn publish(&mut self) -> zmq::Result<()> {
        self.send(None, |feed, push| {
            // What is put off now comes with the next poll.
            feed.poll(push);
        })?;
        if self.outlet.last().elapsed() >= self.heartbeat {
            let empty = self.batcher.seal();
            self.outlet.send(empty)?;
        }
        Ok(())
    }

    /// Sends all that is cached to all subscribers, no faster than they can read, until it is told
    /// to stop. Changes wait meanwhile.
    fn repeat(&mut self, stop: &AtomicBool) -> zmq::Result<()> {
        let result = self.send(Some(stop), |feed, push| feed.snapshot(push));
        self.counts.repeat();
        result
    }

    /// Sends what `report` says of the feed, in batches. Sends nothing more after the first error.
    /// If it may be told to `stop`, it sends nothing more then either, and pauses after each batch.
    fn send(
        &mut self,
        stop: Option<&AtomicBool>,
        report: impl FnOnce(&mut ChangeFeed, Push<'_>),
    ) -> zmq::Result<()> {
        let mut result = Ok(());
        let mut send = |payload| {
            // Relaxed: see `Publisher::join`.
            let is_over = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if result.is_ok() && !is_over {
                result = self.outlet.send(payload);
                thread::sleep(stop.map_or(Duration::ZERO, |_| PACE));
            }
        };
        let mut push = |change: Change<'_>| self.batcher.push(&change, &mut send);
        report(&mut self.feed, &mut push);
        self.batcher.finish(&mut send);
        result
    }

    /// Waits, but no longer than that, or until a router asks for a replay.
    fn wait(&self, most: Duration) -> zmq::Result<()> {
        let nap = most.min(NAP);
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

/// When the state may be repeated. A router that loses part of each repetition asks again and
/// again, so the pause doubles until none was needed for some time.
struct Repeats {
    last: Option<Instant>,
    pause: Duration,
}

impl Repeats {
    fn new() -> Self {
        Self {
            last: None,
            pause: PAUSES.0,
        }
    }

    /// Returns whether the pause is over.
    fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= self.pause)
    }

    /// Starts the next pause.
    fn note(&mut self) {
        let is_soon = self
            .last
            .is_some_and(|last| last.elapsed() < 4 * self.pause);
        let pause = if is_soon { 2 * self.pause } else { PAUSES.0 };
        self.pause = pause.min(PAUSES.1);
        self.last = Some(Instant::now());
    }
}
