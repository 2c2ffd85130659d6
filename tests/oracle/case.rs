//! One case: a cache of some shape, what was done to it, and what it should contain. After each
//! operation everything that can be seen of the cache is compared with the [`Model`].

use kvtrie::{
    Block, BlockId, ChangeFeed, Hold, Namespace, NamespaceKey, Pinned, PrefixCache, Priority,
    Prompt,
};

use crate::choices::Choices;
use crate::model::{Cover, Model, Root, begun, prompt, tokens, whole};
use crate::request::{Kind, Request};
use crate::router::Router;

/// Operations of a case, at most.
const STEPS: usize = 1_000;
/// Blocks of a prompt, at most.
pub const PROMPT: usize = 20;
/// Namespaces that are made and dropped to have the unused ones forgotten.
const STRANGERS: u32 = 130;

/// A cache, and what it should contain.
pub struct Case<'b> {
    pub choices: Choices<'b>,
    pub cache: PrefixCache,
    /// The change feed, if the cache has one, and what it has told.
    pub feed: Option<ChangeFeed>,
    pub router: Router,
    pub model: Model,
    pub budget: usize,
    /// Whether its requests keep replaced blocks until they end.
    keeps_replaced: bool,
    pub spaces: Vec<(Namespace, Root)>,
    pub holds: Vec<(Hold, Cover)>,
    pub pinned: Vec<(Pinned, Cover)>,
    pub requests: Vec<Request>,
    pub owned: Vec<Block>,
    /// Ids whose blocks were given up.
    pub lent: Vec<BlockId>,
    /// Every block there is.
    pub ids: Vec<BlockId>,
}

/// Plays the operations that some bytes stand for, checks after each, and that everything comes
/// back in the end.
pub fn play(bytes: &[u8]) {
    let mut case = Case::new(Choices::new(bytes));
    for _ in 0..STEPS {
        if case.choices.are_over() {
            break;
        }
        case.step();
        case.check();
    }
    case.end();
}

/// The key of a namespace: two models, and a tenant of one of them.
fn key(namespace: usize) -> NamespaceKey {
    match namespace {
        0 => NamespaceKey::model("a"),
        1 => NamespaceKey::model("b"),
        _ => NamespaceKey::model("a").tenant("b"),
    }
}

impl<'b> Case<'b> {
    fn new(mut choices: Choices<'b>) -> Self {
        let blocks = choices.of(&[1, 2, 3, 5, 8, 12, 24, 40, 72, 200]);
        let budget = choices.upto(blocks);
        let keeps_replaced = choices.upto(1) == 1;
        let cache = PrefixCache::builder()
            .blocks(blocks)
            .block_size(choices.of(&[1, 2, 4, 16, 33]))
            .run_length(choices.of(&[1, 2, 3, 5, 32]))
            .pin_budget(budget)
            // So that a case that fails does so again.
            .seed(0)
            // So that inputs which were found earlier still do the same.
            .change_feed(budget % 2 == 0)
            .build()
            .expect("the settings are sound");
        let all = cache.allocate(blocks).expect("all are free");
        let ids = all.iter().map(Block::id).collect();
        drop(all);
        let mut model = Model::default();
        let spaces = (0..3).map(|name| (cache.namespace(key(name)), model.root(name)));
        Self {
            spaces: spaces.collect(),
            choices,
            model,
            feed: cache.change_feed().ok(),
            router: Router::default(),
            budget,
            keeps_replaced,
            holds: Vec::new(),
            pinned: Vec::new(),
            requests: Vec::new(),
            owned: Vec::new(),
            lent: Vec::new(),
            ids,
            cache,
        }
    }

    fn step(&mut self) {
        match self.choices.upto(63) {
            0..10 => self.lookup(),
            10..14 => self.start_request(),
            14..26 => self.extend(),
            26..33 => self.allocate(),
            33 => self.ask(),
            34..36 => self.lend_or_adopt(),
            36..43 => self.let_go(),
            43..45 => self.fork(),
            45..47 => self.pin(),
            47..55 => self.go_on(),
            55..58 => self.evict(),
            58 => self.clear(),
            59 => self.clear_all(),
            60 => self.peek(),
            61 => self.namespace(),
            62 => self.poll(),
            _ => self.owned.truncate(self.choices.upto(self.owned.len())),
        }
    }

