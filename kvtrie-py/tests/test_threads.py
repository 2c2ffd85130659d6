"""Python threads share one cache: contents are right, and long calls do not stop the others."""

import random
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import kvtrie
from kvtrie import PrefixCache, Prompt

THREADS = 8


def run(work: Callable[[int], None]) -> None:
    """Runs work on all threads, and raises what one of them raises."""
    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def test_found_blocks_have_the_contents() -> None:
    """Each request writes its tokens into the blocks that it computes, and checks what it finds."""
    block_size, blocks = 4, 96
    cache = PrefixCache(blocks, block_size)
    model = cache.namespace("model")
    pool = np.zeros((blocks, block_size), np.uint32)
    hits, refused = [0] * THREADS, [0] * THREADS

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(1500):
            tokens = [chance.randrange(3) for _ in range(chance.randrange(1, 10))]
            tokens = [token * 10 + place for token in tokens for place in range(block_size)]
            given = chance.choice([list, Prompt, lambda t: np.array(t, np.uint32)])(tokens)
            with cache.sequence(model, given) as request:
                hits[number] += request.cached_tokens
                try:
                    request.grow()
                except kvtrie.OutOfBlocks:
                    refused[number] += 1
                    continue
                table = request.block_table()
                for place in range(request.computed_tokens, len(tokens), block_size):
                    pool[table[place // block_size]] = tokens[place : place + block_size]
                request.advance(len(request.uncomputed()))
                table = request.block_table()
                assert pool[table].flatten()[: len(tokens)].tolist() == tokens
            if chance.random() < 0.01:
                cache.evict(chance.randrange(8)).blocks.free()
            if chance.random() < 0.002:
                cache.clear(model).blocks.free()

    run(work)
    stats = cache.stats()
    assert sum(hits) > 10_000 and stats.evicted > 1000
    assert stats.free + stats.cached == blocks and stats.owned == 0


def test_an_object_is_used_by_one_thread_at_a_time() -> None:
    """A publication without the GIL keeps other threads from the same hold."""
    cache = PrefixCache(200_000, 1)
    model = cache.namespace("model")
    tokens = Prompt(np.arange(200_000, dtype=np.uint32))
    hold, blocks = cache.lookup(model, []), cache.allocate(200_000)
    met = []

    def publish() -> None:
        hold.publish(tokens, blocks)

    thread = threading.Thread(target=publish)
    thread.start()
    while thread.is_alive():
        try:
            len(hold)
        except RuntimeError as error:
            met.append(error)
    thread.join()
    assert len(hold) == 200_000
    assert all("borrowed" in str(error) for error in met)


@pytest.mark.parametrize("call", ["publish", "allocate", "evict", "lookup", "clear"])
def test_long_calls_release_the_gil(call: str) -> None:
    """Another thread counts while a long call runs."""
    blocks = 300_000
    cache = PrefixCache(blocks, 1)
    model = cache.namespace("model")
    tokens = Prompt(np.arange(blocks, dtype=np.uint32))
    hold, owned = cache.lookup(model, []), cache.allocate(blocks)
    counting, counts = threading.Event(), []

    def count() -> None:
        counting.set()
        while counting.is_set():
            counts.append(time.perf_counter())

    thread = threading.Thread(target=count)

    def timed(work: Callable[[], object]) -> int:
        """Returns how often the other thread counted during the call."""
        thread.start()
        counting.wait()
        start = time.perf_counter()
        kept = work()
        end = time.perf_counter()
        counting.clear()
        thread.join()
        assert kept is not None
        return sum(start < at < end for at in counts)

    if call == "publish":
        assert timed(lambda: hold.publish(tokens, owned)) > 100
        return
    hold.publish(tokens, owned)
    if call == "lookup":
        assert timed(lambda: [cache.lookup(model, tokens) for _ in range(20)]) > 100
        return
    hold.release()
    work: dict[str, Callable[[], object]] = {
        "allocate": lambda: cache.allocate(blocks),
        "evict": lambda: cache.evict(),
        "clear": lambda: cache.clear(model),
    }
    assert timed(work[call]) > 100


@pytest.mark.parametrize("kind", ["array", "bytes", "prompt"])
def test_another_thread_runs_during_a_long_lookup(kind: str) -> None:
    """No switch is forced, so the other thread runs only while a lookup has released the GIL."""
    blocks, size = (16_384 if kind == "array" else 1_024), 16
    cache = PrefixCache(blocks, size)
    model = cache.namespace("model")
    tokens = np.arange(blocks * size, dtype=np.uint32)
    cache.lookup(model, tokens).publish(tokens, cache.allocate(blocks))
    given = {
        "array": tokens,
        "bytes": np.frombuffer(tokens.tobytes(), np.uint32),
        "prompt": Prompt(tokens),
    }[kind]
    running, runs = threading.Event(), 0

    def other() -> None:
        nonlocal runs
        while running.is_set():
            runs += 1
            time.sleep(0.0001)

    thread = threading.Thread(target=other)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        running.set()
        thread.start()
        before = runs
        # It takes some of them for the thread to wake up while one runs.
        for _ in range(20_000):
            assert cache.lookup(model, given).token_count == blocks * size
            if runs > before:
                break
        assert runs > before
    finally:
        running.clear()
        sys.setswitchinterval(interval)
        thread.join()


def test_threads_end_while_their_holds_live() -> None:
    cache = PrefixCache(64, 4)
    model = cache.namespace("model")
    holds: list[kvtrie.Hold] = []

    def work(number: int) -> None:
        hold = cache.lookup(model, [])
        hold.publish([number] * 4, cache.allocate(1))
        holds.append(hold)

    run(work)
    assert len(cache.evict()) == 0
    holds.clear()
    assert len(cache.evict()) == THREADS
