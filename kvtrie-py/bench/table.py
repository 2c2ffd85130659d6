"""How long a lookup takes from Python, and how long it takes the caches of Python engines.

    python kvtrie-py/bench/table.py [--original CHECKOUT] [--check]

Each cell is the median of several runs of one process, in which all ways take turns. It is the time
that the thread computed, so that other work on the machine counts only by what it does to caches. A lookup finds a cached prompt of blocks of 16 tokens, holds it, and lets it
go; with "and its table" it also writes the block table into a row. Every lookup is checked to find
the whole prompt. SGLang and vLLM are measured where they are installed, the original with
`--original` and a checkout of tumma72/mlx-manager. `--check` only makes each lookup once.

With goals as `goals` has them, it ends with what is met and what is missed.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
from peers import BLOCK_SIZE, Lookup

import kvtrie

SIZES = (64, 512, 8_192)
"""The blocks of the prompts."""

BUDGET = 2e6
"""The nanoseconds of one sample: as many lookups as fit, at least one."""

SAMPLES = 15

GOALS = {
    "NumPy uint32": 0.2,
    "NumPy int32": 0.2,
    "NumPy int64": 0.5,
    "NumPy uint32 of bytes": 0.2,
}
"""The nanoseconds a token that each kind may take, beside half a microsecond a call."""

Row = tuple[str, dict[int, Lookup]]


class Tensor:
    """A tensor that exports DLPack and no buffer, for a machine without torch."""

    def __init__(self, numbers: np.ndarray[Any, Any]) -> None:
        self.numbers = numbers

    def __dlpack__(self) -> Any:
        return self.numbers.__dlpack__()


def tensor(numbers: np.ndarray[Any, Any]) -> Any:
    """Returns a tensor of torch if that is installed."""
    try:
        import torch  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        return Tensor(numbers)
    return torch.from_numpy(numbers)


KINDS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "list": lambda tokens: tokens.tolist(),
    "NumPy uint32": lambda tokens: tokens.astype(np.uint32),
    "NumPy int32": lambda tokens: tokens.astype(np.int32),
    "NumPy int64": lambda tokens: tokens.astype(np.int64),
    "NumPy uint32 of bytes": lambda tokens: np.frombuffer(
        tokens.astype(np.uint32).tobytes(), np.uint32
    ),
    "DLPack int32": lambda tokens: tensor(tokens.astype(np.int32)),
    "DLPack int64": lambda tokens: tensor(tokens.astype(np.int64)),
    "Prompt": lambda tokens: kvtrie.Prompt(tokens),
}


def prompts() -> dict[int, np.ndarray[Any, Any]]:
    """Returns a prompt of each size. Their first blocks differ."""
    chance = np.random.default_rng(1)
    return {blocks: chance.integers(0, 2**17, blocks * BLOCK_SIZE) for blocks in SIZES}


def ours(texts: dict[int, np.ndarray[Any, Any]]) -> list[Row]:
    """Returns the ways to look a prompt up in kvtrie."""
    cache = kvtrie.PrefixCache(blocks=sum(texts), block_size=BLOCK_SIZE)
    model = cache.namespace("model")
    row = np.zeros(max(texts), np.int32)
    for blocks, text in texts.items():
        cache.lookup(model, text).publish(text, cache.allocate(blocks))

    def way(tokens: Any) -> Lookup:
        def lookup() -> int:
            with cache.lookup(model, tokens) as hold:
                return hold.token_count

        return lookup

    def with_table(tokens: Any) -> Lookup:
        def lookup() -> int:
            with cache.lookup(model, tokens) as hold:
                return hold.block_table_into(row) * BLOCK_SIZE

        return lookup

    rows: list[Row] = [
        (f"kvtrie, {kind}", {blocks: way(make(text)) for blocks, text in texts.items()})
        for kind, make in KINDS.items()
    ]
    for kind in ("list", "NumPy uint32"):
        ways = {blocks: with_table(KINDS[kind](text)) for blocks, text in texts.items()}
        rows.append((f"kvtrie, {kind}, and its table", ways))
    return rows


def compatible(texts: dict[int, np.ndarray[Any, Any]]) -> Row:
    """Returns the lookup of `kvtrie.compat.mlx_manager`."""
    from kvtrie.compat import mlx_manager

    mlx_manager.BLOCK_SIZE = BLOCK_SIZE
    manager = mlx_manager.PagedBlockManager(sum(texts))
    cache = mlx_manager.PrefixCache("model", manager)

    def publish(tokens: list[int]) -> Lookup:
        cache.cache_prefix(tokens, [manager.allocate() for _ in range(len(tokens) // BLOCK_SIZE)])

        def lookup() -> int:
            found, count = cache.lookup_prefix(tokens)
            cache.release_prefix(found)
            return count

        return lookup

    ways = {blocks: publish(text.tolist()) for blocks, text in texts.items()}
    return "kvtrie.compat.mlx_manager, list", ways


def others(texts: dict[int, np.ndarray[Any, Any]], checkout: Path | None) -> list[Row]:
    """Returns the lookups of the peers that this machine has."""
    rows = []
    for peer in peers.installed(checkout):
        name, publish = peer(sum(texts))
        ways = {blocks: publish(text.tolist()) for blocks, text in texts.items()}
        rows.append((name, ways))
    return rows


def sample(lookup: Lookup, calls: int) -> float:
    """Returns the nanoseconds of a call."""
    start = time.thread_time_ns()
    for _ in range(calls):
        lookup()
    return (time.thread_time_ns() - start) / calls


def calls_of_a_sample(lookup: Lookup) -> int:
    """Returns how many calls fit into a sample, once the lookup is warm."""
    sample(lookup, 10)
    return max(1, int(BUDGET / sample(lookup, 10)))


def measure(rows: list[Row], samples: int) -> dict[str, dict[int, float]]:
    """Returns the median nanoseconds of each lookup. All take turns."""
    calls = {
        (name, blocks): calls_of_a_sample(lookup)
        for name, ways in rows
        for blocks, lookup in ways.items()
    }
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in range(samples):
        for name, ways in rows:
            for blocks, lookup in ways.items():
                key = name, blocks
                taken[key].append(sample(lookup, calls[key]))
    return {
        name: {blocks: statistics.median(taken[name, blocks]) for blocks in ways}
        for name, ways in rows
    }


def goals(medians: dict[str, dict[int, float]]) -> list[tuple[str, float, float]]:
    """Returns for each goal its name, what was measured, and what is allowed."""
    found = []
    for blocks in SIZES:
        tokens = blocks * BLOCK_SIZE
        for kind, each in GOALS.items():
            name = f"{kind}, {blocks} blocks: 0.5 us and {each} ns a token"
            found.append((name, medians[f"kvtrie, {kind}"][blocks], 500 + each * tokens))
        table = medians["kvtrie, NumPy uint32, and its table"][blocks]
        for peer, times in (("vLLM", 50), ("SGLang", 20)):
            for name, median in medians.items():
                if name.startswith(peer):
                    goal = f"{times} times {name.split(',')[0]}, {blocks} blocks"
                    found.append((goal, table, median[blocks] / times))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--original", type=Path, metavar="CHECKOUT")
    parser.add_argument("--check", action="store_true", help="make each lookup once")
    options = parser.parse_args()
    texts = prompts()
    rows = [*ours(texts), compatible(texts), *others(texts, options.original)]
    for name, ways in rows:
        for blocks, lookup in ways.items():
            found = lookup()
            assert found == blocks * BLOCK_SIZE, f"{name}: {found} tokens of {blocks} blocks"
    if options.check:
        print(f"{len(rows)} ways find prompts of {len(SIZES)} sizes")
        return
    medians = measure(rows, SAMPLES)
    print(f"Microseconds a lookup. Python {platform.python_version()}, NumPy {np.__version__}.\n")
    print("| way | " + " | ".join(f"{blocks:,} blocks" for blocks in SIZES) + " |")
    print("| --- |" + " ---: |" * len(SIZES))
    for name, median in medians.items():
        cells = (f"{median[blocks] / 1000:,.2f}" for blocks in SIZES)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()
    for name, measured, allowed in goals(medians):
        word = "met" if measured <= allowed else "MISSED"
        print(f"{word}: {name}: {measured / 1000:.2f} of {allowed / 1000:.2f} us")


if __name__ == "__main__":
    main()
