"""Nothing leaks: objects, cycles, memory over a million calls, the end of the interpreter."""

import gc
import resource
import subprocess
import sys
import textwrap
import weakref

import numpy as np

import kvtrie
from kvtrie import Namespace, PrefixCache, Prompt


def test_objects_outlive_the_name_of_their_cache() -> None:
    cache = PrefixCache(8, 4)
    model = cache.namespace("model")
    hold = cache.lookup(model, [])
    hold.publish(range(8), cache.allocate(2))
    request, blocks = cache.sequence(model, range(9)), cache.allocate(1)
    del cache, model
    gc.collect()
    assert hold.block_table().tolist() == request.block_table().tolist()
    request.grow()
    request.advance(1)
    assert len(blocks) == 1
    del hold, request, blocks


def test_the_last_reference_lets_go(cache: PrefixCache, model: Namespace) -> None:
    hold = cache.lookup(model, [])
    hold.publish(range(8), cache.allocate(2))
    del hold
    assert cache.stats().owned == 0
    assert len(cache.evict()) == 2
    request = cache.sequence(model, range(8))
    request.grow()
    assert cache.stats().owned == 2
    del request
    assert cache.stats().free == 64


def test_cycles_through_the_callers_objects_are_collected(
    cache: PrefixCache, model: Namespace
) -> None:
    """Objects of the package refer to no Python object, so the collector finds such cycles."""

    class Request:
        def __init__(self) -> None:
            self.hold = cache.lookup(model, range(8))
            self.sequence = cache.sequence(model, range(8))
            self.sequence.grow()
            self.blocks = cache.allocate(2)
            self.me = self

    cache.lookup(model, []).publish(range(8), cache.allocate(2))
    requests = [Request() for _ in range(10)]
    ends = [weakref.ref(request) for request in requests]
    assert (cache.in_use(), len(cache.evict())) == (32, 0)
    del requests
    gc.collect()
    assert all(end() is None for end in ends)
    assert (cache.in_use(), cache.stats().owned) == (0, 0)


def memory() -> int:
    """Returns the largest memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_million_calls_leak_nothing(cache: PrefixCache, model: Namespace) -> None:
    tokens = np.arange(8, dtype=np.uint32)
    wide, prompt, wrong = tokens.astype(np.int64), Prompt(tokens), np.zeros(8)
    row = np.zeros(8, np.int32)

    class Tensor:
        def __dlpack__(self) -> object:
            return tokens.__dlpack__()

    tensor = Tensor()
    cache.lookup(model, []).publish(tokens, cache.allocate(2))

    def calls(n: int) -> None:
        """Makes 20 calls `n` times."""
        for _ in range(n):
            for given in (tokens, wide, prompt, [0, 1, 2, 3], tensor):
                with cache.lookup(model, given) as hold:
                    hold.block_table_into(row)
            try:
                cache.lookup(model, wrong)
            except TypeError:
                pass
            try:
                cache.allocate(99)
            except kvtrie.OutOfBlocks:
                pass
            request = cache.sequence(model, tokens)
            request.grow()
            request.advance(4).blocks.free()
            request.fork().finish()
            cache.adopt(cache.allocate(1).into_ids()).free()

    calls(5_000)
    gc.collect()
    objects, before = len(gc.get_objects()), memory()
    calls(50_000)
    gc.collect()
    assert len(gc.get_objects()) < objects + 100
    assert memory() - before < 4 << 20
    stats = cache.stats()
    assert (stats.owned, stats.cached, stats.free) == (0, 2, 62)
    assert stats.node_bytes < 4096


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_interpreter_ends_with_live_objects() -> None:
    ended = run(
        """
        import kvtrie, sys, atexit
        cache = kvtrie.PrefixCache(64, 4)
        model = cache.namespace("model")
        hold = cache.lookup(model, [])
        hold.publish(range(8), cache.allocate(2))
        request = cache.sequence(model, range(20))
        request.grow()
        blocks, pinned, prompt = cache.allocate(3), cache.pin(hold), kvtrie.Prompt([1])
        sys.modules["kept"] = [hold, request, blocks, pinned, prompt, cache]
        class Late:
            def __del__(self, hold=hold):
                hold.release()
        late = Late()
        late.me = late
        atexit.register(lambda: print(len(hold)))
        """
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "2", "")


def test_the_interpreter_ends_while_threads_work() -> None:
    ended = run(
        """
        import kvtrie, threading, time
        cache = kvtrie.PrefixCache(1000, 4)
        model = cache.namespace("model")
        prompt = kvtrie.Prompt(list(range(3000)))
        def work():
            while True:
                with cache.sequence(model, prompt) as request:
                    try:
                        request.grow()
                        request.advance(len(request.uncomputed()))
                    except kvtrie.OutOfBlocks:
                        pass
                    cache.evict()
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)
        print("end")
        """
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "end"), ended.stderr


def test_an_exception_keeps_a_hold_no_longer_than_itself(
    cache: PrefixCache, model: Namespace
) -> None:
    def fail() -> None:
        request = cache.sequence(model, range(8))
        request.grow()
        raise KeyError(request)

    try:
        fail()
    except KeyError:
        assert cache.stats().owned == 2
    gc.collect()
    assert cache.stats().owned == 0
