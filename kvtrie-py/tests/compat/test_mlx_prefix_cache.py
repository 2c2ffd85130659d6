"""What the tests of mlx-manager expect of its prefix cache, one test for each of its 31.

Two differ on purpose: a block is not released more often than it was taken.
"""

import pytest

from kvtrie.compat.mlx_manager import (
    BLOCK_SIZE,
    OverRelease,
    PagedBlockManager,
    PrefixCache,
    compute_block_hash,
)


@pytest.fixture
def manager() -> PagedBlockManager:
    return PagedBlockManager(num_blocks=20)


@pytest.fixture
def cache(manager: PagedBlockManager) -> PrefixCache:
    return PrefixCache("model", manager)


def text(blocks: int, first: int = 0) -> list[int]:
    return list(range(first, first + blocks * BLOCK_SIZE))


def publish(cache: PrefixCache, tokens: list[int]) -> list[int]:
    """Caches all complete blocks of a text, and returns them."""
    blocks = [cache.block_manager.allocate() for _ in range(len(tokens) // BLOCK_SIZE)]
    cache.cache_prefix(tokens, blocks)
    return blocks


def cached(cache: PrefixCache) -> int:
    stats = cache.get_cache_stats()
    assert stats["unique_prefixes"] == stats["cached_blocks"]
    return stats["cached_blocks"]


# Hashes.


def test_a_hash_is_repeatable() -> None:
    assert compute_block_hash([5, 6, 7], 0, 3) == compute_block_hash([5, 6, 7], 0, 3)


def test_other_tokens_have_another_hash() -> None:
    assert compute_block_hash([5, 6, 7], 0, 3) != compute_block_hash([5, 6, 8], 0, 3)


def test_another_previous_hash_changes_the_hash() -> None:
    assert compute_block_hash([5, 6], 0, 2, prev_hash=0) != compute_block_hash([5, 6], 0, 2, 9)


def test_equal_tokens_in_another_place_have_another_hash() -> None:
    tokens = [9, 8, 5, 6]
    second = compute_block_hash(tokens, 2, 2, compute_block_hash(tokens, 0, 2))
    assert second != compute_block_hash([5, 6], 0, 2)


def test_a_short_last_block_has_a_hash() -> None:
    assert compute_block_hash([1, 2, 3, 4, 5], 3, 3) == compute_block_hash([4, 5], 0, 3)


def test_no_tokens_have_a_hash() -> None:
    assert isinstance(compute_block_hash([], 0, 4), int)


# Lookups.


def test_an_empty_cache_finds_nothing(cache: PrefixCache) -> None:
    assert cache.lookup_prefix(text(3)) == ([], 0)


def test_a_cached_text_is_found(cache: PrefixCache) -> None:
    blocks = publish(cache, text(3))
    assert cache.lookup_prefix(text(3)) == (blocks, 3 * BLOCK_SIZE)


def test_the_equal_part_of_a_text_is_found(cache: PrefixCache) -> None:
    blocks = publish(cache, text(2))
    assert cache.lookup_prefix(text(2) + text(1, first=5000)) == (blocks, 2 * BLOCK_SIZE)


def test_another_text_is_not_found(cache: PrefixCache) -> None:
    publish(cache, text(1))
    assert cache.lookup_prefix(text(1, first=7)) == ([], 0)


def test_no_tokens_are_found_nowhere(cache: PrefixCache) -> None:
    publish(cache, text(1))
    assert cache.lookup_prefix([]) == ([], 0)


def test_a_part_of_a_block_is_not_cached(
    cache: PrefixCache, manager: PagedBlockManager
) -> None:
    cache.cache_prefix(text(1)[:-1], [manager.allocate()])
    assert cached(cache) == 0
    assert cache.lookup_prefix(text(1)) == ([], 0)


# Caching.


def test_each_block_counts(cache: PrefixCache) -> None:
    publish(cache, text(2))
    assert cached(cache) == 2


def test_a_cached_block_is_marked(cache: PrefixCache, manager: PagedBlockManager) -> None:
    (block_id,) = publish(cache, text(1))
    block = manager.get_block(block_id)
    assert block.is_prefix_cached
    assert block.prefix_hash == compute_block_hash(text(1), 0, BLOCK_SIZE)


def test_a_text_is_cached_once(cache: PrefixCache) -> None:
    blocks = publish(cache, text(1))
    cache.cache_prefix(text(1), blocks)
    assert cached(cache) == 1


def test_caching_no_tokens_does_nothing(cache: PrefixCache) -> None:
    cache.cache_prefix([], [1, 2])
    assert cached(cache) == 0


def test_caching_no_blocks_does_nothing(cache: PrefixCache) -> None:
    cache.cache_prefix(text(1), [])
    assert cached(cache) == 0


# References.


def test_a_lookup_takes_a_reference(cache: PrefixCache, manager: PagedBlockManager) -> None:
    (block_id,) = publish(cache, text(1))
    assert manager.get_block(block_id).ref_count == 1, "the caller's own, and none of the cache"
    cache.lookup_prefix(text(1))
    assert manager.get_block(block_id).ref_count == 2


def test_a_release_gives_one_back(cache: PrefixCache, manager: PagedBlockManager) -> None:
    blocks = publish(cache, text(1))
    cache.lookup_prefix(text(1))
    cache.release_prefix(blocks)
    assert manager.get_block(blocks[0]).ref_count == 1


def test_lookups_add_up(cache: PrefixCache, manager: PagedBlockManager) -> None:
    (block_id,) = publish(cache, text(1))
    for _ in range(3):
        cache.lookup_prefix(text(1))
    assert manager.get_block(block_id).ref_count == 4


def test_one_release_too_many_is_refused(
    cache: PrefixCache, manager: PagedBlockManager
) -> None:
    """Differs: there, the count stays at zero without a word."""
    first, second = publish(cache, text(2))
    cache.release_prefix([second])
    with pytest.raises(OverRelease, match=f"block {second} "):
        cache.release_prefix([first, second])
    assert [manager.get_block(id).ref_count for id in (first, second)] == [1, 0]


# Eviction.


def test_an_unused_block_is_evicted(cache: PrefixCache, manager: PagedBlockManager) -> None:
    (block_id,) = publish(cache, text(1))
    manager.get_block(block_id).ref_count = 0
    assert cache.evict_unused() == 1
    assert cached(cache) == 0
    assert manager.get_free_count() == 20, "free at once"


def test_a_used_block_is_not_evicted(cache: PrefixCache, manager: PagedBlockManager) -> None:
    (block_id,) = publish(cache, text(1))
    manager.get_block(block_id).ref_count = 3
    assert cache.evict_unused() == 0
    assert cached(cache) == 1


def test_an_evicted_block_has_no_mark(cache: PrefixCache, manager: PagedBlockManager) -> None:
    blocks = publish(cache, text(1))
    cache.release_prefix(blocks)
    cache.evict_unused()
    block = manager.get_block(blocks[0])
    assert (block.is_prefix_cached, block.prefix_hash) == (False, None)


# Clearing.


def test_clear_removes_everything(cache: PrefixCache) -> None:
    for first in (0, 1000, 2000):
        publish(cache, text(1, first))
    assert cached(cache) == 3
    cache.clear()
    assert cached(cache) == 0
    assert cache.lookup_prefix(text(1)) == ([], 0)


def test_clear_takes_the_marks(cache: PrefixCache, manager: PagedBlockManager) -> None:
    (block_id,) = publish(cache, text(1))
    cache.clear()
    assert not manager.get_block(block_id).is_prefix_cached


# Models.


def test_two_caches_share_nothing(manager: PagedBlockManager) -> None:
    one, two = PrefixCache("a", manager), PrefixCache("b", manager)
    of_one, of_two = publish(one, text(1)), publish(two, text(1))
    assert (cached(one), cached(two)) == (1, 1)
    assert one.lookup_prefix(text(1))[0] == of_one
    assert two.lookup_prefix(text(1))[0] == of_two
    assert of_one != of_two


def test_clearing_one_cache_leaves_the_other(manager: PagedBlockManager) -> None:
    one, two = PrefixCache("a", manager), PrefixCache("b", manager)
    publish(one, text(1))
    publish(two, text(1))
    one.clear()
    assert (cached(one), cached(two)) == (0, 1)


# Edges.


def test_ids_outside_of_the_pool_are_ignored(cache: PrefixCache) -> None:
    cache.release_prefix([999, 1000])


def test_a_lookup_marks_its_blocks_as_used(
    cache: PrefixCache, manager: PagedBlockManager
) -> None:
    (block_id,) = publish(cache, text(1))
    manager.get_block(block_id).last_used = 100.0
    cache.lookup_prefix(text(1))
    assert manager.get_block(block_id).last_used > 100.0


def test_blocks_without_tokens_are_not_cached(
    cache: PrefixCache, manager: PagedBlockManager
) -> None:
    blocks = [manager.allocate() for _ in range(3)]
    cache.cache_prefix(text(2)[: BLOCK_SIZE * 3 // 2], blocks)
    assert cached(cache) == 1
    manager.release(blocks[1])
    assert manager.get_free_count() == 18, "the others stay the caller's"
