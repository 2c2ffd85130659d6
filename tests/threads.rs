//! Crowds of threads, all alive at once, each at every public call: every call is counted.
//! One test at a time, since stripes belong to the process.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use common::{alone, assert_accounted, cache, together};
use kvtrie::{BlockId, Hold, Namespace, PrefixCache, Priority, Prompt};

/// Numbers of threads: a few more than the first chunk of stripes is for, and many more.
const CROWDS: [usize; 2] = [70, 200];
/// Blocks that each thread needs at a time.
const BLOCKS: usize = 16;

/// What every thread of a crowd does, and when.
struct Crowd {
    cache: PrefixCache,
    shared: Namespace,
    /// Where all threads wait for each other.
    barrier: Barrier,
}

/// What one thread has counted.
#[derive(Default)]
struct Done {
    lookups: u64,
    requested: u64,
    published: u64,
    duplicates: u64,
    evicted: u64,
}

impl Crowd {
    fn new(threads: usize) -> Self {
        let cache = cache(threads * BLOCKS, 2, 3);
        Self {
            shared: cache.namespace("shared"),
            cache,
            barrier: Barrier::new(threads),
        }
    }

    fn lookup(&self, namespace: &Namespace, prompt: &[u32], done: &mut Done) -> Hold {
        done.lookups += 1;
        done.requested += prompt.len() as u64;
        self.cache.lookup(namespace, prompt)
    }

    /// Publishes a prompt of whole blocks from the root on.
    fn publish(
        &self,
        space: &Namespace,
        prompt: &[u32],
        priority: Priority,
        done: &mut Done,
    ) -> Hold {
        let mut hold = self.lookup(space, &[], done);
        let blocks = prompt.len() / 2;
        let offered = self.cache.allocate(blocks).expect("room for every thread");
        let prompt = Prompt::new(prompt).with_priority(priority);
        let duplicates = hold.publish(prompt, offered);
        let duplicates = duplicates.expect("whole blocks").len() as u64;
        done.duplicates += duplicates;
        done.published += blocks as u64 - duplicates;
        hold
    }

    /// Every call that names a prefix, in a namespace of the thread's own and in the one that all
    /// share.
    fn use_prefixes(&self, thread: u32, done: &mut Done) {
        let own = self.cache.namespace(format!("thread {thread}"));
        for (space, tokens) in [(&own, [thread; 6]), (&self.shared, [7; 6])] {
            let hold = self.publish(space, &tokens, Priority::High, done);
            assert_eq!(
                (hold.len(), hold.token_count(), hold.is_empty()),
                (3, 6, false)
            );
            let found = self.lookup(space, &[&tokens[..], &[thread]].concat(), done);
            let mut row = [0_u32; 3];
            found.block_table_into(&mut row);
            let table = row.map(|id| BlockId::new(id as usize)).to_vec();
            assert_eq!((table, found.hash()), (hold.block_table(), hold.hash()));
            assert!(hold.clone().holds() >= 3);
            done.lookups += 1;
            done.requested += 6;
            assert_eq!(self.cache.lookup_prefill(space, tokens).token_count(), 4);
            assert_eq!(self.cache.peek(space, tokens), 6);
            assert!(
                self.cache
                    .inspect(hold.block_table()[2])
                    .is_some_and(|usage| usage.holds >= 2)
            );
            let chain = tokens.chunks(2).fold(space.hash(), |hash, block| {
                self.cache.compute_block_hash(hash, block)
            });
            assert_eq!(chain, hold.hash());
            let pinned = self.cache.pin(&hold).expect("within the budget");
            assert_eq!(pinned.hold().block_table(), hold.block_table());
        }
        let tail = self.publish(&own, &[thread; 8], Priority::Normal, done);
        drop(tail);
        let left = self.cache.clear(&own).len() as u64;
        assert!(left <= 4 && self.cache.peek(&own, [thread; 8]) == 0);
        done.evicted += left;
    }

    /// A request from its start to its end.
    fn serve(&self, thread: u32, done: &mut Done) {
        let prompt = [1_000 + thread; 5];
        let mut request = self.cache.sequence(&self.shared, prompt);
        done.lookups += 1;
        done.requested += 5;
        assert_eq!((request.cached_tokens(), request.missing_blocks(0)), (0, 3));
        request.add_blocks(self.cache.allocate(1).expect("room for every thread"));
        request.grow(&self.cache, 0).expect("room for every thread");
        assert!(request.missing_blocks(0) == 0 && request.block_table().len() == 3);
        assert!(request.advance(5).entries.is_empty());
        request.push(thread);
        assert_eq!(
            (request.uncomputed(), request.computed_tokens()),
            (&[thread][..], 5)
        );
        assert_eq!(request.hold().token_count(), 4);
        let fork = request.fork();
        assert_eq!(fork.tokens(), request.tokens());
        drop(fork);
        request.advance(1);
        assert_eq!(request.finish().len(), 6);
        done.published += 3;
    }

