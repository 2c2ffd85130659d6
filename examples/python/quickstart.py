"""The life of a request, and what the next turn of the conversation finds.

    pip install ./kvtrie-py
    python examples/python/quickstart.py
"""

import numpy as np

import kvtrie


def main() -> None:
    # One cache for all threads. The engine has a KV pool with as many blocks.
    cache = kvtrie.PrefixCache(blocks=1000, block_size=16)
    model = cache.namespace("llama-3-8b")
    block_tables = np.zeros((8, 64), np.int32)  # one row for each running request

    # Look up the longest cached prefix of the prompt and hold it. Nothing is cached yet.
    prompt = np.arange(100, dtype=np.uint32)
    request = cache.sequence(model, prompt)
    print(f"first turn: {request.cached_tokens} of {len(request)} tokens cached")

    # Get blocks for the rest, then run the model over it, which writes to the blocks of the table.
    try:
        request.grow()
    except kvtrie.OutOfBlocks as refused:
        raise SystemExit(f"preempt a request first: {refused}") from None
    request.block_table_into(block_tables[0])
    request.advance(len(request.uncomputed()))

    # Decode. A full last block makes `grow` allocate the next one.
    for token in (17, 4, 99):
        request.push(token)
        request.grow()
        request.advance(1)
    print("its blocks:", request.block_table().tolist())

    # Let go, and take the tokens back. The complete blocks stay cached.
    conversation = request.finish()

    # The next turn begins with the same tokens, and computes only what follows the cached blocks.
    conversation = np.concatenate([conversation, np.arange(200, 220, dtype=np.uint32)])
    with cache.sequence(model, conversation) as following:
        print(f"next turn: {following.cached_tokens} of {len(following)} tokens cached")
        assert (following.cached_tokens, len(following)) == (96, 123)


if __name__ == "__main__":
    main()
