"""Ranks of tensor parallelism: caches in processes of their own that must evict alike."""

import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from schedulers import Log, MiniScheduler, SglangScheduler
from test_engines import STEPS, MiniSglang, Sglang, requires

from kvtrie.backends._pages import shared_seed

SPAWN = multiprocessing.get_context("spawn")
REQUESTS = 3000


def run_mini(seed: int | None) -> Log:
    """Returns the log of one rank of mini-sglang."""
    return MiniScheduler(seed).run(REQUESTS)


def run_sglang(seed: int | None) -> Log:
    """Returns the log of one rank of SGLang."""
    scheduler = SglangScheduler(seed)
    log: Log = []
    for _ in range(REQUESTS // 100):
        log = scheduler.run(100)
        scheduler.nodes.clear()
    return log


@pytest.mark.parametrize("run", [run_mini, run_sglang])
def test_ranks_with_one_seed_evict_the_same(run: Callable[[int | None], Log]) -> None:
    with SPAWN.Pool(3) as pool:
        logs = pool.map(run, [7, 7, 7], chunksize=1)
    assert logs[0] == logs[1] == logs[2]
    assert sum(len(entry) > 1 for entry in logs[0]) > REQUESTS // 2, "evictions"


@pytest.mark.parametrize("run", [run_mini, run_sglang])
def test_ranks_with_other_seeds_do_not(run: Callable[[int | None], Log]) -> None:
    """The calls are the same: so it is the seed that makes ranks agree."""
    logs = [run(seed) for seed in (1, 2, None)]
    assert logs[0] != logs[1] != logs[2] != logs[0]


def test_a_rank_may_keep_nodes_for_longer() -> None:
    """Python may free objects in a cycle at another time on each rank."""
    scheduler = SglangScheduler(7)
    assert scheduler.run(REQUESTS) == run_sglang(7)
    assert len(scheduler.nodes) == 2 * REQUESTS


def join(rank: int, ranks: int, meeting: str) -> Any:
    """Joins the process group of all ranks."""
    from torch import distributed

    method = f"file://{meeting}"
    distributed.init_process_group("gloo", rank=rank, world_size=ranks, init_method=method)
    return distributed


def seeds_of(rank: int, ranks: int, meeting: str) -> list[int]:
    """Returns the seeds that a rank shares with all, with all again, and with its pair."""
    distributed = join(rank, ranks, meeting)
    pairs = [distributed.new_group([first, first + 1]) for first in range(0, ranks, 2)]
    return [shared_seed(), shared_seed(distributed.group.WORLD), shared_seed(pairs[rank // 2])]


def start(work: Callable[[int, int, str], Any], ranks: int, folder: Path) -> list[Any]:
    """Does some work on each rank, in a process of its own, and returns the results."""
    with SPAWN.Pool(ranks) as pool:
        each = [(rank, ranks, str(folder / "meeting")) for rank in range(ranks)]
        return pool.starmap(work, each, chunksize=1)


@requires("torch")
def test_ranks_share_a_seed(tmp_path: Path) -> None:
    first, again, paired = zip(*start(seeds_of, 4, tmp_path), strict=True)
    assert len(set(first)) == len(set(again)) == 1
    assert first[0] != again[0]
    assert paired[0] == paired[1] != paired[2] == paired[3]


def slots_of(engine: Any) -> Any:
    """Runs an engine, and returns its hits, and the prefix last computed into each slot.

    It draws from few texts, so that it computes evicted prefixes anew.
    """
    texts = [engine.texts.draw() for _ in range(60)]
    engine.texts.draw = lambda: engine.rng.choice(texts)
    for _ in range(2 * STEPS):
        engine.step()
    return engine.hits, engine.memory.of


def run_mini_engine(rank: int, ranks: int, meeting: str) -> Any:
    """Runs a rank of mini-sglang."""
    join(rank, ranks, meeting)
    from minisgl import distributed

    import kvtrie.backends.mini_sglang

    distributed.set_tp_info(rank, ranks)
    kvtrie.backends.mini_sglang.register()
    return slots_of(MiniSglang(random.Random(4), 4))


def run_sglang_engine(rank: int, ranks: int, meeting: str) -> Any:
    """Runs a rank of SGLang."""
    group = join(rank, ranks, meeting).group.WORLD
    import kvtrie.backends.sglang

    kvtrie.backends.sglang.register()
    with pytest.MonkeyPatch.context() as patch:
        return slots_of(Sglang(random.Random(4), 4, patch, group))


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run_mini_engine, marks=requires("torch", "minisgl")),
        pytest.param(run_sglang_engine, marks=requires("torch", "sglang")),
    ],
)
def test_ranks_of_an_engine_use_the_same_slots(run: Any, tmp_path: Path) -> None:
    one, other = start(run, 2, tmp_path)
    assert one == other
