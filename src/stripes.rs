//! Stripes: a share of the statistics for each thread, so that no two threads write the same count.
//!
//! A thread takes a stripe with its first count and gives it back when it ends. Then another thread
//! may take it, and adds to the counts there with a plain load and a plain store. It sees the
//! last count of the old owner, because a lock guards the stripes that are free.
//!
//! Stripes come in chunks, each twice as large as the one before, so there are enough for any
//! number of threads. A chunk is allocated when the first thread needs it. Until that is done, the
//! other threads that need it wait, each once in its life.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{OnceLock, PoisonError};
use std::{array, iter};

use crossbeam_utils::CachePadded;

use crate::sync::Mutex;

/// The stripe on which any thread may count, by read-modify-writes.
pub const SHARED: usize = 0;
/// Stripes in the first chunk. In a model all threads share one, and stacks are short.
pub const FIRST: usize = if cfg!(loom) { 1 } else { 64 };
/// Further chunks: with the first they have 2^23 stripes. Linux allows a process 2^22 threads.
const MORE: usize = 16;

/// One value for each stripe.
#[derive(Debug)]
pub struct Striped<T> {
    first: [CachePadded<T>; FIRST],
    more: [OnceLock<Box<[CachePadded<T>]>>; MORE],
}

impl<T: Default> Default for Striped<T> {
    fn default() -> Self {
        Self {
            first: array::from_fn(|_| CachePadded::default()),
            more: [const { OnceLock::new() }; MORE],
        }
    }
}

impl<T: Default> Striped<T> {
    /// Returns the value of a stripe.
    #[inline]
    pub fn get(&self, stripe: usize) -> &T {
        match self.first.get(stripe) {
            Some(value) => value,
            None => self.get_more(stripe),
        }
    }

    /// Returns the value of a stripe behind the first ones.
    #[cold]
    fn get_more(&self, stripe: usize) -> &T {
        // Chunk k has FIRST * 2^k stripes, and so many less FIRST come before it.
        let place = stripe + FIRST;
        let chunk = (place.ilog2() - FIRST.ilog2()) as usize;
        let len = FIRST << chunk;
        let values = self.more[chunk - 1]
            .get_or_init(|| iter::repeat_with(Default::default).take(len).collect());
        &values[place - len]
    }

    /// Returns the values of all stripes on which a thread has counted, and more.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let more = self.more.iter().filter_map(OnceLock::get).flatten();
        self.first.iter().chain(more).map(|value| &**value)
    }
}

/// The stripes that no thread owns.
#[derive(Debug, Default)]
pub struct Free(Mutex<Numbers>);

/// The numbers of the free stripes: those given back, and all from `next` on.
#[derive(Debug)]
struct Numbers {
    given_back: BinaryHeap<Reverse<usize>>,
    next: usize,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            given_back: BinaryHeap::new(),
            next: SHARED + 1,
        }
    }
}

impl Free {
    /// Takes the lowest free stripe.
    pub fn take(&self) -> usize {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match numbers.given_back.pop() {
            Some(Reverse(stripe)) => stripe,
            None => {
                numbers.next += 1;
                numbers.next - 1
            }
        }
    }

    /// Gives a stripe back that the caller has taken.
    pub fn give_back(&self, stripe: usize) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.given_back.push(Reverse(stripe));
    }
}

/// Returns the stripe of the calling thread: the shared one if it is already dropping its locals.
#[cfg(not(loom))]
#[inline]
pub fn mine() -> usize {
    /// The stripe of a thread, until the thread ends.
    struct Mine(usize);

    static FREE: OnceLock<Free> = OnceLock::new();

    std::thread_local! {
        static MINE: Mine = Mine(FREE.get_or_init(Free::default).take());
    }

    impl Drop for Mine {
        fn drop(&mut self) {
            FREE.get_or_init(Free::default).give_back(self.0);
        }
    }

    MINE.try_with(|mine| mine.0).unwrap_or(SHARED)
}

/// Returns the shared stripe. loom does not explore statistics: all its threads count together.
#[cfg(loom)]
pub fn mine() -> usize {
    SHARED
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_ends_gives_its_stripe_back() {
        let stripes: HashSet<_> = (0..200)
            .map(|_| thread::spawn(mine).join().expect("no panic"))
            .collect();
        // Other tests take some at the same time.
        assert!(stripes.len() < 100, "200 threads took turns at few stripes");
        assert!(!stripes.contains(&SHARED));
    }

    #[test]
    fn each_of_many_threads_has_a_stripe_of_its_own() {
        const THREADS: usize = 3 * FIRST;
        let all_there = Barrier::new(THREADS);
        let values = Striped::<OnceLock<usize>>::default();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (all_there, values) = (&all_there, &values);
                scope.spawn(move || {
                    let stripe = mine();
                    all_there.wait();
                    assert_ne!(stripe, SHARED);
                    values.get(stripe).set(thread).expect("no other thread");
                });
            }
        });
        assert_eq!(values.iter().filter_map(OnceLock::get).count(), THREADS);
    }
}
