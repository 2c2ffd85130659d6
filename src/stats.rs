//! Statistics: striped counters, and the plain snapshot for the caller.

use crate::stripes::{SHARED, Striped, mine};
use crate::sync::{Counter, RELAXED};

/// A snapshot of a cache's counters.
///
/// A snapshot taken while other threads work is approximate. If no other thread works, it is exact,
/// and `free + owned + cached` is the capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Physical blocks in total.
    pub capacity: usize,
    /// Blocks that are neither owned nor cached.
    pub free: usize,
    /// Unpublished blocks that callers own, and [lent](crate::Block::into_id) ids.
    pub owned: usize,
    /// Cached blocks, held or not.
    pub cached: usize,
    /// Blocks that count against the pin budget.
    pub pinned: usize,
    /// Lookups so far.
    pub lookups: u64,
    /// Tokens of all prompts looked up. A [`Sequence`](crate::Sequence) never finds all of them,
    /// because one is always left to compute.
    pub requested_tokens: u64,
    /// Tokens that the lookups found.
    pub hit_tokens: u64,
    /// Blocks published so far.
    pub published: u64,
    /// Runs published so far: each is one allocation. `published / runs` is their mean length.
    pub runs: u64,
    /// Blocks offered that were published before.
    pub duplicates: u64,
    /// Blocks evicted so far, by any call.
    pub evicted: u64,
    /// Words of candidates (64 blocks each) that the clock hand or a forecast read.
    pub hand_words: u64,
    /// Candidates that the clock hand has passed.
    pub hand_steps: u64,
    /// Bytes of the linked nodes.
    pub node_bytes: usize,
    /// Bytes of unlinked nodes not freed yet, **in all caches of the process**.
    ///
    /// All caches share one collector. A node can be freed once every call that ran at the
    /// unlinking has ended, so this grows while a thread is stopped inside a call. Later calls that
    /// allocate or evict then free it. The last nodes that each thread has unlinked do not count:
    /// less than 60, or 256 KiB.
    pub retired_bytes: usize,
    /// The [limit](crate::Builder::retired_limit) above which this cache evicts nothing.
    pub retired_limit: usize,
    /// Bytes of the tables, which depend on the capacity, and on whether there is a change feed.
    pub table_bytes: usize,
    /// Namespaces in the cache.
    pub namespaces: usize,
    /// Bytes of the namespaces, and of the roots of cleared ones: a later clearing frees those that
    /// are no longer in use.
    pub namespace_bytes: usize,
}

/// The counts of one thread. (All Relaxed: statistics.)
#[derive(Debug, Default)]
struct Stripe {
    lookups: Counter,
    requested: Counter,
    hit: Counter,
    published: Counter,
    runs: Counter,
    duplicates: Counter,
    evicted: Counter,
    hand_words: Counter,
    hand_steps: Counter,
    /// Modulo 2^64, like those below: a thread may unlink a node that another has linked.
    node_bytes: Counter,
    namespaces: Counter,
    namespace_bytes: Counter,
}

/// The number of blocks that a thread evicts before the bytes of the nodes are added up again. That
/// takes a cache line for each thread, and 64 lines at least: a few nanoseconds a block.
const PERIOD: u64 = 1_024;

/// Selects one of the counts.
type Field = fn(&Stripe) -> &Counter;

/// The counters of one cache.
#[derive(Debug)]
pub struct Counters(Striped<Stripe>);

impl Counters {
    /// Makes counters that are all zero.
    pub fn new() -> Self {
        Self(Striped::default())
    }

    /// Counts a lookup of `requested` tokens that found `hit` of them.
    pub fn looked_up(&self, requested: usize, hit: usize) {
        self.add([
            (|stripe| &stripe.lookups, 1),
            (|stripe| &stripe.requested, requested),
            (|stripe| &stripe.hit, hit),
        ]);
    }

    /// Counts the publication of `blocks`. If they start a run, `bytes` is the size of its node.
    /// Returns the thread's count before and after.
    pub fn published(&self, blocks: usize, bytes: Option<usize>) -> (u64, u64) {
        let stripe = mine();
        let old = add_to(&self.0.get(stripe).published, stripe, blocks);
        self.add_at(
            stripe,
            [
                (|stripe| &stripe.runs, usize::from(bytes.is_some())),
                (|stripe| &stripe.node_bytes, bytes.unwrap_or_default()),
            ],
        );
        (old, old.wrapping_add(blocks as u64))
    }

