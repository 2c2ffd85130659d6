//! The waiting requests, and who gives way when blocks run out.
//!
//! Requests carry tickets in the order of arrival, and keep them when they are preempted. If the
//! oldest unfinished request is refused blocks, no other gets any until it has them: one that waits
//! goes on waiting, one that runs and needs a block gives way (its blocks go, its tokens stay, it
//! queues again).
//!
//! So the oldest is never preempted, and while it waits, every other request finishes within its
//! limit of tokens or gives way. Then all the blocks that it does not hold itself can be reclaimed,
//! and a request that would not fit the whole pool was refused before it got in. It therefore
//! finishes, the next becomes the oldest, and so on: no deadlock, and no request starves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    Request,
    job::{Job, Ticket},
};

/// Longest sleep of a thread that has nothing to do. It need not be woken for every change.
const NAP: Duration = Duration::from_millis(1);

/// The waiting requests of all decode threads. No thread calls into the cache while it has them
/// locked.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Ticket, Job>,
    unfinished: BTreeSet<Ticket>,
    /// Whether the oldest unfinished request was refused blocks.
    oldest_waits: bool,
    arrivals: usize,
    is_closed: bool,
}

impl State {
    fn is_oldest(&self, ticket: Ticket) -> bool {
        self.unfinished.first() == Some(&ticket)
    }

    fn may_allocate(&self, ticket: Ticket) -> bool {
        !self.oldest_waits || self.is_oldest(ticket)
    }
}

impl Queue {
    /// Queues a request that arrives.
    pub fn submit(&self, request: Request) {
        let mut state = self.lock();
        let job = Job::new(request, state.arrivals);
        state.arrivals += 1;
        state.unfinished.insert(job.ticket);
        state.waiting.insert(job.ticket, job);
        self.changed.notify_one();
    }

    /// Notes that a running request has another sample.
    pub fn add(&self, ticket: Ticket) {
        self.lock().unfinished.insert(ticket);
    }

    /// Notes that no request will arrive any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Gives up every request, because a decode thread panicked.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.unfinished.clear();
        state.is_closed = true;
    }

    /// Takes the oldest waiting job, if it may get blocks now.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        let (&oldest, _) = state.waiting.first_key_value()?;
        let may_allocate = state.may_allocate(oldest);
        may_allocate.then(|| state.waiting.remove(&oldest))?
    }

    /// Queues a job again that was refused blocks, or has given its own back.
    pub fn put_back(&self, job: Job) {
        self.lock().waiting.insert(job.ticket, job);
        self.changed.notify_one();
    }

    /// Calls `grow` unless the oldest request waits for blocks and this is another one. Returns
    /// whether the blocks were granted.
    pub fn allocate(&self, ticket: Ticket, grow: impl FnOnce() -> bool) -> bool {
        if !self.lock().may_allocate(ticket) {
            return false;
        }
        let is_granted = grow();
        let mut state = self.lock();
        if state.is_oldest(ticket) {
            state.oldest_waits = !is_granted;
        }
        is_granted
    }

    /// Returns whether a request is the oldest, which keeps its blocks while it waits for more.
    pub fn is_oldest(&self, ticket: Ticket) -> bool {
        self.lock().is_oldest(ticket)
    }

    /// Notes that a request is finished and has let its blocks go.
    pub fn finish(&self, ticket: Ticket) {
        self.lock().unfinished.remove(&ticket);
        self.changed.notify_one();
    }

    /// Sleeps for a moment, or until something changes.
    pub fn nap(&self) {
        let woken = self.changed.wait_timeout(self.lock(), NAP);
        drop(woken.expect("no thread panics inside the queue"));
    }

    /// Returns whether every request is finished, and none will arrive.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_closed && state.unfinished.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.state.lock();
        state.expect("no thread panics inside the queue")
    }
}

#[cfg(test)]
mod tests {
    //! The rules of giving way, without threads.

    use super::*;

    #[test]
    fn while_the_oldest_waits_for_blocks_no_other_gets_any() {
        let queue = Queue::default();
        let request = |id| Request {
            id,
            prompt: vec![1],
            answer: 1,
            samples: 1,
        };
        (0..3).for_each(|id| queue.submit(request(id)));
        let [oldest, second] = [(); 2].map(|()| queue.take().expect("it may get blocks"));
        assert!(!queue.allocate(second.ticket, || false));
        assert!(
            queue.allocate(second.ticket, || true),
            "only the oldest counts"
        );
        assert!(!queue.allocate(oldest.ticket, || false));
        assert!(!queue.allocate(second.ticket, || panic!("the oldest waits")));
        assert!(queue.take().is_none(), "the third may not get blocks");
        queue.put_back(oldest.clone());
        assert_eq!(queue.take().expect("the oldest may").ticket, oldest.ticket);
        assert!(queue.allocate(oldest.ticket, || true));
        assert!(queue.allocate(second.ticket, || true));
        queue.finish(oldest.ticket);
        assert!(queue.is_oldest(second.ticket));
    }
}
