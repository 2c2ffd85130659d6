"""What the tests of mlx-manager expect of its block manager, one test for each of its 25.

One differs on purpose: a block is not released more often than it was taken.
"""

import time

import pytest

from kvtrie.compat.mlx_manager import (
    BLOCK_SIZE,
    BlockTable,
    KVBlock,
    OverRelease,
    PagedBlockManager,
)


@pytest.fixture
def manager() -> PagedBlockManager:
    return PagedBlockManager(num_blocks=5)


def marked(manager: PagedBlockManager, references: int = 0) -> int:
    """Takes a block, marks it as cached, and sets its references."""
    block_id = manager.allocate()
    manager.mark_as_prefix_cached(block_id, prefix_hash=block_id + 100)
    manager.blocks[block_id].ref_count = references
    return block_id


# Blocks and tables.


def test_a_new_block_has_no_reference() -> None:
    block = KVBlock(block_id=3)
    assert (block.block_id, block.ref_count) == (3, 0)
    assert (block.is_prefix_cached, block.prefix_hash) == (False, None)
    assert abs(time.time() - block.last_used) < 1


def test_a_block_keeps_what_it_is_given() -> None:
    block = KVBlock(block_id=7, ref_count=2, last_used=5.0, is_prefix_cached=True, prefix_hash=9)
    assert (block.block_id, block.ref_count, block.last_used) == (7, 2, 5.0)
    assert (block.is_prefix_cached, block.prefix_hash) == (True, 9)


def test_a_new_table_is_empty() -> None:
    table = BlockTable(request_id="request")
    assert (table.request_id, table.logical_to_physical, table.num_tokens) == ("request", {}, 0)


def test_the_current_block_follows_the_tokens() -> None:
    table = BlockTable("request")
    places = []
    for table.num_tokens in (0, BLOCK_SIZE - 1, BLOCK_SIZE, 2 * BLOCK_SIZE, 100):
        places.append(table.current_logical_index())
    assert places == [0, 0, 1, 2, 3]


def test_a_block_is_needed_at_each_boundary() -> None:
    table = BlockTable("request")
    needed = []
    for table.num_tokens in range(2 * BLOCK_SIZE + 1):
        needed.append(table.needs_new_block())
    assert [place for place, need in enumerate(needed) if need] == [0, BLOCK_SIZE, 2 * BLOCK_SIZE]


def test_tokens_fill_one_block_after_another() -> None:
    table = BlockTable("request")
    for _ in range(BLOCK_SIZE):
        table.add_token(physical_block_id=4)
    assert (table.num_tokens, table.logical_to_physical) == (BLOCK_SIZE, {0: 4})
    table.add_token(physical_block_id=2)
    assert (table.num_tokens, table.logical_to_physical) == (BLOCK_SIZE + 1, {0: 4, 1: 2})


def test_blocks_come_in_order() -> None:
    table = BlockTable("request")
    assert table.get_physical_blocks() == []
    table.logical_to_physical = {2: 30, 0: 10, 1: 20}
    assert table.get_physical_blocks() == [10, 20, 30]


# The pool.


def test_all_blocks_start_free(manager: PagedBlockManager) -> None:
    assert (manager.num_blocks, len(manager.blocks), manager.get_free_count()) == (5, 5, 5)
    assert sorted(manager.free_blocks) == [0, 1, 2, 3, 4]


def test_a_taken_block_has_a_reference(manager: PagedBlockManager) -> None:
    block_id = manager.allocate()
    assert manager.get_free_count() == 4
    assert manager.blocks[block_id].ref_count == 1


def test_a_released_block_is_free(manager: PagedBlockManager) -> None:
    block_id = manager.allocate()
    manager.release(block_id)
    assert manager.get_free_count() == 5
    assert manager.blocks[block_id].ref_count == 0


def test_an_empty_pool_refuses(manager: PagedBlockManager) -> None:
    for _ in range(5):
        manager.allocate()
    with pytest.raises(MemoryError, match="No free KV cache blocks"):
        manager.allocate()


