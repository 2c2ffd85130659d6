//! The life of a request, and what the next turn of the conversation finds.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use std::error::Error;

use kvtrie::PrefixCache;

fn main() -> Result<(), Box<dyn Error>> {
    // One cache for all threads. The engine has a KV pool with as many blocks.
    let cache = PrefixCache::builder().blocks(1000).block_size(16).build()?;
    let model = cache.namespace("llama-3-8b");

    // Look up the longest cached prefix of the prompt and hold it. Nothing is cached yet.
    let prompt: Vec<u32> = (0..100).collect();
    let mut request = cache.sequence(&model, prompt);
    println!(
        "first turn: {} of 100 tokens cached",
        request.cached_tokens()
    );

    // Get blocks for the rest, then run the model over it, which writes to the blocks of the table.
    request.grow(&cache, 0)?;
    request.advance(request.uncomputed().len());

    // Decode. A full last block makes `grow` allocate the next one.
    for token in [17, 4, 99] {
        request.push(token);
        request.grow(&cache, 0)?;
        request.advance(1);
    }
    println!("its blocks: {:?}", request.block_table());

    // Let go, and take the tokens back. `advance` has published the complete blocks, which stay.
    let mut conversation = request.finish();

    // The next turn begins with the same tokens, and computes only what follows the cached blocks.
    conversation.extend(200..220);
    let next = cache.sequence(&model, conversation);
    let (cached, all) = (next.cached_tokens(), next.tokens().len());
    println!("next turn: {cached} of {all} tokens cached");
    assert_eq!((cached, all), (96, 123));
    Ok(())
}

#[test]
fn it_runs() {
    main().expect("the cache has room");
}
