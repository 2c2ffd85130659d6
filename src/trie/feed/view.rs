//! The view: what a reader has reported, as a tree of prefixes.
//!
//! A prefix has one entry, named by its hash, however many physical blocks end it. Two do for a
//! short time: if a prefix is evicted and cached again in another block, the reader may find the
//! new block first. So an entry counts its blocks, its *copies*, and is reported when the count
//! becomes one, and when it becomes zero.
//!
//! An entry without a copy stays until its last child is removed. So the view always has each
//! prefix together with all shorter ones, and so has a router that hears of each change.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use super::change::{Change, Removed, Stored};
use crate::hash::BlockHash;
use crate::id::BlockId;
use crate::item::Item;
use crate::key::NamespaceKey;

/// A cached block that a reader has found.
#[derive(Debug)]
pub struct Found {
    /// The block.
    pub block: BlockId,
    /// Its stay in the cache.
    pub stay: u64,
    /// The hash of the empty prefix of its namespace.
    pub namespace: BlockHash,
    /// The hash of the prefix before it. None if it is the first of its namespace.
    pub parent: Option<BlockHash>,
    /// The hash of the prefix that it ends.
    pub hash: BlockHash,
    /// The place of its tokens in the scan.
    pub text: usize,
    /// The items that start in it.
    pub items: Box<[Item]>,
}

/// One prefix.
#[derive(Debug)]
struct Prefix {
    namespace: BlockHash,
    parent: Option<u32>,
    hash: BlockHash,
    /// The block found last.
    block: BlockId,
    /// The number of blocks that end it.
    copies: u32,
    /// The number of prefixes that are one block longer.
    children: u32,
}

/// A namespace with a prefix.
#[derive(Debug)]
struct Name {
    key: NamespaceKey,
    prefixes: usize,
}

/// A prefix that has left the view.
#[derive(Debug)]
pub struct Gone {
    namespace: BlockHash,
    hash: BlockHash,
}

/// The prefixes that a reader has reported.
#[derive(Debug)]
pub struct View {
    block_size: usize,
    /// The places of the prefixes.
    places: HashMap<BlockHash, u32, RandomState>,
    prefixes: Vec<Prefix>,
    /// The places that have no prefix.
    free: Vec<u32>,
    /// The tokens of the last block of each prefix.
    tokens: Vec<u32>,
    /// The items of those blocks, if they have some.
    items: HashMap<u32, Box<[Item]>, RandomState>,
    /// The namespaces, by the hashes of their empty prefixes.
    names: HashMap<BlockHash, Name, RandomState>,
    /// The number of prefixes that only a child keeps.
    unkept: usize,
}

impl View {
    /// Makes an empty view.
    pub fn new(block_size: usize, state: &RandomState) -> Self {
        Self {
            block_size,
            places: HashMap::with_hasher(state.clone()),
            prefixes: Vec::new(),
            free: Vec::new(),
            tokens: Vec::new(),
            items: HashMap::with_hasher(state.clone()),
            names: HashMap::with_hasher(state.clone()),
            unkept: 0,
        }
    }

    /// Returns the number of prefixes.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether a block ends every prefix.
    pub fn is_kept(&self) -> bool {
        self.unkept == 0
    }

    /// Returns which namespaces of some blocks have no name yet.
    pub fn unnamed(&self, found: &[Found]) -> HashSet<BlockHash> {
        let namespaces = found.iter().map(|found| found.namespace);
        namespaces
            .filter(|namespace| !self.names.contains_key(namespace))
            .collect()
    }

    /// Names namespaces.
    pub fn name(&mut self, names: Vec<(BlockHash, NamespaceKey)>) {
        let names = names.into_iter();
        (self.names).extend(names.map(|(namespace, key)| (namespace, Name { key, prefixes: 0 })));
    }

    /// Forgets the names of namespaces without a prefix.
    pub fn forget_names(&mut self) {
        self.names.retain(|_, name| name.prefixes > 0);
    }

    /// Adds a block, whose text is in `tokens`. Returns the place of its prefix, and whether that
    /// is new.
    ///
    /// # Errors
    ///
    /// The hash of the prefix that must be there first. It is that of the namespace, if that has
    /// no name.
    pub fn add(&mut self, found: &Found, tokens: &[u32]) -> Result<(u32, bool), BlockHash> {
        if let Some(&place) = self.places.get(&found.hash) {
            let prefix = &mut self.prefixes[place as usize];
            self.unkept -= usize::from(prefix.copies == 0);
            prefix.copies += 1;
            prefix.block = found.block;
            return Ok((place, false));
        }
        // Rule (parent-first): a router must know of the parent before the child.
        let parent = match found.parent {
            Some(hash) => Some(*self.places.get(&hash).ok_or(hash)?),
            None => None,
        };
        let name = (self.names.get_mut(&found.namespace)).ok_or(found.namespace)?;
        name.prefixes += 1;
        if let Some(parent) = parent {
            self.prefixes[parent as usize].children += 1;
        }
        let place = self.place(Prefix {
            namespace: found.namespace,
            parent,
            hash: found.hash,
            block: found.block,
            copies: 1,
            children: 0,
        });
        let text = &tokens[found.text..][..self.block_size];
        self.tokens[place as usize * self.block_size..][..self.block_size].copy_from_slice(text);
        if !found.items.is_empty() {
            self.items.insert(place, found.items.clone());
        }
        self.places.insert(found.hash, place);
        Ok((place, true))
    }

