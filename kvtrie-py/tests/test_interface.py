"""Each call does what its counterpart in Rust does."""

import array
import ctypes
import doctest

import numpy as np
import pytest

import kvtrie
from kvtrie import Namespace, PrefixCache, Priority, Prompt


def publish(cache: PrefixCache, model: Namespace, tokens: list[int]) -> kvtrie.Hold:
    """Caches a text of whole blocks."""
    hold = cache.lookup(model, tokens)
    rest = tokens[hold.token_count :]
    hold.publish(rest, cache.allocate(len(rest) // cache.block_size)).free()
    return hold


def test_the_examples_of_the_documentation_run() -> None:
    results = doctest.testmod(kvtrie)
    assert results.attempted > 5 and results.failed == 0


def test_everything_public_is_documented() -> None:
    for name in kvtrie.__all__:
        thing = getattr(kvtrie, name)
        if name != "__version__":
            assert thing.__doc__, name
            members = (m for m in vars(thing) if not m.startswith("_") and m.islower())
            for member in members:
                assert getattr(thing, member).__doc__, f"{name}.{member}"


def test_a_request_lives(cache: PrefixCache, model: Namespace) -> None:
    request = cache.sequence(model, range(10))
    assert (request.cached_tokens, len(request), request.missing_blocks()) == (0, 10, 3)
    request.grow()
    assert len(request.block_table()) == 3
    assert request.block_table(2).tolist() == request.block_table().tolist()[2:]
    assert request.block_table(9).tolist() == []
    assert len(request.advance(10)) == 0
    request.push(10)
    request.extend(np.array([11, 12], np.int64))
    assert request.uncomputed().tolist() == [10, 11, 12]
    request.grow(extra=1)
    request.advance(3)
    assert (request.computed_tokens, request.hold().token_count) == (13, 12)
    assert request.tokens().tolist() == list(range(13))

    fork = request.fork()
    assert (fork.cached_tokens, fork.uncomputed().tolist()) == (12, [12])
    request.truncate(9)
    assert (request.computed_tokens, len(request.block_table())) == (8, 3)
    again = request.into_prompt()
    assert (len(again), again.tokens().tolist()) == (9, list(range(9)))
    assert cache.sequence(model, again).cached_tokens == 8
    assert fork.finish().dtype == np.uint32
    assert cache.stats().owned == 0


def test_the_second_of_two_equal_requests_gets_its_blocks_back(
    cache: PrefixCache, model: Namespace
) -> None:
    first, second = (cache.sequence(model, range(8)) for _ in range(2))
    for request in (first, second):
        request.grow()
    own = second.block_table()
    assert len(first.advance(8)) == 0
    replaced = second.advance(8)
    assert (replaced.start, replaced.stop, len(replaced)) == (0, 2, 2)
    assert replaced.blocks.ids().tolist() == own.tolist()
    assert second.block_table().tolist() == first.block_table().tolist()
    replaced.blocks.free()
    assert cache.stats().owned == 0


def test_the_end_of_a_request_is_not_kept(cache: PrefixCache, model: Namespace) -> None:
    request = cache.sequence(model, range(12))
    request.grow()
    request.advance(12)
    assert request.finish_at(4).tolist() == list(range(12))
    assert cache.peek(model, range(12)) == 4


def test_a_session_ends(cache: PrefixCache, model: Namespace) -> None:
    publish(cache, model, list(range(12)))
    evicted = cache.evict_from(cache.lookup(model, range(12)), 4)
    assert len(evicted) == len(evicted.blocks) == len(evicted.hashes) == 2
    assert cache.peek(model, range(12)) == 4


def test_added_blocks_are_used(cache: PrefixCache, model: Namespace) -> None:
    request = cache.sequence(model, range(8))
    blocks = cache.allocate(5)
    ids = blocks.ids().tolist()
    mine = blocks.take(2)
    mine.extend(blocks.take(1))
    request.add_blocks(mine)
    assert (len(mine), len(blocks)) == (0, 2)
    assert request.block_table().tolist() == ids[:3]


def test_ids_may_be_the_callers(cache: PrefixCache, model: Namespace) -> None:
    free_list = cache.allocate(4).into_ids().tolist()
    assert cache.stats().owned == 4
    hold = cache.lookup(model, [])
    assert len(hold.publish(range(8), cache.adopt(free_list[:2]))) == 0
    assert hold.block_table().tolist() == free_list[:2]
    cache.adopt(np.array(free_list[2:], np.int32)).free()
    assert (cache.stats().owned, cache.stats().cached) == (0, 2)


def test_a_hold_keeps_its_blocks(cache: PrefixCache, model: Namespace) -> None:
    with publish(cache, model, list(range(8))) as hold:
        fork = hold.fork()
        assert hold.holds() == 2
        assert (len(hold), hold.token_count) == (2, 8)
        assert len(cache.evict()) == 0
    assert fork.holds() == 1
    fork.release()
    fork.release()
    assert len(cache.evict(1)) == 1
    assert cache.peek(model, range(8)) == 4


@pytest.mark.parametrize(
    "row",
    [
        np.full(4, -1, np.int32),
        np.full(4, 2**32 - 1, np.uint32),
        array.array("i", [-1] * 4),
        (ctypes.c_int32 * 4)(*[-1] * 4),
        np.full((2, 4), -1, np.int32)[1],
    ],
    ids=["int32", "uint32", "array", "ctypes", "row of a table"],
)
def test_block_tables_are_written_into_rows(
    cache: PrefixCache, model: Namespace, row: np.ndarray
) -> None:
    hold = publish(cache, model, list(range(8)))
    table = hold.block_table()
    assert table.dtype == np.int32
    assert hold.block_table_into(row) == 2
    assert list(row)[:2] == table.tolist()
    assert np.array(row).astype(np.int32).tolist()[2:] == [-1, -1]
    request = cache.sequence(model, range(9))
    request.grow()
    assert request.block_table_into(row) == 3
    assert list(row)[:3] == request.block_table().tolist()


def test_a_hold_of_a_sequence_is_another_one(cache: PrefixCache, model: Namespace) -> None:
    request = cache.sequence(model, range(8))
    request.grow()
    request.advance(4)
    hold = request.hold()
    request.advance(4)
    assert (hold.token_count, request.hold().token_count) == (4, 8)
    request.finish()
    assert len(cache.evict()) == 1
    assert cache.peek(model, range(8)) == 4
    hold.release()
    assert len(cache.evict()) == 1


def test_a_pin_ends_with_its_last_reference(cache: PrefixCache, model: Namespace) -> None:
    hold = publish(cache, model, list(range(8)))
    cache.pin(hold)
    assert cache.stats().pinned == 0
    pinned = cache.pin(hold)
    cache.clear(model)
    assert cache.peek(model, range(8)) == 0
    assert (cache.stats().pinned, len(pinned)) == (2, 2)


def test_namespaces_share_nothing(cache: PrefixCache, model: Namespace) -> None:
    publish(cache, model, [1, 2, 3, 4])
    assert cache.peek(cache.namespace("model"), [1, 2, 3, 4]) == 4
    for other in (
        cache.namespace("other"),
        cache.namespace("model", adapter="a"),
        cache.namespace("model", tenant="a"),
    ):
        assert cache.peek(other, [1, 2, 3, 4]) == 0
        assert other.hash != model.hash


def test_a_cleared_namespace_is_empty(cache: PrefixCache, model: Namespace) -> None:
    hold, other = publish(cache, model, [1] * 4), cache.namespace("other")
    publish(cache, model, [2] * 4).release()
    publish(cache, other, [3] * 4).release()
    generation = model.generation
    assert hold.generation == generation
    assert len(cache.clear(model)) == 1
    assert cache.peek(model, [1] * 4) == 0
    assert model.generation != generation == hold.generation
    assert cache.peek(other, [3] * 4) == 4
    hold.release()
    assert len(cache.clear_all()) == 2


def test_items_tell_images_apart(cache: PrefixCache, model: Namespace) -> None:
    tokens = [7, 7, 0, 0, 0, 0, 8, 9]
    cat, dog = (
        Prompt(tokens, items=[(4, 6, bytes([digest]) * 32)]) for digest in (1, 2)
    )
    cache.lookup(model, []).publish(cat, cache.allocate(2))
    assert [cache.peek(model, prompt) for prompt in (cat, dog, tokens)] == [8, 4, 4]


def test_a_prompt_says_how_it_uses_the_cache(cache: PrefixCache, model: Namespace) -> None:
    publish(cache, model, [1, 2, 3, 4])
    assert cache.peek(model, Prompt([1, 2, 3, 4], read=False)) == 0
    private = cache.sequence(model, Prompt([5] * 9, store=False))
    private.grow()
    private.advance(9)
    assert cache.peek(model, [5] * 9) == 0
    high = cache.lookup(model, [])
    high.publish(Prompt([6] * 4, priority=Priority.HIGH), cache.allocate(1))
    status = cache.inspect(int(high.block_table()[0]))
    assert status is not None
    assert (status.priority, status.holds, status.children) == (Priority.HIGH, 1, 0)
    assert status.hits == 0 and status.idle <= 1
    assert cache.inspect(63) is None and cache.inspect(1 << 40) is None


def test_parts_of_a_prompt_have_priorities(cache: PrefixCache, model: Namespace) -> None:
    levels = [Priority.HIGH, Priority.NORMAL, Priority.LOW, Priority.EVICT_FIRST]
    spans = [(0, 4, levels[0]), (8, 12, levels[2]), (12, None, levels[3])]
    request = cache.sequence(model, Prompt(range(12), priorities=spans, retention=100))
    request.extend(range(12, 16))
    request.grow()
    request.advance(16)

    def priorities() -> list[Priority]:
        found = [cache.inspect(block) for block in request.block_table().tolist()]
        return [status.priority for status in found if status is not None]

    assert priorities() == levels
    assert cache.reprioritize(model, Prompt(range(9), priority=Priority.LOW)) == 8
    assert priorities() == [Priority.LOW, Priority.LOW, *levels[2:]]


def test_hashes_chain(cache: PrefixCache, model: Namespace) -> None:
    hold = publish(cache, model, list(range(8)))
    first = cache.compute_block_hash(model.hash, range(4))
    assert cache.compute_block_hash(first, range(4, 8)) == hold.hash
    assert cache.compute_block_hash(model.hash, range(8)) == hold.hash
    assert len({hold.hash, first, hold.hash}) == 2
    assert (first < hold.hash) == (int(first) < int(hold.hash))


def test_hashes_are_those_that_rust_documents() -> None:
    cache = PrefixCache(blocks=8, block_size=2)
    start = cache.namespace("model").hash
    first = cache.compute_block_hash(start, [1, 2])
    assert (int(start), int(first)) == (0x0265_0C0C_62BB_F500, 0x544E_AE5F_5A2E_4C61)
    other = PrefixCache(blocks=8, block_size=2, hash_key=bytes(16))
    assert other.namespace("model").hash != start


def test_pins_have_a_budget() -> None:
    cache = PrefixCache(blocks=4, block_size=1, pin_budget=1)
    model = cache.namespace("model")
    hold = publish(cache, model, [1])
    with cache.pin(hold) as pinned:
        hold.release()
        assert len(pinned) == len(pinned.hold()) == 1
        assert len(cache.evict()) == 0
        with pytest.raises(kvtrie.OverBudget) as refused:
            cache.pin(pinned.hold())
        assert (refused.value.requested, refused.value.pinned, refused.value.budget) == (1, 1, 1)
    assert len(cache.evict()) == 1


def test_counters_add_up(cache: PrefixCache, model: Namespace) -> None:
    hold = publish(cache, model, list(range(8)))
    blocks = cache.allocate(3)
    stats = cache.stats()
    assert (stats.capacity, stats.free, stats.owned, stats.cached) == (64, 59, 3, 2)
    assert stats.as_dict()["published"] == stats.published == 2
    assert f"cached={stats.cached}" in repr(stats)
    assert (cache.in_use(), cache.available(), cache.available(5)) == (5, 59, 5)
    assert (len(hold), len(blocks)) == (2, 3)


def test_lookups_leave_what_they_should(cache: PrefixCache, model: Namespace) -> None:
    publish(cache, model, list(range(8)))
    assert cache.lookup(model, range(8)).token_count == 8
    assert cache.lookup_prefill(model, range(8)).token_count == 4
    assert cache.sequence(model, range(8)).cached_tokens == 4


def test_objects_say_what_they_are(cache: PrefixCache, model: Namespace) -> None:
    request, hold, blocks = cache.sequence(model, [1]), cache.lookup(model, []), cache.allocate(2)
    shown = repr((cache, request, hold, blocks, Prompt([1]), cache.evict(0), model.hash))
    assert "PrefixCache of 64 blocks of 4 tokens" in shown and "Sequence of 1 tokens" in shown
    space = cache.namespace("model", adapter="lora", tenant="salt")
    assert repr(space) == '<kvtrie.Namespace "model", adapter="lora", tenant=...>'
    publish(cache, model, [1] * 4)
    status = repr(cache.inspect(int(cache.lookup(model, [1] * 4).block_table()[0])))
    assert status.startswith("kvtrie.BlockStatus(holds=") and "Priority.NORMAL" in status
    hold.release()
    request.release()
    assert "released" in repr(hold) and "released" in repr(request)
