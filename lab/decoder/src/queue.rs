//! The waiting requests, and their order when blocks run out.
//!
//! # Nothing is lost, and nothing starves
//!
//! Requests carry tickets in the order of arrival, and keep them when they are preempted. A request
//! that is refused blocks registers as *starving*, unless an older one is registered already. While
//! one is registered, younger requests get no block: one that waits goes on waiting, one that runs
//! and needs a block gives way (its blocks go, its tokens stay, it queues again).
//!
//! So the oldest unfinished request is never preempted, and when it starves, every other request
//! finishes within its limit of tokens or gives way. Then all the blocks that it does not hold
//! itself can be reclaimed, and a request that would not fit the whole pool was refused before it
//! got in. It therefore finishes, the next becomes the oldest, and so on: no deadlock, no livelock.
//!
//! # No wake-up is missed
//!
//! Whatever may change an answer counts as an event: an arrival, blocks let go, another request
//! starving. A starving request sleeps only if no event came since just before its last attempt.
//! Two requests that fail because each took a part of what the other needed (allocation is all or
//! nothing) cannot both fall asleep: the older registers, which is an event, and tries again, and
//! the younger one's failure is an event too.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{
    Request,
    job::{Job, Ticket},
};

/// The waiting requests of all decode threads.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Ticket, Job>,
    starving: Option<Ticket>,
    arrivals: u64,
    events: u64,
    is_closed: bool,
}

/// What a request that needs blocks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Try to allocate; the event count goes with the attempt.
    Try(u64),
    /// Nothing has changed since the last attempt.
    Wait,
    /// An older request starves: give way.
    Yield,
}

impl State {
    fn turn(&self, ticket: Ticket, refused_at: Option<u64>) -> Turn {
        match self.starving {
            Some(starving) if starving < ticket => Turn::Yield,
            Some(starving) if starving == ticket && refused_at == Some(self.events) => Turn::Wait,
            _ => Turn::Try(self.events),
        }
    }

    /// Registers a refusal. Returns whether that is an event for others.
    fn refuse(&mut self, ticket: Ticket) -> bool {
        match self.starving {
            Some(starving) if starving == ticket => false,
            Some(starving) if starving < ticket => true,
            _ => {
                self.starving = Some(ticket);
                true
            }
        }
    }
}

impl Queue {
    /// Queues a request that arrives.
    pub fn submit(&self, request: Request) {
        let mut state = self.lock();
        let job = Job::new(request, state.arrivals);
        state.arrivals += 1;
        state.waiting.insert(job.ticket, job);
        self.happened(state);
    }

    /// Notes that no request will arrive any more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.happened(state);
    }

    /// Takes the oldest waiting job, if it may try to get its blocks now.
    pub fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        let (&ticket, oldest) = state.waiting.first_key_value()?;
        let Turn::Try(events) = state.turn(ticket, oldest.refused_at) else {
            return None;
        };
        let mut job = state.waiting.remove(&ticket)?;
        job.refused_at = Some(events);
        Some(job)
    }

    /// Returns what a running request that needs blocks may do.
    pub fn turn(&self, job: &Job) -> Turn {
        self.lock().turn(job.ticket, job.refused_at)
    }

    /// Notes that a request got its blocks.
    pub fn granted(&self, job: &mut Job) {
        job.refused_at = None;
        let mut state = self.lock();
        if state.starving == Some(job.ticket) {
            state.starving = None;
            self.happened(state);
        }
    }

    /// Notes that a running request got no blocks. It keeps those that it has.
    pub fn refused(&self, job: &Job) {
        let mut state = self.lock();
        if state.refuse(job.ticket) {
            self.happened(state);
        }
    }

    /// Puts back a request from the queue that got no blocks.
    pub fn put_back(&self, job: Job) {
        let mut state = self.lock();
        let is_event = state.refuse(job.ticket);
        state.waiting.insert(job.ticket, job);
        if is_event {
            self.happened(state);
        }
    }

    /// Queues a running request that gave way and let its blocks go.
    pub fn preempted(&self, job: Job) {
        let mut state = self.lock();
        state.waiting.insert(job.ticket, job);
        self.happened(state);
    }

    /// Notes that a finished request let its blocks go.
    pub fn let_go(&self) {
        self.happened(self.lock());
    }

    /// Returns the number of events so far.
    pub fn events(&self) -> u64 {
        self.lock().events
    }

    /// Sleeps until there are more events than `seen`.
    pub fn wait(&self, seen: u64) {
        let state = self.lock();
        let no_news = |state: &mut State| state.events == seen;
        drop(
            self.changed
                .wait_while(state, no_news)
                .expect("no thread panics inside the queue"),
        );
    }

    /// Returns whether a decode thread with an empty batch may end.
    pub fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_closed && state.waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no thread panics inside the queue")
    }

    fn happened(&self, mut state: MutexGuard<'_, State>) {
        state.events += 1;
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    //! The rules of giving way, without threads.

    use super::*;

    fn ticket(arrival: u64) -> Ticket {
        Ticket { arrival, sample: 0 }
    }

    #[test]
    fn a_starving_request_makes_younger_ones_give_way() {
        let mut state = State::default();
        assert!(state.refuse(ticket(2)));
        assert_eq!(state.turn(ticket(3), None), Turn::Yield);
        assert_eq!(state.turn(ticket(1), None), Turn::Try(0));
        assert!(state.refuse(ticket(1)), "an older one takes its place");
        assert_eq!(state.turn(ticket(2), Some(0)), Turn::Yield);
    }

    #[test]
    fn a_starving_request_sleeps_only_while_nothing_happens() {
        let mut state = State::default();
        assert!(state.refuse(ticket(2)), "the first refusal is news");
        assert!(!state.refuse(ticket(2)), "the second is not");
        assert_eq!(state.turn(ticket(2), Some(0)), Turn::Wait);
        assert!(
            state.refuse(ticket(3)),
            "a younger one has given blocks back"
        );
        state.events += 1;
        assert_eq!(state.turn(ticket(2), Some(0)), Turn::Try(1));
    }
}