    /// Every call that takes blocks out of the cache.
    fn reclaim(&self, done: &mut Done) {
        let id = self.cache.allocate_one().expect("room for every thread");
        let id = id.into_id();
        assert!(id.index() < self.cache.capacity());
        drop(self.cache.adopt(id).expect("no other thread knows of it"));
        let evicted = self.cache.evict(2).len() + self.cache.evict(usize::MAX).len();
        done.evicted += (evicted + self.cache.clear_all().len()) as u64;
        assert!(self.cache.available(usize::MAX) <= self.cache.capacity());
        assert!(self.cache.allocate(self.cache.capacity() + 1).is_err());
        let stats = self.cache.stats();
        assert_eq!(
            (stats.capacity, self.cache.block_size()),
            (self.cache.capacity(), 2)
        );
        assert!(format!("{:?}", self.cache).contains("PrefixCache"));
    }

    /// Everything, in step with the other threads.
    fn live(&self, thread: u32) -> Done {
        let mut done = Done::default();
        self.barrier.wait();
        self.use_prefixes(thread, &mut done);
        self.serve(thread, &mut done);
        self.barrier.wait();
        self.reclaim(&mut done);
        // None ends before all have done everything.
        self.barrier.wait();
        done
    }
}

#[test]
fn crowds_of_threads_make_every_call_and_all_of_it_is_counted() {
    let _alone = alone();
    for threads in CROWDS {
        let crowd = Crowd::new(threads);
        let done = together((0..threads).map(|thread| {
            let crowd = &crowd;
            move || crowd.live(thread as u32)
        }));
        let sum = |count: fn(&Done) -> u64| done.iter().map(count).sum::<u64>();
        assert_accounted(&crowd.cache);
        let late = crowd.cache.evict(usize::MAX).len() as u64;
        let stats = crowd.cache.stats();
        assert_eq!(stats.lookups, sum(|done| done.lookups), "{threads} threads");
        assert_eq!(stats.requested_tokens, sum(|done| done.requested));
        assert_eq!(stats.published, sum(|done| done.published));
        assert_eq!(stats.duplicates, sum(|done| done.duplicates));
        assert_eq!(stats.evicted, sum(|done| done.evicted) + late);
        assert_eq!((stats.published, stats.node_bytes), (stats.evicted, 0));
        assert_eq!(
            (stats.free, stats.owned, stats.pinned),
            (stats.capacity, 0, 0)
        );
    }
}

/// Two threads that count at the same instants, each on a core of its own.
struct Contest {
    begin: Barrier,
    /// Steps that each side has taken.
    steps: [AtomicUsize; 2],
    /// How often either side found that they met.
    met: AtomicUsize,
    has_cores: bool,
}

