//! Statistics: striped counters, and the plain snapshot that a caller sees.

use crossbeam_utils::CachePadded;

use crate::sync::atomic::Ordering;
use crate::sync::{Counter, RELAXED};

/// Stripes of the counters. A thread has one to itself, or shares the last if there are more threads.
const STRIPES: usize = u64::BITS as usize + 1;
/// The stripe that any thread may count on.
const SHARED: usize = STRIPES - 1;

/// What a cache holds and has done.
///
/// A snapshot taken while other threads work is approximate; at rest it is exact, and
/// `free + owned + cached` is the capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Physical blocks in all.
    pub capacity: usize,
    /// Blocks that nobody owns and that cache nothing.
    pub free: usize,
    /// Blocks that callers own, unpublished.
    pub owned: usize,
    /// Blocks that are cached, whether or not a hold keeps them.
    pub cached: usize,
    /// Blocks that count against the pin budget.
    pub pinned: usize,
    /// Lookups so far.
    pub lookups: u64,
    /// Tokens of all the prompts looked up, those included that a prefill computes in any case.
    pub requested_tokens: u64,
    /// Tokens of them that were found.
    pub hit_tokens: u64,
    /// Blocks published.
    pub published: u64,
    /// Blocks offered that another thread had published before.
    pub duplicates: u64,
    /// Blocks evicted, by whichever call.
    pub evicted: u64,
    /// Words of the candidates (64 blocks a word) that the clock hand or a forecast has read.
    pub hand_words: u64,
    /// Candidates that the clock hand has looked at.
    pub hand_steps: u64,
    /// Bytes of the nodes that are linked.
    pub node_bytes: usize,
    /// Bytes of nodes that were unlinked and are not freed yet, **in all caches of the process**: they share one
    /// collector. They are freed once every operation that was under way at the unlinking has ended, so a thread that
    /// is stopped in the middle of one lets this grow without bound.
    pub retired_bytes: usize,
    /// Bytes of the tables, whose size the capacity fixes.
    pub table_bytes: usize,
    /// Namespaces that the cache knows.
    pub namespaces: usize,
    /// Bytes of the namespaces, and of the roots of cleared ones that something still hangs off.
    pub namespace_bytes: usize,
}

/// One thread's share of the counts. (All of it Relaxed: statistics.)
#[derive(Debug, Default)]
struct Stripe {
    lookups: Counter,
    requested: Counter,
    hit: Counter,
    published: Counter,
    duplicates: Counter,
    evicted: Counter,
    hand_words: Counter,
    hand_steps: Counter,
    /// Modulo 2^64, like those below: a thread may unlink what another has linked.
    node_bytes: Counter,
    namespaces: Counter,
    namespace_bytes: Counter,
}

/// One of the counts.
type Field = fn(&Stripe) -> &Counter;

