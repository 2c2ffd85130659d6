//! Lookups: the longest cached prefix of a prompt.

use super::cache::PrefixCache;
use super::hold::Hold;
use super::namespace::Namespace;
use super::prompt::Prompt;
use crate::item::Keyed;
use crate::trie::Reached;
use crate::trie::guard::{Guard, enter};

impl PrefixCache {
    /// Finds and pins the longest cached prefix of complete blocks.
    ///
    /// The result was the longest match at one instant of the call. A block that is cached during
    /// the whole call is always found. Lock-free; takes time proportional to the number of tokens
    /// found. (A thread's first call in the process also takes a lock for a moment, to get counters
    /// of its own. Its first hit in a cache allocates 1.5 KiB for more of them.)
    ///
    /// It writes few words that threads share. The pin is one atomic step, on the last block found,
    /// or on the root of the namespace after a miss. A plain store notes the use: each of a block's
    /// first seven, and later ones once for each thousandth of a capacity that is inserted. The
    /// first hit after [`in_use`](Self::in_use) has found the block unheld also takes two or three
    /// more atomic steps and a store.
    ///
    /// About once in 128 calls, a thread also advances the epoch, and moves up to eight batches of
    /// retired nodes to those that may be freed. Threads that allocate or evict free them.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block, or if the memory allocator fails at the first
    /// call or hit of a thread.
    ///
    /// # Panics
    ///
    /// If the namespace belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// let again = cache.lookup(&model, &[1, 2, 3]);
    /// assert_eq!((again.token_count(), again.block_table()), (2, hold.block_table()));
    /// assert!(cache.lookup(&model, &[7]).is_empty());
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "a hold that is dropped lets go at once"]
    #[track_caller]
    pub fn lookup<'p>(&self, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) -> Hold {
        let prompt = prompt.into();
        let readable = prompt.readable(prompt.keyed());
        self.find(namespace, readable, prompt.requested())
    }

    /// Pins the longest cached prefix. Counts a lookup of so many requested tokens, or none.
    #[inline]
    #[track_caller]
    pub(super) fn find(
        &self,
        namespace: &Namespace,
        prompt: Keyed<'_>,
        requested: Option<usize>,
    ) -> Hold {
        if prompt.is_plain() {
            self.find_tokens(namespace, prompt.tokens, requested)
        } else {
            self.find_and_hold(namespace, &prompt, requested)
        }
    }

    /// Calls [`find_and_hold`](Self::find_and_hold) with tokens in which no item starts.
    ///
    /// A function of its own, so that an inlined [`lookup`](Self::lookup) of plain tokens passes
    /// them in two registers and builds no [`Keyed`]: 0.96 of the time of a short lookup.
    #[track_caller]
    fn find_tokens(&self, namespace: &Namespace, tokens: &[u32], requested: Option<usize>) -> Hold {
        self.find_and_hold(namespace, &Keyed::plain(tokens), requested)
    }

    /// Finds and pins the longest cached prefix, whether or not items start in the prompt. Counts
    /// the lookup as [`find`](Self::find) does.
    #[track_caller]
    fn find_and_hold(
        &self,
        namespace: &Namespace,
        prompt: &Keyed<'_>,
        requested: Option<usize>,
    ) -> Hold {
        let hold = |end| Hold::new(self.shared_ptr(), end);
        let pin = |root, guard: &_| {
            let end = self.trie().find_and_pin(root, prompt, guard)?;
            self.trie().note_use(end, guard);
            Some(end)
        };
        let end = self.walk(namespace, pin, |end| drop(hold(end)));
        if let Some(requested) = requested {
            let found = end.depth * self.block_size();
            self.trie().counters.looked_up(requested, found);
        }
        // Made last, where the caller wants it: a copy would take a tenth of a short lookup.
        hold(end)
    }

    /// Looks up a prompt, but leaves at least one of its tokens to compute.
    ///
    /// An engine samples the next token from the logits of the last one, so it must run the model
    /// on that one even if the keys and values of all tokens are cached. Otherwise the same as
    /// [`lookup`](Self::lookup).
    ///
    /// # Aborts
    ///
    /// As [`lookup`](Self::lookup).
    ///
    /// # Panics
    ///
    /// If the namespace belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// assert_eq!(cache.lookup_prefill(&model, &[1, 2]).token_count(), 1);
    /// assert_eq!(cache.lookup_prefill(&model, &[1, 2, 3]).token_count(), 2);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use = "a hold that is dropped lets go at once"]
    #[track_caller]
    pub fn lookup_prefill<'p>(&self, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) -> Hold {
        let prompt = prompt.into();
        let readable = prompt.readable(prompt.all_but_last());
        self.find(namespace, readable, prompt.requested())
    }

    /// Returns how many tokens [`lookup`](Self::lookup) would find.
    ///
    /// Use it to choose among waiting requests or workers: it pins nothing, does not count as a
    /// use, and writes to no shared word of the cache. Like a lookup, it sometimes advances the
    /// epoch. To learn whether a request fits, start its
    /// [`Sequence`](crate::Sequence), which holds what is cached, and ask
    /// [`available`](Self::available) for its [`missing_blocks`](crate::Sequence::missing_blocks):
    /// blocks that are cached but not held count as available.
    ///
    /// # Panics
    ///
    /// If the namespace belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// assert_eq!(cache.peek(&model, &[1, 2, 3]), 2);
    /// assert_eq!(cache.stats().lookups, 1, "the hold's own");
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn peek<'p>(&self, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) -> usize {
        let prompt = prompt.into();
        let wanted = prompt.readable(prompt.keyed());
        let peek = |root, guard: &_| self.trie().peek(root, &wanted, guard);
        self.walk(namespace, peek, |_| ()).depth * self.block_size()
    }

    /// Gives the cached part of a prompt the priority and the retention of the prompt. Returns how
    /// many of its tokens are cached.
    ///
    /// For a system prompt that comes into use or falls out of it. Priorities may rise and fall.
    /// Blocks that are not cached are not affected, nor are later publications. This is no use of
    /// the blocks. Takes time proportional to the number of tokens.
    ///
    /// # Aborts
    ///
    /// If 2^28 - 2^22 holds would end at one block.
    ///
    /// # Panics
    ///
    /// If the namespace belongs to another cache.
    ///
    /// # Examples
    ///
    /// ```
    /// # let cache = kvtrie::PrefixCache::builder().blocks(4).block_size(1).build()?;
    /// # let model = cache.namespace("model");
    /// # let mut hold = cache.lookup(&model, &[]);
    /// # hold.publish(&[1, 2], cache.allocate(2).unwrap()).unwrap();
    /// use kvtrie::{Priority, Prompt};
    ///
    /// let system = Prompt::new(&[1, 2, 3]).with_priority(Priority::High);
    /// assert_eq!(cache.reprioritize(&model, system), 2);
    /// let status = cache.inspect(hold.block_table()[0]).unwrap();
    /// assert_eq!(status.priority, Priority::High);
    /// # Ok::<_, kvtrie::BuildError>(())
    /// ```
    #[track_caller]
    pub fn reprioritize<'p>(&self, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) -> usize {
        let prompt = prompt.into();
        let wishes = prompt.options.wishes(&self.trie().ranking);
        let pin = |root, guard: &_| {
            let end = self.trie().find_and_pin(root, &prompt.keyed(), guard)?;
            // The hold keeps the blocks, whose ids would otherwise get other owners.
            Some(Hold::new(self.shared_ptr(), end))
        };
        let found = self.walk(namespace, pin, drop);
        self.trie().set_terms(found.end(), wishes, &enter());
        found.token_count()
    }

    /// Calls `find` with the root of a namespace. If the namespace was cleared meanwhile, the
    /// result may be a part of the longest match: then it is undone, and the walk starts again.
    #[track_caller]
    fn walk<T>(
        &self,
        namespace: &Namespace,
        find: impl Fn(Reached, &Guard) -> Option<T>,
        undo: impl Fn(T),
    ) -> T {
        self.check(namespace);
        let guard = enter();
        loop {
            let root = namespace.space.root(&guard);
            let Some(found) = find(root, &guard) else {
                continue;
            };
            // Rule (begin-anew): a prefix that a clearing cut short was never the longest match.
            if namespace.space.still_has(root, &guard) {
                return found;
            }
            undo(found);
        }
    }
}
