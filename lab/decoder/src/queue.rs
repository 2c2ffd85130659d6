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
    sync::{Mutex, MutexGuard},
};

use crate::request::{Request, Ticket};

/// Why the lock is never poisoned.
const NO_PANIC: &str = "no thread panics inside the queue";

/// The waiting requests of all decode threads. No thread calls into the cache while it has them
/// locked.
#[derive(Debug, Default)]
pub struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Ticket, Request>,
    unfinished: BTreeSet<Ticket>,
    finished: Vec<Request>,
    /// Whether the oldest unfinished request was refused blocks.
    oldest_waits: bool,
    arrivals: usize,
    is_abandoned: bool,
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
    /// Queues a turn of a conversation, which arrives now.
    pub fn submit(&self, turn: (usize, usize), prompt: Vec<u32>) {
        let mut state = self.lock();
        let request = Request::new(state.arrivals, turn, prompt);
        state.arrivals += 1;
        state.unfinished.insert(request.ticket);
        state.waiting.insert(request.ticket, request);
    }

    /// Notes that a running request has another sample.
    pub fn add(&self, ticket: Ticket) {
        self.lock().unfinished.insert(ticket);
    }

    /// Gives up every request, because a decode thread panicked.
    pub fn abandon(&self) {
        self.lock().is_abandoned = true;
    }

    /// Takes the oldest waiting request, if it may get blocks now.
    pub fn take(&self) -> Option<Request> {
        let mut state = self.lock();
        let (&oldest, _) = state.waiting.first_key_value()?;
        let may_allocate = state.may_allocate(oldest);
        may_allocate.then(|| state.waiting.remove(&oldest))?
    }

    /// Queues a request again that was refused blocks, or has given its own back.
    pub fn put_back(&self, request: Request) {
        self.lock().waiting.insert(request.ticket, request);
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

    /// Takes a request that is answered and has let its blocks go.
    pub fn finish(&self, request: Request) {
        let mut state = self.lock();
        state.unfinished.remove(&request.ticket);
        state.finished.push(request);
    }

    /// Returns whether every request is answered, or given up.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_abandoned || state.unfinished.is_empty()
    }

    /// Returns the requests that are answered.
    pub fn into_finished(self) -> Vec<Request> {
        self.0.into_inner().expect(NO_PANIC).finished
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect(NO_PANIC)
    }
}

#[cfg(test)]
mod tests {
    //! The rules of giving way, without threads.

    use super::*;

    #[test]
    fn while_the_oldest_waits_for_blocks_no_other_gets_any() {
        let queue = Queue::default();
        (0..3).for_each(|user| queue.submit((user, 0), vec![1]));
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
        queue.finish(oldest);
        assert!(queue.is_oldest(second.ticket));
    }
}
