"""Runs the backends inside the engines' own schedulers' code, where an engine is installed.

There is no model. A dictionary stands for the keys and values: a computed token writes its whole
prefix to its slot, and a request that reads a slot must find its own prefix there.
"""

import importlib.util
import random
from array import array
from types import SimpleNamespace
from typing import Any

import pytest

STEPS = 2000
PAGES = 64


def requires(*modules: str) -> Any:
    """Skips a test unless an engine is installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not installed")


class Memory:
    """The keys and values: what each slot was computed for."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[int, ...]] = {}

    def compute(self, tokens: list[int], row: list[int], start: int) -> None:
        """Computes tokens from `start` on, after checking what they attend to."""
        for at in range(start):
            assert self.of[row[at]] == tuple(tokens[: at + 1]), "a slot of another prefix"
        for at in range(start, len(tokens)):
            self.of[row[at]] = tuple(tokens[: at + 1])


class Texts:
    """Random texts that share beginnings."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known = [self.more(20) for _ in range(4)]

    def more(self, n: int) -> list[int]:
        """Returns random tokens."""
        return [self.rng.randrange(50) for _ in range(n)]

    def draw(self) -> list[int]:
        """Returns a text, which may continue a known one."""
        known = self.rng.choice(self.known)
        text = known[: self.rng.randint(0, len(known))] + self.more(self.rng.randint(1, 24))
        self.known[self.rng.randrange(len(self.known))] = text[:48]
        return text


class MiniSglang:
    """Requests in `minisgl.scheduler.cache.CacheManager`."""

    def __init__(self, rng: random.Random, page: int) -> None:
        import torch
        from minisgl import core, distributed
        from minisgl.kvcache.mha_pool import MHAKVCache
        from minisgl.scheduler.cache import CacheManager

        if distributed.try_get_tp_info() is None:
            distributed.set_tp_info(0, 1)
        core._GLOBAL_CTX = None
        context = core.Context(page_size=page)
        pool = MHAKVCache(1, 1, 1, PAGES + 1, page, torch.float16, torch.device("cpu"))
        context.kv_cache = pool  # the backend takes the number of pages from it
        core.set_global_ctx(context)
        self.torch, self.rng, self.page = torch, rng, page
        self.table = torch.zeros((64, 128), dtype=torch.int32)
        self.manager = CacheManager(PAGES, page, self.table, type="kvtrie")
        self.memory, self.texts = Memory(), Texts(rng)
        self.rows = list(range(64))
        self.running: list[Any] = []
        self.hits = 0

    def step(self) -> None:
        """Admits a request, or lets one end or go on."""
        if len(self.running) < 5 and self.rng.random() < 0.5:
            self.admit()
        elif self.running:
            self.publish(finished=self.rng.random() < 0.6)
        if not self.running:
            self.manager.check_integrity()

    def admit(self) -> None:
        """Matches, locks, allocates and computes a prompt."""
        ids = self.torch.tensor(self.texts.draw(), dtype=self.torch.int32)
        handle = self.manager.match_req(SimpleNamespace(input_len=len(ids), input_ids=ids))
        handle = handle.cuda_handle
        self.manager.lock(handle)
        cached = handle.cached_len
        pages = -(-(len(ids) - cached) // self.page)
        if pages * self.page > self.manager.available_size:
            return self.manager.unlock(handle)
        row = self.rows.pop()
        if cached:
            self.table[row, :cached] = handle.get_matched_indices()
        new = self.manager._page_to_token(self.manager._allocate(pages))
        self.table[row, cached : cached + len(new)] = new
        self.memory.compute(ids.tolist(), self.table[row].tolist(), cached)
        self.hits += cached
        request = SimpleNamespace(input_ids=ids, table_idx=row, cache_handle=handle)
        request.cached_len = len(ids)
        self.running.append(request)

    def publish(self, finished: bool) -> None:
        """Inserts what a request has."""
        at = self.rng.randrange(len(self.running))
        request = self.running[at]
        with self.manager.lazy_free_region():
            self.manager.cache_req(request, finished=finished)
        if finished:
            del self.running[at]
            self.rows.append(request.table_idx)
        else:
            # The engine leaves freed duplicates in the row of a request that goes on.
            cached = request.cache_handle.cached_len
            if cached:
                row = request.cache_handle.get_matched_indices()
                self.table[request.table_idx, :cached] = row


@requires("minisgl")
@pytest.mark.parametrize("page", [1, 4])
def test_mini_sglang(page: int) -> None:
    import kvtrie.backends.mini_sglang
    from minisgl.kvcache import SUPPORTED_CACHE_MANAGER

    if "kvtrie" not in SUPPORTED_CACHE_MANAGER.supported_names():
        kvtrie.backends.mini_sglang.register()
    engine = MiniSglang(random.Random(page), page)
    for _ in range(STEPS):
        engine.step()
    assert engine.hits > STEPS


# What the functions that are called read of the server's arguments.
SETTINGS = SimpleNamespace(
    radix_cache_backend="kvtrie",
    radix_eviction_policy="lru",
    enable_hierarchical_cache=False,
    enable_session_radix_cache=False,
    enable_streaming_session=False,
    strip_thinking_cache=False,
    speculative_algorithm=None,
)


class Sglang:
    """Requests in SGLang's pools, with the functions that its scheduler calls."""

    def __init__(
        self, rng: random.Random, page: int, patch: pytest.MonkeyPatch, ranks: Any = None
    ) -> None:
        import torch
        from sglang.srt.managers import schedule_batch
        from sglang.srt.mem_cache import common, registry
        from sglang.srt.mem_cache.allocator import TokenToKVPoolAllocator
        from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
        from sglang.srt.mem_cache.cache_init_params import CacheInitParams
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

        for module, getters in (
            (common, ("get_serving", "get_spec")),
            (schedule_batch, ("get_serving", "get_spec")),
            (registry, ("get_serving", "get_memory")),
        ):
            for getter in getters:
                patch.setattr(module, getter, lambda: SETTINGS)
        self.torch, self.common, self.rng, self.page = torch, common, rng, page
        self.schedule_batch = schedule_batch
        self.rows = ReqToTokenPool(8, 128, "cpu", enable_memory_saver=False)
        rest = (torch.int64, "cpu", None, False)
        if page == 1:
            self.allocator = TokenToKVPoolAllocator(PAGES, *rest)
        else:
            self.allocator = PagedTokenToKVPoolAllocator(PAGES * page, page, *rest)
        params = CacheInitParams(False, self.rows, self.allocator, page, tp_cache_group=ranks)
        tp_size = 1 if ranks is None else ranks.size()
        context = registry.TreeCacheBuildContext(
            SimpleNamespace(), params, False, False, False, False, None, None, tp_size, 0, None
        )
        self.cache = registry.create_tree_cache(context)
        self.memory, self.texts = Memory(), Texts(rng)
        self.running: list[Any] = []
        self.hits = self.number = 0

    def step(self) -> None:
        """Admits a request, or lets one end or go on."""
        if len(self.running) < 5 and self.rng.random() < 0.5:
            self.admit()
        elif self.running:
            self.publish(finished=self.rng.random() < 0.6)
        if not self.running:
            free = self.allocator.available_size() + self.cache.evictable_size()
            assert free == PAGES * self.page
            assert self.cache.protected_size() == 0

    def admit(self) -> None:
        """Matches, locks, allocates and computes a prompt."""
        from sglang.srt.sampling.sampling_params import SamplingParams

        text, self.number = self.texts.draw(), self.number + 1
        params = SamplingParams(max_new_tokens=4)
        request = self.schedule_batch.Req(str(self.number), "", array("q", text), params)
        tokens = array("q", text)
        self.common.match_kv_cache(request, self.cache, tokens, max_prefix_len=len(text) - 1)
        request.lock = self.cache.lock(request.last_node)
        cached = request.prefix_len
        need = -(-(len(text) - cached) // self.page) * self.page
        self.common.evict_from_tree_cache(self.cache, need)
        if self.allocator.available_size() < need:
            return self.cache.unlock(request.lock)
        self.rows.alloc([request])
        row = self.rows.req_to_token[request.kv.req_pool_idx]
        row[:cached] = self.cache.prefix_device_indices(request)
        new = self.allocator.alloc(need)
        row[cached : cached + need] = new
        self.memory.compute(text, row.tolist(), cached)
        self.hits += cached
        request.full_untruncated_fill_ids = tokens
        request.kv.cache_protected_len = cached
        request.kv.kv_committed_len = request.extend_end = len(text)
        request.kv.kv_allocated_len = len(text)
        self.running.append(request)

    def publish(self, finished: bool) -> None:
        """Publishes what a request has, or ends it."""
        request = self.rng.choice(self.running)
        if not finished:
            return self.common.checkpoint_kv_cache(request, self.cache)
        self.running.remove(request)
        request.finished_reason = self.schedule_batch.FINISH_LENGTH(length=0)
        keep = self.rng.random() < 0.9
        self.common.release_kv_cache(request, self.cache, checkpoint=keep)


@requires("sglang")
@pytest.mark.parametrize("page", [1, 4])
def test_sglang(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import kvtrie.backends.sglang
    from sglang.srt.mem_cache.registry import registered_radix_cache_backends

    if "kvtrie" not in registered_radix_cache_backends():
        kvtrie.backends.sglang.register()
    engine = Sglang(random.Random(page), page, monkeypatch)
    for _ in range(STEPS):
        engine.step()
    assert engine.hits > STEPS
