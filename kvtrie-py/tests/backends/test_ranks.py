"""Ranks of tensor parallelism: caches in processes of their own that must evict alike."""

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from replay_sglang import Allocator, Types
from schedulers import PAGE, PAGES, Log, MiniScheduler, SglangScheduler

from kvtrie.backends import sglang
from kvtrie.backends._pages import shared_seed

SPAWN = multiprocessing.get_context("spawn")
REQUESTS = 3000


def run_mini(seed: int | None) -> Log:
    """Returns what one rank of mini-sglang logs."""
    return MiniScheduler(seed).run(REQUESTS)


def run_sglang(seed: int | None) -> Log:
    """Returns what one rank of SGLang logs."""
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
    """Python may free what is in a cycle at another time on each rank."""
    scheduler = SglangScheduler(7)
    assert scheduler.run(REQUESTS) == run_sglang(7)
    assert len(scheduler.nodes) == 2 * REQUESTS


def requires_torch() -> Any:
    """Skips a test without torch."""
    missing = importlib.util.find_spec("torch") is None
    return pytest.mark.skipif(missing, reason="torch is not installed")


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


def run_created(rank: int, ranks: int, meeting: str) -> Log:
    """Returns what a rank of SGLang logs whose cache `create` makes, on the engine's stand-ins."""
    distributed = join(rank, ranks, meeting)
    module: Any = ModuleType("sglang.srt.mem_cache.base_prefix_cache")
    module.__dict__.update(vars(Types))
    sys.modules[module.__name__] = module
    allocator: Any = Allocator()
    allocator.size, allocator.device = PAGES * PAGE, "cpu"
    params = SimpleNamespace(
        is_eagle=False,
        eviction_policy="lru",
        enable_kv_cache_events=False,
        pp_size=1,
        attn_cp_size=1,
        tp_cache_group=distributed.group.WORLD,
        token_to_kv_pool_allocator=allocator,
        req_to_token_pool=None,
        page_size=PAGE,
        enable_metrics=False,
    )
    context = SimpleNamespace(
        disable_radix_cache=False,
        is_hybrid_swa=False,
        is_hybrid_ssm=False,
        enable_hierarchical_cache=False,
        tp_size=ranks,
        params=params,
    )
    from torch import Tensor, as_tensor

    cache = sglang.create(context)
    cache._pages.slots._cast = lambda slots: as_tensor(slots)
    assert isinstance(cache._pages.slots.empty, Tensor)
    return SglangScheduler(None, cache).run(REQUESTS // 10)


@requires_torch()
def test_ranks_share_a_seed(tmp_path: Path) -> None:
    ranks = 4
    with SPAWN.Pool(ranks) as pool:
        work = [(rank, ranks, str(tmp_path / "meeting")) for rank in range(ranks)]
        seeds = pool.starmap(seeds_of, work, chunksize=1)
    first, again, paired = zip(*seeds, strict=True)
    assert len(set(first)) == len(set(again)) == 1
    assert first[0] != again[0]
    assert paired[0] == paired[1] != paired[2] == paired[3]


@requires_torch()
def test_ranks_whose_caches_are_created_together_evict_the_same(tmp_path: Path) -> None:
    ranks = 2
    with SPAWN.Pool(ranks) as pool:
        work = [(rank, ranks, str(tmp_path / "meeting")) for rank in range(ranks)]
        logs = pool.starmap(run_created, work, chunksize=1)
    assert logs[0] == logs[1]
    assert sum(len(entry) > 1 for entry in logs[0]) > 100, "evictions"