    /// Puts a prefix in a free place.
    fn place(&mut self, prefix: Prefix) -> u32 {
        if let Some(place) = self.free.pop() {
            self.prefixes[place as usize] = prefix;
            return place;
        }
        self.prefixes.push(prefix);
        let places = self.prefixes.len();
        self.tokens.resize(places * self.block_size, 0);
        places as u32 - 1
    }

    /// Removes a block of a prefix, and every prefix that nothing keeps any more, the longest
    /// first.
    pub fn remove(&mut self, place: u32, gone: &mut Vec<Gone>) {
        let prefix = &mut self.prefixes[place as usize];
        prefix.copies -= 1;
        self.unkept += usize::from(prefix.copies == 0);
        let mut next = Some(place);
        while let Some(place) = next {
            let prefix = &mut self.prefixes[place as usize];
            // Rule (children-first): a router would know of a child without its parent.
            if prefix.copies > 0 || prefix.children > 0 {
                return;
            }
            let (namespace, hash) = (prefix.namespace, prefix.hash);
            next = prefix.parent;
            if let Some(parent) = next {
                self.prefixes[parent as usize].children -= 1;
            }
            self.unkept -= 1;
            self.places.remove(&hash);
            self.items.remove(&place);
            self.free.push(place);
            let name = self.names.get_mut(&namespace);
            name.expect("a prefix keeps its namespace").prefixes -= 1;
            gone.push(Gone { namespace, hash });
        }
    }

    /// Reports new prefixes, shorter ones first.
    pub fn report_stored(&self, new: &[u32], mut on_change: impl FnMut(Change<'_>)) {
        let mut pending = HashSet::<u32, _>::with_hasher(self.places.hasher().clone());
        pending.extend(new);
        for &end in new {
            if self.prefixes[end as usize].children == 0 {
                self.report_chain(end, |place| pending.remove(&place), &mut on_change);
            }
        }
    }

    /// Reports all prefixes, shorter ones first.
    pub fn report_all(&self, mut on_change: impl FnMut(Change<'_>)) {
        let mut pending = vec![true; self.prefixes.len()];
        for (end, prefix) in self.prefixes.iter().enumerate() {
            // A free place has no copies either. Every other prefix leads to one without children.
            if prefix.copies > 0 && prefix.children == 0 {
                let take = |place| std::mem::replace(&mut pending[place as usize], false);
                self.report_chain(end as u32, take, &mut on_change);
            }
        }
    }

    /// Reports a prefix and those shorter ones that are still to be reported.
    fn report_chain(
        &self,
        end: u32,
        mut take: impl FnMut(u32) -> bool,
        mut on_change: impl FnMut(Change<'_>),
    ) {
        let (mut chain, mut above) = (Vec::new(), Some(end));
        while let Some(place) = above.filter(|place| take(*place)) {
            chain.push(place);
            above = self.prefixes[place as usize].parent;
        }
        chain.reverse();
        let (mut hashes, mut blocks) = (Vec::new(), Vec::new());
        let (mut tokens, mut items) = (Vec::new(), Vec::new());
        for &place in &chain {
            let prefix = &self.prefixes[place as usize];
            let of_block = self.items.get(&place).map_or(&[][..], |items| items);
            let first = tokens.len();
            items.extend(
                of_block
                    .iter()
                    .map(|item| (first + item.start as usize, item.digest)),
            );
            let text = &self.tokens[place as usize * self.block_size..];
            tokens.extend_from_slice(&text[..self.block_size]);
            hashes.push(prefix.hash);
            blocks.push(prefix.block);
        }
        let namespace = self.prefixes[end as usize].namespace;
        on_change(Change::Stored(Stored {
            namespace: &self.names[&namespace].key,
            parent: above.map(|place| self.prefixes[place as usize].hash),
            hashes: &hashes,
            tokens: &tokens,
            blocks: &blocks,
            items: &items,
        }));
    }

    /// Reports removed prefixes, of one namespace after the other.
    pub fn report_removed(&self, gone: &mut [Gone], mut on_change: impl FnMut(Change<'_>)) {
        // Stable, so a prefix still comes after all longer ones.
        gone.sort_by_key(|gone| gone.namespace);
        for gone in gone.chunk_by(|one, next| one.namespace == next.namespace) {
            let hashes: Vec<_> = gone.iter().map(|gone| gone.hash).collect();
            on_change(Change::Removed(Removed {
                namespace: &self.names[&gone[0].namespace].key,
                hashes: &hashes,
            }));
        }
    }
}
