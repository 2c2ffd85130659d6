"""Bad input raises an exception that says what is wrong, and changes nothing."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest

import kvtrie
from kvtrie import Namespace, PrefixCache, Priority, Prompt


def test_exceptions_have_one_base() -> None:
    for name in kvtrie.__all__:
        thing = getattr(kvtrie, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert issubclass(thing, kvtrie.Error), name
    for name in ("AdoptError", "TokenError", "BuildError", "ForeignObject", "PublishError"):
        assert issubclass(getattr(kvtrie, name), ValueError)


def test_out_of_blocks_has_its_figures(cache: PrefixCache, model: Namespace) -> None:
    hold = cache.lookup(model, [])
    hold.publish(range(8), cache.allocate(2))
    cache.lookup(model, []).publish([9] * 4, cache.allocate(1))
    owned = cache.allocate(4)
    with pytest.raises(kvtrie.OutOfBlocks, match="65 blocks were asked for") as refused:
        cache.allocate(65)
    error = refused.value
    figures = (error.requested, error.free, error.reclaimable, error.held, error.owned)
    assert figures == (65, 57, 1, 2, 4)
    assert (error.suspended, error.capacity) == (False, 64)
    again = pickle.loads(pickle.dumps(error))
    assert (again.owned, str(again)) == (4, str(error))
    request = cache.sequence(model, range(400))
    with pytest.raises(kvtrie.OutOfBlocks):
        request.grow()
    assert request.missing_blocks() == 98
    assert len(owned) == 4


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"blocks": 0}, "1 to 268435456 blocks, not 0$"),
        ({"blocks": 2**40}, "blocks, not"),
        ({"blocks": 1, "block_size": 0}, "tokens, not 0"),
        ({"blocks": 1, "run_length": 33}, "1 to 32 blocks, not 33"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, int], what: str) -> None:
    with pytest.raises(kvtrie.BuildError, match=what):
        PrefixCache(**settings)  # type: ignore[arg-type]


def test_a_limit_of_retired_bytes_is_a_setting() -> None:
    assert PrefixCache(4, retired_limit=1 << 20).stats().retired_limit == 1 << 20


def test_settings_have_their_types() -> None:
    with pytest.raises(OverflowError):
        PrefixCache(-1)
    with pytest.raises(TypeError):
        PrefixCache("4")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        PrefixCache(4, hash_key=b"short")
    for seed in (-1, 2**64):
        with pytest.raises(OverflowError):
            PrefixCache(4, seed=seed)
    with pytest.raises(TypeError):
        PrefixCache(4, seed="7")  # type: ignore[arg-type]
    PrefixCache(4, seed=2**64 - 1)
    with pytest.raises(TypeError):
        PrefixCache()  # type: ignore[call-arg]


def test_publishing_checks_its_blocks(cache: PrefixCache, model: Namespace) -> None:
    hold, blocks = cache.lookup(model, []), cache.allocate(2)
    with pytest.raises(kvtrie.PublishError, match="7 tokens are not a whole number"):
        hold.publish(range(7), blocks)
    with pytest.raises(kvtrie.PublishError, match="fill 1 block, but 2 were given"):
        hold.publish(range(4), blocks)
    assert (len(blocks), len(hold)) == (2, 0)
    assert len(hold.publish(range(8), blocks)) == 0
    with pytest.raises(kvtrie.PublishError, match="0 were given"):
        hold.publish(range(8, 12), blocks)


def test_other_caches_are_refused(cache: PrefixCache, model: Namespace) -> None:
    other = PrefixCache(blocks=4, block_size=4)
    theirs = other.namespace("model")
    calls: list[Callable[[], object]] = [
        lambda: cache.lookup(theirs, [1]),
        lambda: cache.lookup_prefill(theirs, [1]),
        lambda: cache.peek(theirs, [1]),
        lambda: cache.reprioritize(theirs, [1]),
        lambda: cache.sequence(theirs, [1]),
        lambda: cache.clear(theirs),
        lambda: cache.pin(other.lookup(theirs, [])),
        lambda: cache.evict_from(other.lookup(theirs, []), 0),
        lambda: cache.lookup(model, []).publish([1] * 4, other.allocate(1)),
        lambda: cache.sequence(model, [1]).add_blocks(other.allocate(1)),
        lambda: cache.allocate(1).extend(other.allocate(1)),
    ]
    for call in calls:
        with pytest.raises(kvtrie.ForeignObject, match="belongs to another cache"):
            call()
    assert other.stats().owned == 0


def test_ids_that_are_not_lent_are_refused(cache: PrefixCache) -> None:
    lent = cache.allocate(2).into_ids().tolist()
    owned = cache.allocate(1).ids().tolist()
    for wrong in (owned[0], 63, 64, 2**31, 2**32 - 1):
        with pytest.raises(kvtrie.AdoptError) as refused:
            cache.adopt([*lent, wrong])
        assert refused.value.id % 2**32 == wrong
    with pytest.raises(kvtrie.AdoptError, match="only an id from Blocks.into_ids can be adopted"):
        cache.adopt([lent[0], lent[0]])
    with pytest.raises(kvtrie.TokenError):
        cache.adopt([-1])
    with pytest.raises(TypeError, match="not a prompt"):
        cache.adopt(Prompt(lent))  # type: ignore[arg-type]
    assert len(cache.adopt(lent)) == 2, "a refusal adopts none"


def test_sequences_check_their_numbers(cache: PrefixCache, model: Namespace) -> None:
    request = cache.sequence(model, range(8))
    with pytest.raises(ValueError, match=r"advance\(9\): only 8 tokens"):
        request.advance(9)
    with pytest.raises(ValueError, match=r"advance\(1\): the block table has places for 0"):
        request.advance(1)
    with pytest.raises(IndexError, match=r"truncate\(9\): the sequence has only 8 tokens"):
        request.truncate(9)
    for token in (-1, 2**32):
        with pytest.raises(OverflowError) as refused:
            request.push(token)
        assert refused.value.__notes__ == ["while processing 'token'"]
    with pytest.raises(kvtrie.OutOfBlocks):
        request.grow(extra=2**62)
    with pytest.raises(kvtrie.TokenError):
        request.extend([1, -1])
    with pytest.raises(IndexError, match=r"take\(1\): the object has only 0 blocks"):
        cache.allocate(0).take(1)
    with pytest.raises(ValueError, match="3 tokens are not a whole number"):
        cache.compute_block_hash(model.hash, [1, 2, 3])
    assert len(request) == 8


def test_what_was_released_is_gone(cache: PrefixCache, model: Namespace) -> None:
    hold, request = cache.lookup(model, []), cache.sequence(model, [1])
    pinned, blocks = cache.pin(hold), cache.allocate(1)
    pinned.release()
    hold.release()
    request.finish()
    calls: list[Callable[[], object]] = [
        lambda: hold.token_count,
        lambda: hold.hash,
        lambda: hold.block_table(),
        lambda: hold.fork(),
        lambda: hold.publish([1] * 4, blocks),
        lambda: len(hold),
        lambda: cache.pin(hold),
        lambda: cache.evict_from(hold, 0),
        lambda: pinned.hold(),
        lambda: request.grow(),
        lambda: request.advance(1),
        lambda: request.push(1),
        lambda: request.tokens(),
        lambda: request.finish(),
        lambda: request.into_prompt(),
        lambda: request.add_blocks(blocks),
        lambda: len(request),
    ]
    for call in calls:
        with pytest.raises(kvtrie.Released, match="was released before"):
            call()
    assert len(blocks) == 1


def test_evict_from_ends_the_hold(cache: PrefixCache, model: Namespace) -> None:
    hold = cache.lookup(model, [])
    cache.evict_from(hold, 0)
    with pytest.raises(kvtrie.Released):
        hold.fork()


@pytest.mark.parametrize(
    ("items", "what"),
    [
        ([(2, 2, bytes(32))], "item 2..2: empty"),
        ([(3, 2, bytes(32))], "item 3..2: empty"),
        ([(0, 9, bytes(32))], "not within the 8 tokens"),
        ([(0, 4, bytes(32)), (3, 5, bytes(32))], "the previous item ends at 4"),
    ],
)
def test_wrong_items_are_named(items: list[tuple[int, int, bytes]], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Prompt(range(8), items=items)


def test_an_empty_range_changes_no_priority(cache: PrefixCache, model: Namespace) -> None:
    prompt = Prompt(range(4), priorities=[(3, 3, Priority.LOW), (3, 2, Priority.LOW)])
    hold = cache.lookup(model, [])
    hold.publish(prompt, cache.allocate(1))
    status = cache.inspect(int(hold.block_table()[0]))
    assert status is not None and status.priority == Priority.NORMAL


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(ValueError, match=r"item 1\.\.2: the digest has 1 byte, not 32"):
        Prompt(range(8), items=[(1, 2, b"x")])
    with pytest.raises(ValueError, match="the digest has 33 bytes, not 32"):
        Prompt(range(8), items=[(0, 1, bytes(33))])
    for digest in (bytearray(32), memoryview(bytes(32)), [0] * 32, np.zeros(32, np.uint8)):
        Prompt(range(8), items=[(0, 1, digest)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="not to a prompt"):
        Prompt(Prompt(range(8)), items=[(0, 1, bytes(32))])
    with pytest.raises(TypeError):
        Prompt([1], priority="high")  # type: ignore[arg-type]
    assert Priority.HIGH != Priority.NORMAL


def test_an_exception_in_a_with_statement_lets_go(
    cache: PrefixCache, model: Namespace
) -> None:
    with pytest.raises(KeyError), cache.sequence(model, range(8)) as request, cache.allocate(3):
        request.grow()
        assert cache.stats().owned == 5
        raise KeyError
    assert cache.stats().free == 64