def test_a_released_block_is_taken_again(manager: PagedBlockManager) -> None:
    blocks = [manager.allocate() for _ in range(5)]
    manager.release(blocks[2])
    assert manager.allocate() == blocks[2]
    assert manager.get_free_count() == 0


def test_a_second_release_is_refused(manager: PagedBlockManager) -> None:
    """Differs: there, the second release does nothing."""
    block_id = manager.allocate()
    manager.release(block_id)
    with pytest.raises(OverRelease) as refused:
        manager.release(block_id)
    assert refused.value.block_id == block_id
    assert manager.get_free_count() == 5


def test_a_block_is_found_by_its_id(manager: PagedBlockManager) -> None:
    assert manager.get_block(2).block_id == 2
    with pytest.raises(KeyError):
        manager.get_block(999)


def test_touch_sets_the_time(manager: PagedBlockManager) -> None:
    block = manager.get_block(manager.allocate())
    block.last_used = 1.0
    manager.touch(block.block_id)
    assert block.last_used > 1.0


def test_stats_count_what_is_used(manager: PagedBlockManager) -> None:
    assert manager.get_stats() == {"total": 5, "free": 5, "used": 0, "block_size": BLOCK_SIZE}
    manager.allocate()
    manager.allocate()
    assert manager.get_stats() == {"total": 5, "free": 3, "used": 2, "block_size": BLOCK_SIZE}


# Eviction.


def test_eviction_counts_what_it_frees(manager: PagedBlockManager) -> None:
    for _ in range(3):
        marked(manager)
    assert manager.get_free_count() == 2
    assert manager.evict_lru_blocks(count=2) == 2
    assert manager.get_free_count() == 4


def test_used_blocks_are_not_evicted(manager: PagedBlockManager) -> None:
    one, unused, two = (marked(manager, references) for references in (1, 0, 1))
    assert manager.evict_lru_blocks(count=3) == 1
    assert unused in manager.free_blocks
    assert [manager.blocks[id].ref_count for id in (one, two)] == [1, 1]


def test_the_oldest_block_is_evicted_first(manager: PagedBlockManager) -> None:
    blocks = [marked(manager) for _ in range(3)]
    for block_id, used in zip(blocks, (200.0, 100.0, 300.0), strict=True):
        manager.blocks[block_id].last_used = used
    assert manager.evict_lru_blocks(count=1) == 1
    assert [id in manager.free_blocks for id in blocks] == [False, True, False]


def test_nothing_unused_means_nothing_evicted(manager: PagedBlockManager) -> None:
    for _ in range(5):
        manager.allocate()
    assert manager.evict_lru_blocks(count=3) == 0


# Marks.


def test_a_mark_shows(manager: PagedBlockManager) -> None:
    block_id = manager.allocate()
    manager.mark_as_prefix_cached(block_id, prefix_hash=55)
    block = manager.blocks[block_id]
    assert (block.is_prefix_cached, block.prefix_hash) == (True, 55)


def test_a_mark_is_taken_away(manager: PagedBlockManager) -> None:
    block_id = marked(manager, references=1)
    manager.unmark_prefix_cached(block_id)
    block = manager.blocks[block_id]
    assert (block.is_prefix_cached, block.prefix_hash) == (False, None)


def test_a_marked_block_outlives_its_release(manager: PagedBlockManager) -> None:
    block_id = marked(manager, references=1)
    manager.release(block_id)
    assert manager.get_free_count() == 4
    assert block_id not in manager.free_blocks


def test_a_marked_block_can_be_evicted(manager: PagedBlockManager) -> None:
    block_id = marked(manager)
    manager.blocks[block_id].last_used = 1.0
    assert manager.evict_lru_blocks(count=1) == 1
    assert block_id in manager.free_blocks


def test_eviction_takes_the_mark(manager: PagedBlockManager) -> None:
    block_id = marked(manager)
    manager.evict_lru_blocks(count=1)
    block = manager.blocks[block_id]
    assert (block.is_prefix_cached, block.prefix_hash) == (False, None)
