//! The waiting requests of all decode threads.
//!
//! Requests carry tickets in the order of arrival, and keep them when they are preempted: their
//! blocks go, their tokens stay, and they queue again before all that arrived later.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use crate::request::{Request, Ticket};

/// Why the lock is never poisoned.
const NO_PANIC: &str = "no thread panics inside the queue";

/// The waiting and the answered requests. No thread calls into the cache while it has them locked.
#[derive(Debug, Default)]
pub struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Ticket, Request>,
    unfinished: usize,
    finished: Vec<Request>,
    arrivals: usize,
    is_abandoned: bool,
}

impl Queue {
    /// Queues a turn of a conversation, which arrives now.
    pub fn submit(&self, turn: (usize, usize), prompt: Vec<u32>) {
        let mut state = self.lock();
        let request = Request::new(state.arrivals, turn, prompt);
        state.arrivals += 1;
        state.unfinished += 1;
        state.waiting.insert(request.ticket, request);
    }

    /// Notes that a running request has another sample.
    pub fn add_sample(&self) {
        self.lock().unfinished += 1;
    }

    /// Takes the oldest waiting request.
    pub fn take(&self) -> Option<Request> {
        self.lock().waiting.pop_first().map(|(_, request)| request)
    }

    /// Queues a request again that was refused blocks, or has given its own back.
    pub fn put_back(&self, request: Request) {
        self.lock().waiting.insert(request.ticket, request);
    }

    /// Takes a request that is answered and has let its blocks go.
    pub fn finish(&self, request: Request) {
        let mut state = self.lock();
        state.unfinished -= 1;
        state.finished.push(request);
    }

    /// Gives up every request, because a decode thread panicked.
    pub fn abandon(&self) {
        self.lock().is_abandoned = true;
    }

    /// Returns whether every request is answered, or given up.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_abandoned || state.unfinished == 0
    }

    /// Returns the requests that are answered.
    pub fn into_finished(self) -> Vec<Request> {
        self.0.into_inner().expect(NO_PANIC).finished
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect(NO_PANIC)
    }
}
