//! The rules of the format, checked on the bytes of each batch.

use std::collections::HashSet;

use rmpv::Value;

/// The keys of a stored run. `extra_keys` may follow.
const STORED: [&str; 8] = [
    "type",
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
];

/// The blocks that the batches leave stored.
#[derive(Debug, Default)]
pub struct Rules {
    stored: HashSet<u64>,
}

impl Rules {
    /// Returns how many blocks are stored.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Checks a batch and applies it.
    pub fn apply(&mut self, mut payload: &[u8]) {
        let batch = rmpv::decode::read_value(&mut payload).unwrap();
        assert!(payload.is_empty());
        let [Value::F64(timestamp), Value::Array(events), rank] =
            batch.as_array().unwrap().as_slice()
        else {
            panic!("a batch is a timestamp, events and a rank: {batch}");
        };
        assert!(*timestamp > 1.7e9 && rank.is_u64());
        for event in events {
            let fields = event.as_map().expect("an event is a map");
            let keys: Vec<_> = fields
                .iter()
                .map(|(key, _)| key.as_str().unwrap())
                .collect();
            match fields[0].1.as_str().unwrap() {
                "BlockStored" => {
                    assert!(
                        keys[..8] == STORED && (keys.len() == 8 || keys[8..] == ["extra_keys"])
                    );
                    self.stored(event);
                }
                "BlockRemoved" => {
                    assert_eq!(keys, ["type", "block_hashes", "medium"]);
                    for hash in numbers(&event["block_hashes"]) {
                        assert!(
                            self.stored.remove(&hash),
                            "a block is removed that is not stored"
                        );
                    }
                }
                "AllBlocksCleared" => {
                    assert_eq!(keys, ["type"]);
                    self.stored.clear();
                }
                other => panic!("unknown event {other}"),
            }
        }
    }

    fn stored(&mut self, event: &Value) {
        let hashes = numbers(&event["block_hashes"]);
        let tokens = numbers(&event["token_ids"]);
        assert_eq!(event["block_size"].as_u64(), Some(super::BLOCK as u64));
        assert_eq!(tokens.len(), hashes.len() * super::BLOCK);
        assert!(tokens.iter().all(|&token| u32::try_from(token).is_ok()));
        assert!(event["lora_id"].is_nil() && event["medium"].as_str() == Some("GPU"));
        let parent = &event["parent_block_hash"];
        assert!(parent.is_nil() || self.stored.contains(&parent.as_u64().unwrap()));
        if let Value::Array(keys) = &event["extra_keys"] {
            assert_eq!(keys.len(), hashes.len(), "extra keys for each block");
        }
        for hash in hashes {
            assert!(self.stored.insert(hash), "a block is stored twice");
        }
    }
}

/// Returns the unsigned numbers of an array.
fn numbers(array: &Value) -> Vec<u64> {
    let numbers = array.as_array().unwrap().iter();
    numbers
        .map(|number| number.as_u64().expect("an unsigned number"))
        .collect()
}
