"""What differs from mlx-manager on purpose, each with what goes wrong there."""

import random

import pytest

from kvtrie.compat.mlx_manager import BLOCK_SIZE, PagedBlockManager, PrefixCache


def text(blocks: int, first: int = 0) -> list[int]:
    return list(range(first, first + blocks * BLOCK_SIZE))


def test_a_finished_request_leaves_no_reference() -> None:
    """There, the cache's own reference keeps every cached block for ever."""
    manager = PagedBlockManager(4)
    cache = PrefixCache("model", manager)
    blocks = [manager.allocate(), manager.allocate()]
    cache.cache_prefix(text(2), blocks)
    cache.release_prefix(blocks)
    assert cache.evict_unused() == 2
    assert manager.get_free_count() == 4


def test_a_block_that_was_not_cached_is_freed_by_release_prefix() -> None:
    manager = PagedBlockManager(2)
    cache = PrefixCache("model", manager)
    blocks = [manager.allocate(), manager.allocate()]
    cache.cache_prefix(text(1), blocks)
    cache.release_prefix(blocks)
    assert manager.free_blocks == [blocks[1]]


def test_an_evicted_prefix_is_not_found_again() -> None:
    """There, `evict_lru_blocks` frees the block, and the map goes on returning it."""
    manager = PagedBlockManager(2)
    cache = PrefixCache("model", manager)
    blocks = [manager.allocate()]
    cache.cache_prefix(text(1), blocks)
    cache.release_prefix(blocks)
    assert manager.evict_lru_blocks() == 1
    manager.allocate()
    assert cache.lookup_prefix(text(1)) == ([], 0)
    assert cache.get_cache_stats() == {"cached_blocks": 0, "unique_prefixes": 0}


def test_allocate_evicts_unused_prefixes() -> None:
    manager = PagedBlockManager(1)
    cache = PrefixCache("model", manager)
    blocks = [manager.allocate()]
    cache.cache_prefix(text(1), blocks)
    with pytest.raises(MemoryError):
        manager.allocate()
    cache.release_prefix(blocks)
    assert manager.allocate() == blocks[0]
    assert manager.get_block(blocks[0]).ref_count == 1


def test_only_owned_blocks_are_cached() -> None:
    manager = PagedBlockManager(4)
    cache = PrefixCache("model", manager)
    mine = manager.allocate()
    cache.cache_prefix(text(1), [mine])
    for wrong in ([mine], [3], [99]):
        with pytest.raises(ValueError, match="only blocks that the caller owns"):
            cache.cache_prefix(text(1, first=500), wrong)
    twice = manager.allocate()
    with pytest.raises(ValueError, match="only blocks that the caller owns"):
        cache.cache_prefix(text(2, first=500), [twice, twice])


def test_the_second_of_two_equal_blocks_stays_the_callers() -> None:
    manager = PagedBlockManager(4)
    cache = PrefixCache("model", manager)
    first, second = manager.allocate(), manager.allocate()
    cache.cache_prefix(text(1), [first])
    cache.cache_prefix(text(1), [second])
    assert cache.lookup_prefix(text(1))[0] == [first]
    manager.release(second)
    assert second in manager.free_blocks


def test_clear_leaves_blocks_to_their_holders() -> None:
    manager = PagedBlockManager(4)
    cache = PrefixCache("model", manager)
    blocks = [manager.allocate(), manager.allocate()]
    cache.cache_prefix(text(2), blocks)
    cache.release_prefix(blocks[1:])
    cache.clear()
    assert blocks[0] not in manager.free_blocks
    assert blocks[1] in manager.free_blocks
    manager.release(blocks[0])
    assert manager.get_free_count() == 4


def test_a_mark_of_a_cached_block_is_the_caches() -> None:
    manager = PagedBlockManager(2)
    cache = PrefixCache("model", manager)
    block = manager.allocate()
    cache.cache_prefix(text(1), [block])
    with pytest.raises(ValueError, match="evict or clear"):
        manager.unmark_prefix_cached(block)
    with pytest.raises(ValueError, match="is free"):
        manager.mark_as_prefix_cached(1 - block, 7)


def test_random_requests_leave_nothing_behind() -> None:
    """Requests of random texts: found blocks have the contents, and the end is as the start."""
    chance = random.Random(7)
    manager = PagedBlockManager(24)
    caches = [PrefixCache(name, manager) for name in ("a", "b")]
    contents: dict[int, tuple[int, tuple[int, ...]]] = {}
    running: list[tuple[PrefixCache, list[int]]] = []
    hits = 0
    for _ in range(3000):
        number = chance.randrange(2)
        cache = caches[number]
        tokens = [chance.randrange(2) for _ in range(chance.randrange(1, 4))]
        tokens = [token for token in tokens for _ in range(BLOCK_SIZE)]
        blocks, found = cache.lookup_prefix(tokens)
        for end, block in enumerate(blocks, start=1):
            assert contents[block] == (number, tuple(tokens[: end * BLOCK_SIZE]))
        hits += found
        try:
            while len(blocks) * BLOCK_SIZE < len(tokens):
                blocks.append(manager.allocate())
                prefix = tuple(tokens[: len(blocks) * BLOCK_SIZE])
                contents[blocks[-1]] = (number, prefix)
            cache.cache_prefix(tokens, blocks)
            running.append((cache, blocks))
        except MemoryError:
            cache.release_prefix(blocks)
        while len(running) > chance.randrange(8):
            owner, finished = running.pop(chance.randrange(len(running)))
            owner.release_prefix(finished)
    assert hits > 0
    for owner, finished in running:
        owner.release_prefix(finished)
    assert all(block.ref_count == 0 for block in manager.blocks.values())
    caches[0].evict_unused()
    assert manager.get_free_count() == 24
    assert [cache.get_cache_stats()["cached_blocks"] for cache in caches] == [0, 0]
