//! The bytes of batches.

mod common;

use common::{cache, events, field, hashes, serve};
use kvtrie::{ChangeFeed, NamespaceKey, Prompt};
use kvtrie_events::{Batcher, Format};
use rmpv::Value;

/// Returns the batches of all changes since the last poll.
fn poll(feed: &mut ChangeFeed, batcher: &mut Batcher) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    feed.poll(|change| batcher.push(&change, |payload| payloads.push(payload)));
    batcher.finish(|payload| payloads.push(payload));
    payloads
}

/// Returns the only batch, without the timestamp: its first byte, and the bytes from the tenth on.
fn bytes(mut payloads: Vec<Vec<u8>>) -> Vec<u8> {
    assert_eq!(payloads.len(), 1);
    let mut payload = payloads.remove(0);
    assert_eq!(payload[1], 0xcb, "a float of 64 bits");
    payload.drain(1..10);
    payload
}

/// Writes MessagePack for the expected bytes.
fn packed(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A short string in MessagePack.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xa0 | text.len() as u8];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A number of 64 bits in MessagePack.
fn number(number: u64) -> Vec<u8> {
    let mut bytes = vec![0xcf];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes
}

#[test]
fn a_stored_run_has_eight_keys_in_this_order() {
    let cache = cache(8, 2);
    let model = cache.namespace("model");
    let mut feed = cache.change_feed().unwrap();
    let mut batcher = Batcher::new(Format::new(2));
    serve(&cache, &model, [1, 200, 300, 70_000]);
    let first = cache.compute_block_hash(model.hash(), [1, 200]);
    let second = cache.compute_block_hash(first, [300, 70_000]);
    let expected = packed(&[
        &[0x93, 0x91, 0x88],
        &text("type"),
        &text("BlockStored"),
        &text("block_hashes"),
        &[0x92],
        &number(first.get()),
        &number(second.get()),
        &text("parent_block_hash"),
        &[0xc0],
        &text("token_ids"),
        &[0x94, 1, 0xcc, 200, 0xcd, 1, 44, 0xce, 0, 1, 17, 112],
        &text("block_size"),
        &[2],
        &text("lora_id"),
        &[0xc0],
        &text("medium"),
        &text("GPU"),
        &text("lora_name"),
        &[0xc0],
        &[0],
    ]);
    assert_eq!(bytes(poll(&mut feed, &mut batcher)), expected);

    serve(&cache, &model, [1, 200, 300, 70_000, 5, 6]);
    let batches = poll(&mut feed, &mut batcher);
    let stored = &events(&batches[0])[0];
    let parent = field(stored, "parent_block_hash");
    assert_eq!(parent.as_u64(), Some(second.get()));
    assert_eq!(field(stored, "token_ids").as_array().unwrap().len(), 2);
}

#[test]
fn removals_and_clearing_are_short_maps() {
    let cache = cache(8, 2);
    let model = cache.namespace("model");
    let mut feed = cache.change_feed().unwrap();
    let mut batcher = Batcher::new(Format::new(2).medium("CPU").dp_rank(None));
    serve(&cache, &model, [1, 2]);
    serve(&cache, &model, [3, 4]);
    poll(&mut feed, &mut batcher);
    drop(cache.evict(1));
    let [one, two] = [[1, 2], [3, 4]].map(|block| cache.compute_block_hash(model.hash(), block));
    let gone = if cache.peek(&model, [1, 2]) == 0 {
        one
    } else {
        two
    };
    let expected = packed(&[
        &[0x93, 0x91, 0x83],
        &text("type"),
        &text("BlockRemoved"),
        &text("block_hashes"),
        &[0x91],
        &number(gone.get()),
        &text("medium"),
        &text("CPU"),
        &[0xc0],
    ]);
    assert_eq!(bytes(poll(&mut feed, &mut batcher)), expected);

    cache.clear(&model);
    let cleared = packed(&[
        &[0x93, 0x91, 0x81],
        &text("type"),
        &text("AllBlocksCleared"),
        &[0xc0],
    ]);
    assert_eq!(bytes(poll(&mut feed, &mut batcher)), cleared);
}

