//! A cache in its simplest form: a table of prefixes.
//!
//! A prefix is written as letters, one a block: its tokens, and the items that start in it. The
//! model does not predict what the clock evicts, only what it may: blocks that are reported to have
//! left are taken out after checking that they were there, unheld, and that nothing cached followed
//! them.

use std::collections::BTreeMap;
use std::ops::Bound;

use kvtrie::{BlockId, Prompt};

/// A namespace between two clearings.
pub type Root = usize;

/// What should be cached.
#[derive(Default)]
pub struct Model {
    /// From a root and a prefix to the block that ends it. What begins like a prefix comes right
    /// behind it.
    cached: BTreeMap<(Root, Vec<u8>), BlockId>,
    /// The namespace of each root so far.
    roots: Vec<usize>,
}

/// What a hold should cover.
#[derive(Clone)]
pub struct Cover {
    pub root: Root,
    pub letters: Vec<u8>,
    /// The blocks: those there are never change.
    pub table: Vec<BlockId>,
}

/// Letters that differ in their tokens. A letter plus a multiple of this has the same tokens, and
/// other items.
pub const PLAIN: u8 = 4;

/// The items of a letter: the place of each in the block, and what fills its digest.
fn items(letter: u8, size: usize) -> Vec<(usize, u8)> {
    match letter / PLAIN {
        0 => vec![],
        1 => vec![(0, 1)],
        2 => vec![(0, 2)],
        3 => vec![(size - 1, 1)],
        _ => vec![(0, 1), (size - 1, 2)],
    }
}

/// The letter of a block of which a prompt has all tokens but the last, or fewer: what it will be
/// once plain tokens have completed it.
pub fn begun(letter: u8) -> u8 {
    let plain = letter % PLAIN;
    match letter / PLAIN {
        3 => plain,
        4.. => plain + PLAIN,
        _ => letter,
    }
}

/// A prompt of the first `len` tokens of some blocks.
pub fn prompt(letters: &[u8], size: usize, len: usize) -> Prompt<'static> {
    let mut tokens = tokens(letters, size);
    tokens.truncate(len);
    let blocks = letters.iter().enumerate();
    let items = blocks.flat_map(|(block, letter)| {
        let here = items(*letter, size).into_iter();
        here.map(move |(place, content)| (block * size + place, content))
    });
    let kept = items.filter(|(start, _)| *start < len);
    kept.fold(Prompt::new(tokens), |prompt, (start, content)| {
        prompt.with_item(start..start + 1, [content; 32])
    })
}

/// A prompt of whole blocks.
pub fn whole(letters: &[u8], size: usize) -> Prompt<'static> {
    prompt(letters, size, letters.len() * size)
}

/// The token at one place of a block, which differs from that of other letters only at one end.
fn token(letter: u8, place: usize, size: usize) -> u32 {
    let letter = letter % PLAIN;
    let at = if letter % 2 == 0 { 0 } else { size - 1 };
    u32::from(letter) * u32::from(place == at)
}

/// The tokens of some blocks.
pub fn tokens(letters: &[u8], size: usize) -> Vec<u32> {
    let block = |letter: &u8| {
        let letter = *letter;
        (0..size).map(move |place| token(letter, place, size))
    };
    letters.iter().flat_map(block).collect()
}

impl Model {
    /// A new root for a namespace.
    pub fn root(&mut self, namespace: usize) -> Root {
        self.roots.push(namespace);
        self.roots.len() - 1
    }

    /// The namespace of a root.
    pub fn namespace(&self, root: Root) -> usize {
        self.roots[root]
    }

    /// The longest cached prefix of a prompt.
    pub fn longest(&self, root: Root, prompt: &[u8]) -> Cover {
        let ends = (1..=prompt.len()).map(|blocks| prompt[..blocks].to_vec());
        let table: Vec<_> = ends
            .map_while(|prefix| self.cached.get(&(root, prefix)).copied())
            .collect();
        let letters = prompt[..table.len()].to_vec();
        Cover {
            root,
            letters,
            table,
        }
    }

    /// Every cached prefix, with the block that ends it.
    pub fn cached(&self) -> impl Iterator<Item = (Root, &[u8], BlockId)> {
        let entries = self.cached.iter();
        entries.map(|((root, letters), id)| (*root, letters.as_slice(), *id))
    }

    /// How many blocks are cached.
    pub fn len(&self) -> usize {
        self.cached.len()
    }

    /// Whether something cached follows a prefix.
    pub fn is_followed(&self, root: Root, letters: &[u8]) -> bool {
        let behind = (Bound::Excluded((root, letters.to_vec())), Bound::Unbounded);
        let next = self.cached.range(behind).next();
        next.is_some_and(|((of, next), _)| *of == root && next.starts_with(letters))
    }

    /// Publishes blocks behind a hold, whose cover grows. Answers which of them were cached
    /// already.
    pub fn extend(&mut self, cover: &mut Cover, letters: &[u8], ids: &[BlockId]) -> Vec<BlockId> {
        let mut duplicates = Vec::new();
        for (letter, id) in letters.iter().zip(ids) {
            cover.letters.push(*letter);
            let key = (cover.root, cover.letters.clone());
            let canonical = *self.cached.entry(key).or_insert(*id);
            cover.table.push(canonical);
            if canonical != *id {
                duplicates.push(*id);
            }
        }
        duplicates
    }

    /// The prefix that a cached block ends.
    pub fn prefix(&self, id: BlockId) -> Option<(Root, Vec<u8>)> {
        let mut entries = self.cached.iter();
        let entry = entries.find(|(_, cached)| **cached == id);
        entry.map(|(prefix, _)| prefix.clone())
    }

    /// Takes out a block that has left.
    pub fn evict(&mut self, id: BlockId) {
        let (root, letters) = self.prefix(id).expect("what leaves was cached");
        assert!(
            !self.is_followed(root, &letters),
            "tails leave before heads"
        );
        self.cached.remove(&(root, letters));
    }

    /// Whether each prefix is cached together with all that it begins with.
    pub fn is_prefix_closed(&self) -> bool {
        let parent = |(root, letters): &(Root, Vec<u8>)| match letters.as_slice() {
            [] => false,
            [_] => true,
            [before @ .., _] => self.cached.contains_key(&(*root, before.to_vec())),
        };
        self.cached.keys().all(parent)
    }
}
