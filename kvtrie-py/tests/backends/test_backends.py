"""The backends without a record: requests that evict freely, and what the backends refuse."""

import importlib
import importlib.util
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from arrays import Numpy
from replay_sglang import Types
from schedulers import PAGE, PAGES, MiniScheduler, ints

from kvtrie.backends import mini_sglang, sglang
from kvtrie.backends._pages import Prefix
from kvtrie.backends.mini_sglang import Backend


def backend() -> Backend:
    """Returns an empty cache of 32 pages."""
    return Backend(Numpy.slots(PAGES, PAGE, "int32"))


def insert(cache: Backend, tokens: Any) -> Any:
    """Inserts tokens at the indices that have their numbers."""
    return cache.insert_prefix(ints(tokens), ints(tokens)).handle


def test_requests_find_their_own_prefixes() -> None:
    log = MiniScheduler(None).run(4000)
    assert sum(len(entry) > 1 for entry in log) > 2000, "evictions"
    assert sum(entry[0] > 0 for entry in log if len(entry) == 1) > 1000, "hits"


def test_a_match_does_not_keep_its_prefix() -> None:
    cache = backend()
    insert(cache, range(8))
    handle = cache.match_prefix(ints(range(8))).cuda_handle
    assert handle.cached_len == 8
    assert tuple(cache.size_info) == (8, 0)
    cache.evict(4)
    with pytest.raises(RuntimeError, match="8 tokens was evicted before its lock"):
        cache.lock_handle(handle)
    assert tuple(cache.size_info) == (4, 0)


def test_a_lock_keeps_its_prefix_until_the_last_unlock() -> None:
    cache = backend()
    handle = insert(cache, range(8))
    cache.lock_handle(handle)
    cache.lock_handle(handle)
    cache.lock_handle(handle, unlock=True)
    with pytest.raises(RuntimeError, match="cannot evict 4 tokens: only 0 are evictable"):
        cache.evict(4)
    with pytest.raises(RuntimeError, match="cannot reset the cache: 8 tokens are locked"):
        cache.reset()
    cache.lock_handle(handle, unlock=True)
    with pytest.raises(RuntimeError, match="not locked"):
        cache.lock_handle(handle, unlock=True)
    assert sorted(cache.evict(5).tolist()) == list(range(8)), "rounded up to a page"


def test_a_reset_forgets_all() -> None:
    cache = backend()
    insert(cache, range(8))
    cache.reset()
    assert cache.match_prefix(ints(range(8))).cuda_handle.cached_len == 0
    assert tuple(cache.size_info) == (0, 0)
    assert insert(cache, range(12)).cached_len == 12


def test_a_pool_that_is_larger_than_said_is_an_error() -> None:
    cache = backend()
    with pytest.raises(RuntimeError, match="more than 32 pages"):
        insert(cache, range(33 * PAGE))
    assert cache.size_info.total_size == 0
    cache.check_integrity()
    insert(cache, range(32 * PAGE))


def test_a_lost_block_is_found() -> None:
    cache = backend()
    lost = cache._pages.cache.allocate(1)
    with pytest.raises(RuntimeError, match="1 blocks are neither cached nor free"):
        cache.check_integrity()
    lost.free()
    cache.check_integrity()


def sglang_cache() -> Any:
    """Returns SGLang's cache on stand-ins of its types."""
    params = SimpleNamespace(
        req_to_token_pool=None,
        token_to_kv_pool_allocator=None,
        page_size=PAGE,
        enable_metrics=False,
    )
    return sglang.cache_class(Types)(params, Numpy.slots(PAGES, PAGE, "int64"))


def sglang_insert(cache: Any, tokens: range, extra_key: str | None = None) -> Any:
    """Inserts tokens at the indices that have their numbers, and returns the node."""
    key = SimpleNamespace(extra_key=extra_key, cache_salt=None)
    key.raw_token_ids = lambda: array("q", tokens)
    result = cache.insert(SimpleNamespace(key=key, value=np.array(tokens)))
    assert result.prefix_len == 0
    return result.last_device_node


def test_sglang_refuses_wrong_locks() -> None:
    cache = sglang_cache()
    node = sglang_insert(cache, range(8))
    with pytest.raises(RuntimeError, match="8 tokens is not locked"):
        cache.dec_lock_ref(node)
    cache.reset()
    with pytest.raises(RuntimeError, match="8 tokens was evicted before its lock"):
        cache.inc_lock_ref(node)
    with pytest.raises(RuntimeError, match="more than 32 pages"):
        sglang_insert(cache, range(33 * PAGE))


def test_sglang_orders_requests_depth_first() -> None:
    cache = sglang_cache()
    nodes = [
        sglang_insert(cache, range(8, 12)),
        sglang_insert(cache, range(4)),
        sglang_insert(cache, range(4), "adapter"),
    ]
    nodes.append(Prefix(cache._pages, nodes[0].name, array("q", range(8))))
    order = cache.dfs_weight_order([*nodes, cache.root_node])
    assert [i for i in order if i != 2] == [4, 1, 3, 0]


@pytest.mark.parametrize(
    ("setting", "feature"),
    [
        ("is_hybrid_swa", "sliding windows"),
        ("is_hybrid_ssm", "Mamba"),
        ("enable_hierarchical_cache", "hierarchical caching"),
        ("is_eagle", "Eagle"),
        ("enable_kv_cache_events", "KV events"),
        ("eviction_policy", "an eviction policy other than lru"),
        ("pp_size", "pipeline parallelism"),
        ("attn_cp_size", "context parallelism"),
    ],
)
def test_sglang_refuses_what_it_does_not_have(setting: str, feature: str) -> None:
    params = SimpleNamespace(
        is_eagle=False,
        eviction_policy="lru",
        enable_kv_cache_events=False,
        pp_size=1,
        attn_cp_size=1,
    )
    context = SimpleNamespace(
        disable_radix_cache=False,
        is_hybrid_swa=False,
        is_hybrid_ssm=False,
        enable_hierarchical_cache=False,
        tp_size=1,
        params=params,
    )
    where = params if hasattr(params, setting) else context
    value = {"eviction_policy": "lfu"}.get(setting, 2 if setting.endswith("_size") else True)
    setattr(where, setting, value)
    with pytest.raises(ValueError, match=f"does not support {feature}$"):
        sglang.create(context)


@pytest.mark.parametrize(("module", "engine"), [(mini_sglang, "minisgl"), (sglang, "sglang")])
def test_without_the_engine_only_registration_fails(module: Any, engine: str) -> None:
    if importlib.util.find_spec(engine):
        pytest.skip(f"{engine} is installed")
    with pytest.raises(ImportError):
        module.register()