    /// A prompt: a letter for each block that it has a token of, how many tokens it has, whether it
    /// is to be read, and itself.
    fn prompt(&mut self) -> (Vec<u8>, usize, bool, Prompt<'static>) {
        let size = self.cache.block_size();
        let mut letters = self.choices.letters(PROMPT, size);
        let mut len = letters.len() * size;
        let rest = self.choices.upto(size - 1);
        if rest > 0 {
            letters.push(begun(self.choices.keyed_letter(size)));
            len += rest;
        }
        let read = self.choices.upto(15) < 15;
        let prompt = prompt(&letters, size, len).with_read(read);
        (letters, len, read, prompt)
    }

    /// What a prompt should find of the blocks that lie within its first `len` tokens.
    fn found(&self, space: usize, letters: &[u8], len: usize, read: bool) -> Cover {
        let whole = len / self.cache.block_size();
        let sought = if read { &letters[..whole] } else { &[] };
        self.model.longest(self.spaces[space].1, sought)
    }

    fn lookup(&mut self) {
        let space = self.choices.upto(2);
        let (letters, len, read, prompt) = self.prompt();
        let handle = &self.spaces[space].0;
        let (hold, most) = if self.choices.upto(3) == 0 {
            let hold = self.cache.lookup_prefill(handle, &prompt);
            (hold, len.saturating_sub(1))
        } else {
            (self.cache.lookup(handle, &prompt), len)
        };
        let cover = self.found(space, &letters, most, read);
        self.holds.push((hold, cover));
    }

    fn peek(&mut self) {
        let space = self.choices.upto(2);
        let (letters, len, read, prompt) = self.prompt();
        let expected = self.found(space, &letters, len, read).letters.len();
        let before = self.sight();
        let found = self.cache.peek(&self.spaces[space].0, &prompt);
        assert_eq!(found, expected * self.cache.block_size());
        assert_eq!(self.sight(), before, "a peek leaves no trace");
        if read {
            let changed = self.cache.reprioritize(&self.spaces[space].0, &prompt);
            assert_eq!(changed, found);
            let stats = self.sight().stats;
            assert_eq!(stats, before.stats, "priorities count in no statistic");
        }
    }

    /// Makes a namespace anew, perhaps after so many others that an unused one is forgotten.
    fn namespace(&mut self) {
        let name = self.choices.upto(2);
        let (handle, root) = self.spaces.remove(name);
        let hash = handle.hash();
        drop(handle);
        if self.choices.upto(7) == 7 {
            for stranger in 0..STRANGERS {
                let key = key(0).adapter(stranger.to_le_bytes());
                drop(self.cache.namespace(key));
            }
        }
        let handle = self.cache.namespace(key(name));
        assert_eq!(handle.hash(), hash, "equal keys have equal hashes");
        self.spaces.insert(name, (handle, root));
    }

    fn extend(&mut self) {
        if self.holds.is_empty() || self.owned.is_empty() {
            return;
        }
        let index = self.choices.upto(self.holds.len() - 1);
        let n = self.choices.upto(self.owned.len());
        let blocks = self.owned.split_off(self.owned.len() - n);
        let ids: Vec<_> = blocks.iter().map(Block::id).collect();
        let size = self.cache.block_size();
        let letters: Vec<u8> = (0..n).map(|_| self.choices.keyed_letter(size)).collect();
        let mut tokens = tokens(&letters, size);
        match self.choices.upto(15) {
            12 => {
                return self.extend_wrongly(
                    index,
                    &tokens[..tokens.len().saturating_sub(1)],
                    blocks,
                );
            }
            13 => {
                tokens.extend(vec![0; size]);
                return self.extend_wrongly(index, &tokens, blocks);
            }
            _ => {}
        }
        let (hold, cover) = &mut self.holds[index];
        let store = self.choices.upto(15) < 15;
        let prompt = prioritize(whole(&letters, size), size, &mut self.choices);
        let prompt = prompt.with_store(store);
        let duplicates = hold.publish(prompt, blocks).expect("complete blocks");
        if !store {
            assert!(duplicates.iter().map(Block::id).eq(ids), "all come back");
            self.owned.extend(duplicates);
            return;
        }
        let expected = self.model.extend(cover, &letters, &ids);
        assert!(duplicates.iter().map(Block::id).eq(expected));
        self.owned.extend(duplicates);
    }

    /// Offers blocks that do not fit the tokens: they come back.
    fn extend_wrongly(&mut self, index: usize, tokens: &[u32], blocks: Vec<Block>) {
        let fits = tokens.len() == blocks.len() * self.cache.block_size();
        let before = self.sight();
        match self.holds[index].0.publish(tokens, blocks) {
            Ok(nothing) => assert!(fits && nothing.is_empty()),
            Err(wrong) => {
                assert!(wrong.is_partial_block() != wrong.is_wrong_block_count());
                assert_eq!(self.sight(), before, "a refusal changes nothing");
                self.owned.extend(wrong.into_blocks());
            }
        }
    }

