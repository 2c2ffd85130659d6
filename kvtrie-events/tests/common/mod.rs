//! What the tests share: a cache, the events of a batch, a router's view.

use std::collections::HashMap;

use kvtrie::{Namespace, PrefixCache, Prompt};
use rmpv::Value;

/// Makes a cache with a change feed.
pub fn cache(blocks: usize, block_size: usize) -> PrefixCache {
    let builder = PrefixCache::builder().blocks(blocks).block_size(block_size);
    builder.change_feed(true).build().unwrap()
}

/// Caches every complete block of a prompt.
pub fn serve<'p>(cache: &PrefixCache, namespace: &Namespace, prompt: impl Into<Prompt<'p>>) {
    let mut request = cache.sequence(namespace, prompt);
    request.grow(cache, 0).unwrap();
    request.advance(request.uncomputed().len());
}

/// Returns the events of a batch.
pub fn events(mut payload: &[u8]) -> Vec<Value> {
    let batch = rmpv::decode::read_value(&mut payload).unwrap();
    assert!(payload.is_empty(), "bytes behind the batch");
    let [timestamp, events, _rank] = batch.as_array().unwrap().as_slice() else {
        panic!("a batch has three parts: {batch}");
    };
    assert!(timestamp.as_f64().unwrap() > 1e9, "{timestamp}");
    events.as_array().unwrap().clone()
}

/// Returns a field of an event; nil if it has none.
pub fn field<'e>(event: &'e Value, name: &str) -> &'e Value {
    let fields = event.as_map().unwrap();
    let found = fields.iter().find(|(key, _)| key.as_str() == Some(name));
    found.map_or(&Value::Nil, |(_, value)| value)
}

/// What a router knows of one worker. It checks the rules of the format.
#[derive(Debug, Default)]
pub struct View {
    /// The parent of each block.
    pub blocks: HashMap<u64, Option<u64>>,
}

impl View {
    /// Applies a batch.
    pub fn apply(&mut self, payload: &[u8]) {
        for event in events(payload) {
            match field(&event, "type").as_str().unwrap() {
                "BlockStored" => self.stored(&event),
                "BlockRemoved" => {
                    for hash in hashes(&event) {
                        self.blocks
                            .remove(&hash)
                            .expect("a stored block is removed");
                    }
                }
                "AllBlocksCleared" => self.blocks.clear(),
                other => panic!("unknown event {other}"),
            }
        }
    }

    fn stored(&mut self, event: &Value) {
        let mut parent = field(event, "parent_block_hash").as_u64();
        let size = field(event, "block_size").as_u64().unwrap() as usize;
        let tokens = field(event, "token_ids").as_array().unwrap().len();
        assert_eq!(tokens, hashes(event).len() * size);
        for hash in hashes(event) {
            assert!(parent.is_none_or(|parent| self.blocks.contains_key(&parent)));
            let earlier = self.blocks.insert(hash, parent);
            assert!(earlier.is_none(), "a block is stored twice");
            parent = Some(hash);
        }
    }

    /// Returns whether the view has exactly the prefix of a prompt that is cached.
    pub fn has_exactly(&self, cache: &PrefixCache, namespace: &Namespace, prompt: &[u32]) -> bool {
        let mut hash = namespace.hash();
        let found = cache.peek(namespace, prompt);
        prompt
            .chunks_exact(cache.block_size())
            .enumerate()
            .all(|(number, block)| {
                hash = cache.compute_block_hash(hash, block);
                self.blocks.contains_key(&hash.get()) == ((number + 1) * block.len() <= found)
            })
    }
}

/// Returns the hashes of an event.
pub fn hashes(event: &Value) -> Vec<u64> {
    let hashes = field(event, "block_hashes").as_array().unwrap();
    hashes.iter().map(|hash| hash.as_u64().unwrap()).collect()
}
