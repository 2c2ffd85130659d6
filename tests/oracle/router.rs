//! A router: it knows only what a change feed has told it, and checks that every report is valid.

use std::collections::BTreeMap;

use kvtrie::{BlockHash, BlockId, Change, ChangeFeed, NamespaceKey, PrefixCache, Prompt, Stored};

/// A prefix that the router knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub namespace: NamespaceKey,
    pub parent: Option<BlockHash>,
    pub tokens: Vec<u32>,
    pub items: Vec<(usize, [u8; 32])>,
    pub block: BlockId,
    children: usize,
}

/// The prefixes that a feed has reported.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Router {
    pub known: BTreeMap<BlockHash, Known>,
    /// How often everything was cleared.
    pub cleared: usize,
    /// How many prefixes were stored and removed.
    pub stored: usize,
    pub removed: usize,
}

impl Router {
    /// Polls a feed. Returns whether that was everything.
    pub fn poll(&mut self, feed: &mut ChangeFeed, cache: &PrefixCache) -> bool {
        feed.poll(|change| self.hear(change, cache))
    }

    /// Hears of one change.
    pub fn hear(&mut self, change: Change<'_>, cache: &PrefixCache) {
        match change {
            Change::Stored(run) => self.store_run(run, cache),
            Change::Removed(gone) => {
                assert!(!gone.hashes.is_empty(), "something was removed");
                for hash in gone.hashes {
                    self.remove(*hash, gone.namespace);
                }
            }
            Change::Cleared => {
                assert!(!self.known.is_empty(), "there was something to clear");
                self.cleared += 1;
                self.removed += self.known.len();
                self.known.clear();
            }
            _ => panic!("an unknown change"),
        }
    }

    fn store_run(&mut self, run: Stored<'_>, cache: &PrefixCache) {
        let (blocks, size) = (run.hashes.len(), cache.block_size());
        assert!(blocks > 0, "something was stored");
        assert_eq!(run.blocks.len(), blocks);
        assert_eq!(run.tokens.len(), blocks * size);
        let mut parent = run.parent;
        for (at, &hash) in run.hashes.iter().enumerate() {
            let (first, last) = (at * size, (at + 1) * size);
            let here = |(start, _): &&(usize, _)| (first..last).contains(start);
            let items = run.items.iter().filter(here);
            let prefix = Known {
                namespace: run.namespace.clone(),
                parent,
                tokens: run.tokens[first..last].to_vec(),
                items: items
                    .map(|(start, digest)| (start - first, *digest))
                    .collect(),
                block: run.blocks[at],
                children: 0,
            };
            self.store(hash, prefix, cache);
            parent = Some(hash);
        }
    }

    fn store(&mut self, hash: BlockHash, prefix: Known, cache: &PrefixCache) {
        let start = cache.namespace(prefix.namespace.clone()).hash();
        let mut prompt = Prompt::new(&prefix.tokens);
        for (place, digest) in &prefix.items {
            prompt = prompt.with_item(*place..place + 1, *digest);
        }
        let expected = cache.compute_block_hash(prefix.parent.unwrap_or(start), prompt);
        assert_eq!(hash, expected, "the hash of what is reported");
        if let Some(parent) = prefix.parent {
            let parent = self.known.get_mut(&parent).expect("parents come first");
            assert_eq!(parent.namespace, prefix.namespace);
            parent.children += 1;
        }
        self.stored += 1;
        let old = self.known.insert(hash, prefix);
        assert!(old.is_none(), "stored once");
    }

    fn remove(&mut self, hash: BlockHash, namespace: &NamespaceKey) {
        let prefix = self.known.remove(&hash).expect("what is removed is known");
        assert_eq!(prefix.namespace, *namespace);
        assert_eq!(prefix.children, 0, "longer prefixes leave first");
        if let Some(parent) = prefix.parent {
            (self.known.get_mut(&parent).expect("a parent stays")).children -= 1;
        }
        self.removed += 1;
    }

    /// The tokens and the items of a known prefix.
    pub fn prefix(&self, hash: BlockHash) -> (Vec<u32>, Vec<(usize, [u8; 32])>) {
        let mut chain = vec![&self.known[&hash]];
        while let Some(parent) = chain[chain.len() - 1].parent {
            chain.push(&self.known[&parent]);
        }
        let (mut tokens, mut items) = (Vec::new(), Vec::new());
        for block in chain.iter().rev() {
            let first = tokens.len();
            items.extend(
                block
                    .items
                    .iter()
                    .map(|(place, digest)| (first + place, *digest)),
            );
            tokens.extend_from_slice(&block.tokens);
        }
        (tokens, items)
    }

    /// Checks that `peek` finds every known prefix. Only at rest.
    pub fn assert_all_found(&self, cache: &PrefixCache) {
        for (hash, prefix) in &self.known {
            let (tokens, items) = self.prefix(*hash);
            let len = tokens.len();
            let plain = Prompt::new(tokens);
            let prompt = items.into_iter().fold(plain, |prompt, (place, digest)| {
                prompt.with_item(place..place + 1, digest)
            });
            let found = cache.peek(&cache.namespace(prefix.namespace.clone()), prompt);
            assert_eq!(found, len, "a known prefix is cached: {prefix:?}");
        }
    }
}