    fn let_go(&mut self) {
        if !self.holds.is_empty() {
            let (hold, cover) = (self.holds).swap_remove(self.choices.upto(self.holds.len() - 1));
            if self.choices.upto(3) == 3 {
                let from = self.choices.upto(hold.token_count() + 1);
                let evicted = self.cache.evict_from(hold, from);
                let gone: Vec<_> = evicted.iter().map(|evicted| evicted.block.id()).collect();
                self.ended(&cover, from, &gone);
            }
        }
        if !self.pinned.is_empty() && self.choices.upto(3) == 0 {
            let one = self.choices.upto(self.pinned.len() - 1);
            drop(self.pinned.swap_remove(one));
        }
    }

    fn fork(&mut self) {
        if let Some((hold, cover)) = self.holds.last() {
            let fork = (hold.clone(), cover.clone());
            self.holds.push(fork);
        }
    }

    pub fn pins(&self) -> usize {
        self.pinned.iter().map(|(_, cover)| cover.table.len()).sum()
    }

    fn pin(&mut self) {
        let Some((hold, cover)) = self.holds.last() else {
            return;
        };
        let (requested, pinned) = (cover.table.len(), self.pins());
        let before = self.sight();
        match self.cache.pin(hold) {
            Ok(pin) => {
                assert!(pinned + requested <= self.budget, "within the budget");
                self.pinned.push((pin, cover.clone()));
            }
            Err(over) => {
                assert!(
                    pinned + requested > self.budget,
                    "refused only without need"
                );
                assert_eq!(
                    (over.requested, over.pinned, over.budget),
                    (requested, pinned, self.budget)
                );
                assert_eq!(self.sight(), before, "a refusal changes nothing");
            }
        }
    }

    fn start_request(&mut self) {
        let space = self.choices.upto(2);
        let (letters, len, read, prompt) = self.prompt();
        let cover = self.found(space, &letters, len.saturating_sub(1), read);
        let store = self.choices.upto(7) < 7;
        let prompt = prompt.with_store(store);
        let sequence = self.cache.sequence(&self.spaces[space].0, prompt);
        let kind = Kind {
            keeps_replaced: self.keeps_replaced,
            store,
            size: self.cache.block_size(),
        };
        let request = Request::new(sequence, cover, letters, kind);
        self.requests.push(request);
    }

    /// Does something with a request.
    fn go_on(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let index = self.choices.upto(self.requests.len() - 1);
        let choice = self.choices.upto(17);
        let (choices, model) = (&mut self.choices, &mut self.model);
        let request = &mut self.requests[index];
        match choice {
            0..5 => {
                let spare = choices.upto(7) / 7;
                let missing = request.missing() + spare;
                if let Some(blocks) = self.take(missing) {
                    self.requests[index].add_blocks(blocks);
                }
            }
            5..9 => request.advance(choices.upto(request.most()), model),
            9..12 => (0..=choices.upto(40)).for_each(|_| request.push(choices.letter())),
            12 | 13 => {
                let fork = request.fork();
                self.requests.push(fork);
            }
            14 => self.requests.swap_remove(index).finish(),
            15 => drop(self.requests.swap_remove(index)),
            16 => request.truncate(choices.upto(request.len())),
            _ => self.finish_at(index),
        }
    }

    /// Ends a request early.
    fn finish_at(&mut self, index: usize) {
        let request = self.requests.swap_remove(index);
        let keep = self.choices.upto(request.len() + 1);
        let cover = request.finish_at(&self.cache, keep);
        let gone = |id: &&BlockId| self.cache.inspect(**id).is_none();
        let gone: Vec<_> = cover.table.iter().rev().filter(gone).copied().collect();
        self.ended(&cover, keep, &gone);
    }
}

/// Adds any priorities and any retention, which change no answer.
fn prioritize<'p>(prompt: Prompt<'p>, size: usize, choices: &mut Choices<'_>) -> Prompt<'p> {
    let levels = [
        Priority::EvictFirst,
        Priority::Low,
        Priority::Normal,
        Priority::High,
    ];
    prompt
        .with_priority(choices.of(&levels))
        .with_priority_of(size.., choices.of(&levels))
        .with_retention(choices.upto(15))
}