/// The counters of one cache.
#[derive(Debug)]
pub struct Counters(Box<[CachePadded<Stripe>]>);

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self((0..STRIPES).map(|_| CachePadded::default()).collect())
    }

    /// A lookup of `requested` tokens that found `hit` of them.
    pub fn looked_up(&self, requested: usize, hit: usize) {
        self.add([
            (|stripe| &stripe.lookups, 1),
            (|stripe| &stripe.requested, requested),
            (|stripe| &stripe.hit, hit),
        ]);
    }

    /// Counts the publication of a run of that many blocks, with a node of that size.
    pub fn published(&self, blocks: usize, bytes: usize) {
        self.add([
            (|stripe| &stripe.published, blocks),
            (|stripe| &stripe.node_bytes, bytes),
        ]);
    }

    /// Counts blocks that were offered though they were cached.
    pub fn duplicates(&self, blocks: usize) {
        self.add([(|stripe| &stripe.duplicates, blocks)]);
    }

    /// An eviction.
    pub fn evicted(&self, blocks: usize) {
        self.add([(|stripe| &stripe.evicted, blocks)]);
    }

    /// A step of the clock hand.
    pub fn hand(&self, words: usize, found: bool) {
        self.add([
            (|stripe| &stripe.hand_words, words),
            (|stripe| &stripe.hand_steps, usize::from(found)),
        ]);
    }

    /// A node of that size was unlinked.
    pub fn unlinked(&self, bytes: usize) {
        self.add([(|stripe| &stripe.node_bytes, bytes.wrapping_neg())]);
    }

    /// A namespace was made, with a root and a key of that size.
    pub fn namespace_made(&self, bytes: usize) {
        self.add([
            (|stripe| &stripe.namespaces, 1),
            (|stripe| &stripe.namespace_bytes, bytes),
        ]);
    }

    /// A namespace was forgotten.
    pub fn namespace_forgotten(&self, bytes: usize) {
        self.add([
            (|stripe| &stripe.namespaces, 1_usize.wrapping_neg()),
            (|stripe| &stripe.namespace_bytes, bytes.wrapping_neg()),
        ]);
    }

    /// The root of a cleared namespace is kept for what still hangs off it.
    pub fn root_kept(&self, bytes: usize) {
        self.add([(|stripe| &stripe.namespace_bytes, bytes)]);
    }

    /// The root of a cleared namespace was retired.
    pub fn root_retired(&self, bytes: usize) {
        self.add([(|stripe| &stripe.namespace_bytes, bytes.wrapping_neg())]);
    }

    /// Blocks published and not evicted.
    pub fn cached(&self) -> usize {
        let cached =
            self.sum(|stripe| &stripe.published) as i64 - self.sum(|stripe| &stripe.evicted) as i64;
        // Between the two sums other threads may have evicted more than was published before.
        cached.max(0) as usize
    }

    /// Adds what is counted here to a snapshot.
    pub fn fill(&self, stats: &mut Stats) {
        stats.lookups = self.sum(|stripe| &stripe.lookups);
        stats.requested_tokens = self.sum(|stripe| &stripe.requested);
        stats.hit_tokens = self.sum(|stripe| &stripe.hit);
        stats.published = self.sum(|stripe| &stripe.published);
        stats.duplicates = self.sum(|stripe| &stripe.duplicates);
        stats.evicted = self.sum(|stripe| &stripe.evicted);
        stats.hand_words = self.sum(|stripe| &stripe.hand_words);
        stats.hand_steps = self.sum(|stripe| &stripe.hand_steps);
        stats.node_bytes = self.sum(|stripe| &stripe.node_bytes) as usize;
        stats.namespaces = self.sum(|stripe| &stripe.namespaces) as usize;
        stats.namespace_bytes = self.sum(|stripe| &stripe.namespace_bytes) as usize;
        stats.retired_bytes = retired_bytes();
        stats.cached = self.cached();
    }

    fn sum(&self, field: Field) -> u64 {
        let values = self.0.iter().map(|stripe| field(stripe).load(RELAXED));
        values.fold(0, u64::wrapping_add)
    }

    /// Adds to counts of this thread's stripe.
    #[inline]
    fn add<const N: usize>(&self, counts: [(Field, usize); N]) {
        let mine = my_stripe();
        for (field, n) in counts {
            add_to(field(&self.0[mine]), mine, n);
        }
    }
}

/// Bytes of nodes that were retired, less those that were freed: one count for each stripe, modulo 2^64.
static RETIRED: [CachePadded<Counter>; STRIPES] =
    [const { CachePadded::new(Counter::new(0)) }; STRIPES];

/// A node of that size was retired.
pub fn retired(bytes: usize) {
    let mine = my_stripe();
    add_to(&RETIRED[mine], mine, bytes);
}

/// A node of that size, which was retired, is freed.
pub fn freed(bytes: usize) {
    let mine = my_stripe();
    add_to(&RETIRED[mine], mine, bytes.wrapping_neg());
}

/// Bytes of nodes that were retired and not freed, in the whole process.
fn retired_bytes() -> usize {
    let counts = RETIRED.iter().map(|count| count.load(RELAXED));
    // Between two loads another thread may have freed more than was retired before.
    (counts.fold(0, u64::wrapping_add) as i64).max(0) as usize
}

/// Adds to a count of the thread's own stripe.
#[inline]
fn add_to(count: &Counter, mine: usize, n: usize) {
    let n = n as u64;
    if mine == SHARED {
        count.fetch_add(n, RELAXED);
    } else {
        // This thread alone writes here, so it needs no read-modify-write: that is a
        // quarter of the time of a short lookup.
        count.store(count.load(RELAXED).wrapping_add(n), RELAXED);
    }
}

/// The stripe that the thread counts on. One that is tearing its locals down counts with the others.
#[inline]
fn my_stripe() -> usize {
    MINE.try_with(|mine| mine.0).unwrap_or(SHARED)
}

/// The stripe of a thread: its own while it lives, or the shared one.
struct Mine(usize);

/// The stripes that some thread has to itself, one bit each.
static TAKEN: Counter = Counter::new(0);

std::thread_local! {
    static MINE: Mine = Mine::take();
}

impl Mine {
    fn take() -> Self {
        let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        // Acquire (stripe): what the last owner counted is added to.
        match TAKEN.fetch_update(Ordering::Acquire, RELAXED, free) {
            Ok(taken) => Self(taken.trailing_ones() as usize),
            Err(_) => Self(SHARED),
        }
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        if self.0 != SHARED {
            // Release (stripe): the next owner adds to what was counted here.
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}