    /// Counts blocks that were offered although they were cached already.
    pub fn duplicates(&self, blocks: usize) {
        self.add([(|stripe| &stripe.duplicates, blocks)]);
    }

    /// Counts the eviction of `blocks`. Returns whether the thread's count has passed a multiple of
    /// [`PERIOD`].
    pub fn evicted(&self, blocks: usize) -> bool {
        let (stripe, blocks) = (mine(), blocks as u64);
        let old = add_to(&self.0.get(stripe).evicted, stripe, blocks as usize);
        old.wrapping_add(blocks) % PERIOD < blocks
    }

    /// Returns the bytes of the linked nodes.
    pub fn node_bytes(&self) -> usize {
        self.balance(|stripe| &stripe.node_bytes)
    }

    /// Counts the words that the clock hand read, and the candidates that it found.
    pub fn hand(&self, words: usize, found: usize) {
        self.add([
            (|stripe| &stripe.hand_words, words),
            (|stripe| &stripe.hand_steps, found),
        ]);
    }

    /// Counts the unlinking of a node of `bytes`.
    pub fn unlinked(&self, bytes: usize) {
        self.add([(|stripe| &stripe.node_bytes, bytes.wrapping_neg())]);
    }

    /// Counts a change of the number of namespaces, and of the bytes that they and the roots of
    /// cleared ones take.
    pub fn namespaces(&self, change: isize, bytes: isize) {
        self.add([
            (|stripe| &stripe.namespaces, change as usize),
            (|stripe| &stripe.namespace_bytes, bytes as usize),
        ]);
    }

    /// Returns how many blocks are published and not evicted.
    pub fn cached(&self) -> usize {
        let cached =
            self.sum(|stripe| &stripe.published) as i64 - self.sum(|stripe| &stripe.evicted) as i64;
        // Between the two sums other threads may evict more than the first one counted.
        cached.max(0) as usize
    }

    /// Writes all counts into a snapshot.
    pub fn fill(&self, stats: &mut Stats) {
        stats.lookups = self.sum(|stripe| &stripe.lookups);
        stats.requested_tokens = self.sum(|stripe| &stripe.requested);
        stats.hit_tokens = self.sum(|stripe| &stripe.hit);
        stats.published = self.sum(|stripe| &stripe.published);
        stats.runs = self.sum(|stripe| &stripe.runs);
        stats.duplicates = self.sum(|stripe| &stripe.duplicates);
        stats.evicted = self.sum(|stripe| &stripe.evicted);
        stats.hand_words = self.sum(|stripe| &stripe.hand_words);
        stats.hand_steps = self.sum(|stripe| &stripe.hand_steps);
        stats.node_bytes = self.node_bytes();
        stats.namespaces = self.balance(|stripe| &stripe.namespaces);
        stats.namespace_bytes = self.balance(|stripe| &stripe.namespace_bytes);
        stats.cached = self.cached();
    }

    /// Adds up one count over all stripes.
    fn sum(&self, field: Field) -> u64 {
        let values = self.0.iter().map(|stripe| field(stripe).load(RELAXED));
        values.fold(0, u64::wrapping_add)
    }

    /// Adds up a count to which one thread adds what another subtracts.
    fn balance(&self, field: Field) -> usize {
        // Between the loads of two stripes, more may be subtracted than was added before.
        (self.sum(field) as i64).max(0) as usize
    }

    /// Adds to several counts of this thread's stripe.
    #[inline]
    fn add<const N: usize>(&self, counts: [(Field, usize); N]) {
        self.add_at(mine(), counts);
    }

    /// Adds to several counts of a stripe that the thread has looked up.
    #[inline]
    fn add_at<const N: usize>(&self, stripe: usize, counts: [(Field, usize); N]) {
        let mine = self.0.get(stripe);
        for (field, n) in counts {
            add_to(field(mine), stripe, n);
        }
    }
}

/// Adds `n` to a count of the thread's stripe. Returns the count before.
#[inline]
fn add_to(count: &Counter, stripe: usize, n: usize) -> u64 {
    let n = n as u64;
    if stripe == SHARED {
        count.fetch_add(n, RELAXED)
    } else {
        // This thread alone writes here, so no read-modify-write is needed: that would take a
        // quarter of the time of a short lookup.
        let old = count.load(RELAXED);
        count.store(old.wrapping_add(n), RELAXED);
        old
    }
}