impl Contest {
    /// How often the two meet.
    const MEETINGS: usize = 20;
    /// How long they try to meet so often, and how long to meet at all. Where other processes work,
    /// there are seldom two cores for them.
    const PATIENCE: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(60)];
    /// Steps that they take in turns to meet.
    const STEPS: usize = 20;
    /// How long these take if neither waits for a core.
    const AT_ONCE: Duration = Duration::from_micros(100);
    /// Lookups of each side after each try.
    const LOOKUPS: usize = 1_000;

    fn new() -> Self {
        Self {
            begin: Barrier::new(2),
            steps: [const { AtomicUsize::new(0) }; 2],
            met: AtomicUsize::new(0),
            has_cores: thread::available_parallelism().is_ok_and(|cores| cores.get() > 1),
        }
    }

    /// Whether the two have met often enough, or have tried for long enough.
    fn is_over(&self, start: Instant) -> bool {
        let met = self.met.load(Ordering::SeqCst);
        met >= Self::MEETINGS || start.elapsed() >= Self::PATIENCE[usize::from(met == 0)]
    }

    /// Takes a step when the other side has taken as many, without sleeping.
    fn step(&self, side: usize, start: Instant) {
        let steps = self.steps[side].fetch_add(1, Ordering::SeqCst);
        while self.steps[1 - side].load(Ordering::SeqCst) <= steps && !self.is_over(start) {
            std::hint::spin_loop();
        }
    }

    /// Looks things up while the other side does. Returns how often: never on one core, where the
    /// two cannot meet.
    fn play(&self, side: usize, look_up: impl Fn()) -> usize {
        self.begin.wait();
        let (start, mut tries) = (Instant::now(), 0);
        while self.has_cores && !self.is_over(start) {
            // A thread that wakes up gets a core before those that spin.
            thread::sleep(Duration::from_micros(100));
            self.step(side, start);
            let both_awake = Instant::now();
            (0..Self::STEPS).for_each(|_| self.step(side, start));
            // Once the contest is over, no step waits.
            let is_met = both_awake.elapsed() < Self::AT_ONCE && !self.is_over(start);
            self.met.fetch_add(usize::from(is_met), Ordering::SeqCst);
            (0..Self::LOOKUPS).for_each(|_| look_up());
            tries += 1;
        }
        tries * Self::LOOKUPS
    }

    /// Checks that the two have met, if they could.
    fn assert_met(&self) {
        let met = self.met.load(Ordering::SeqCst);
        assert!(met > 0 || !self.has_cores, "the two never counted at once");
    }
}

#[test]
fn crowds_of_threads_lose_no_count() {
    let _alone = alone();
    for threads in CROWDS {
        let cache = cache(4, 1, 4);
        let namespace = cache.namespace("a");
        let look_up = || drop(cache.lookup(&namespace, [1, 2, 3]));
        let [begun, over] = [(); 2].map(|()| Barrier::new(threads));
        let (contest, contested) = (Contest::new(), AtomicUsize::new(0));
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            for place in 0..threads {
                let tell = tell.clone();
                let (begun, over, contest, contested) = (&begun, &over, &contest, &contested);
                scope.spawn(move || {
                    look_up();
                    tell.send(()).expect("the test waits");
                    begun.wait();
                    // The last two of a crowd count at the same instants, on late stripes.
                    if place >= threads - 2 {
                        let lookups = contest.play(place % 2, look_up);
                        contested.fetch_add(lookups, Ordering::SeqCst);
                    }
                    over.wait();
                });
                told.recv().expect("the thread starts");
            }
        });
        contest.assert_met();
        let stats = cache.stats();
        let expected = (threads + contested.load(Ordering::SeqCst)) as u64;
        assert_eq!(
            (stats.lookups, stats.requested_tokens),
            (expected, 3 * expected)
        );
    }
}

/// Threads that live on while others end and start, and as many that end.
const LIVING: usize = 2;

#[test]
fn threads_that_start_where_others_ended_count_apart_from_those_that_live() {
    let _alone = alone();
    let cache = cache(4, 1, 4);
    let namespace = cache.namespace("a");
    let look_up = || drop(cache.lookup(&namespace, [1]));
    let begun = Barrier::new(2 * LIVING + 1);
    // Each thread that lives on against each that starts later.
    let contests = [(); LIVING].map(|()| [(); LIVING].map(|()| Contest::new()));
    let contested = AtomicUsize::new(0);
    let play = |contest: &Contest, side| {
        contested.fetch_add(contest.play(side, look_up), Ordering::SeqCst);
    };
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let mut short_lived = Vec::new();
        // They take their stripes in this order, and every second one gives its stripe back.
        for place in 0..2 * LIVING {
            let (tell, begun, contests, play) = (tell.clone(), &begun, &contests, &play);
            let thread = scope.spawn(move || {
                look_up();
                tell.send(()).expect("the test waits");
                begun.wait();
                let row = contests[place / 2].iter().filter(|_| place % 2 == 0);
                row.for_each(|contest| play(contest, 0));
            });
            told.recv().expect("the thread starts");
            if place % 2 == 1 {
                short_lived.push(thread);
            }
        }
        begun.wait();
        let ended = short_lived.into_iter().map(ScopedJoinHandle::join);
        ended.for_each(|result| result.expect("no panic"));
        for late in 0..LIVING {
            let (contests, play) = (&contests, &play);
            scope.spawn(move || {
                contests.iter().for_each(|against| play(&against[late], 1));
            });
        }
    });
    contests.iter().flatten().for_each(Contest::assert_met);
    let expected = 2 * LIVING + contested.load(Ordering::SeqCst);
    assert_eq!(cache.stats().lookups, expected as u64);
}