#[test]
fn adapters_tenants_and_items_travel_with_the_blocks() {
    let cache = cache(16, 2);
    let key = NamespaceKey::model("model").adapter("poet").tenant("acme");
    let poet = cache.namespace(key);
    let mut feed = cache.change_feed().unwrap();
    let mut batcher = Batcher::new(Format::new(2));
    let prompt = Prompt::new(&[1, 2, 3, 0, 0, 6, 7, 0]);
    let prompt = prompt.with_item(3..5, [0xab; 32]).with_item(7..8, [1; 32]);
    serve(&cache, &poet, &prompt);
    let batches = poll(&mut feed, &mut batcher);
    let mut keys = Vec::new();
    for event in batches.iter().flat_map(|payload| events(payload)) {
        assert_eq!(field(&event, "lora_name").as_str(), Some("poet"));
        match field(&event, "extra_keys") {
            Value::Nil => keys.extend(hashes(&event).iter().map(|_| Value::Nil)),
            found => keys.extend(found.as_array().unwrap().iter().cloned()),
        }
    }
    let item = |digest: &str| Value::from(vec![digest.repeat(32).into(), Value::from(1)]);
    let expected = [
        Value::from(vec![Value::from("acme")]),
        Value::from(vec![item("ab")]),
        Value::Nil,
        Value::from(vec![item("01")]),
    ];
    assert_eq!(keys, expected);
}

#[test]
fn names_that_are_no_text_become_hexadecimal() {
    let cache = cache(4, 2);
    let key = NamespaceKey::model("model")
        .adapter([0xff, 1])
        .tenant([0xfe]);
    serve(&cache, &cache.namespace(key), [1, 2]);
    let mut feed = cache.change_feed().unwrap();
    let batches = poll(&mut feed, &mut Batcher::new(Format::new(2)));
    let event = &events(&batches[0])[0];
    assert_eq!(field(event, "lora_name").as_str(), Some("ff01"));
    let keys = Value::from(vec![Value::from(vec![Value::from("fe")])]);
    assert_eq!(field(event, "extra_keys"), &keys);
}

#[test]
fn other_models_are_left_out_on_request() {
    let cache = cache(8, 2);
    serve(&cache, &cache.namespace("draft"), [1, 2]);
    serve(&cache, &cache.namespace("model"), [3, 4]);
    let mut feed = cache.change_feed().unwrap();
    let batches = poll(&mut feed, &mut Batcher::new(Format::new(2).model("model")));
    let events = events(&batches[0]);
    assert_eq!(events.len(), 1);
    let tokens = Value::from(vec![Value::from(3), Value::from(4)]);
    assert_eq!(field(&events[0], "token_ids"), &tokens);
}

#[test]
fn batches_are_cut_and_chained() {
    let cache = cache(4_096, 16);
    let model = cache.namespace("model");
    let mut feed = cache.change_feed().unwrap();
    let mut batcher = Batcher::new(Format::new(16));
    let prompt: Vec<u32> = (100_000..100_000 + 4_096 * 16).collect();
    serve(&cache, &model, &prompt);
    let stored = poll(&mut feed, &mut batcher);
    assert!(stored.len() > 5);
    let mut view = common::View::default();
    for payload in &stored {
        assert!(payload.len() < 130 * 1024, "{}", payload.len());
        view.apply(payload);
    }
    assert_eq!(view.blocks.len(), 4_096);
    assert!(view.has_exactly(&cache, &model, &prompt));

    drop(cache.evict(4_000));
    for payload in poll(&mut feed, &mut batcher) {
        assert!(payload.len() < 130 * 1024, "{}", payload.len());
        view.apply(&payload);
    }
    assert!(view.has_exactly(&cache, &model, &prompt));
    assert_eq!(view.blocks.len(), 96);
}
