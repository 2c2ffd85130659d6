"""A radix cache for SGLang (`sglang.srt.mem_cache.registry`).

The package is a plugin of SGLang, so it suffices to install it and to start the server with
`--radix-cache-backend kvtrie`. Not supported, and refused at the start: sliding windows, Mamba,
hierarchical caching, Eagle, an eviction policy other than `lru`, the engine's KV events, and
pipeline or context parallelism.

Under tensor parallelism each rank has a cache, and the engine makes the same calls of each. The
first rank draws a seed and sends it to the others, so all evict alike.
"""

import time
from array import array
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ._pages import PLAIN, Name, Pages, Prefix, shared_seed
from ._slots import Slots, torch_slots


class Backend:
    """Implements `BasePrefixCache`, together with that class itself.

    A node of the engine's trees is a `Prefix` here. Ranks of one group share a seed.
    """

    disable = False
    engine: Any
    """The module of the engine's types: `sglang.srt.mem_cache.base_prefix_cache`."""

    # Methods of the engine's class.
    init_metrics_collector: Callable[[], None]
    update_eviction_metrics: Callable[[int, float], None]
    unlock: Callable[[Any], None]

    def __init__(self, params: Any, slots: Slots, seed: int | None = None) -> None:
        self.req_to_token_pool = params.req_to_token_pool
        self.token_to_kv_pool_allocator = params.token_to_kv_pool_allocator
        self.page_size: int = params.page_size
        self._pages = Pages(slots, seed)
        self.root_node = self._node(PLAIN, array("q"))
        if params.enable_metrics:
            self.init_metrics_collector()

    def reset(self) -> None:
        """Forgets every prefix. The engine clears its allocator itself."""
        self._pages.clear()

    def match_prefix(self, params: Any) -> Any:
        """Finds the longest cached prefix, without a lock on it."""
        name, tokens = self._name(params.key), params.key.raw_token_ids()
        length = self._pages.match(name, tokens)
        node = self._node(name, tokens[:length])
        return self.engine.MatchResult(length, node, node, node)

    def touch_prefix(self, key: Any) -> None:
        """Marks the cached prefix of a key as used."""
        self._pages.match(self._name(key), key.raw_token_ids())

    def insert(self, params: Any) -> Any:
        """Inserts the full pages of a key. The caller frees what was there already."""
        name, tokens = self._name(params.key), params.key.raw_token_ids()
        hold, there = self._pages.insert(name, tokens, params.value)
        with hold:
            node = self._node(name, tokens[: hold.token_count])
        return self.engine.InsertResult(prefix_len=there, last_device_node=node)

    def checkpoint(self, req: Any, *, up_to: int) -> None:
        """Inserts the full pages of a request, frees its duplicates, and moves its lock."""
        tokens, name = req.full_untruncated_fill_ids[:up_to], self._name(req)
        row = self.req_to_token_pool.req_to_token[req.kv.req_pool_idx]
        hold, there = self._pages.insert(name, tokens, row)
        length, protected = hold.token_count, req.kv.cache_protected_len
        if there > protected:
            duplicates = row[protected:there]
            self.token_to_kv_pool_allocator.free_segment(duplicates, start_pos=protected)
            table = hold.block_table()[protected // self.page_size : there // self.page_size]
            where = (req.kv.req_pool_idx, slice(protected, there))
            self.req_to_token_pool.write(where, self._pages.slots.read(table))
        req.kv.cache_inserted_len = max(req.kv.cache_inserted_len, length)
        req.kv.cache_protected_len = length
        req.last_node = self._node(name, tokens[:length], hold)
        self.unlock(req.lock)
        req.lock = self.engine.TreeLock(req.last_node, self.engine.DecLockRefParams())

    def evict(self, params: Any) -> Any:
        """Evicts `num_tokens` tokens, rounded up to pages, or all that are not locked."""
        start = time.perf_counter()
        slots = self._pages.evict(params.num_tokens)
        if tokens := len(slots):
            self.token_to_kv_pool_allocator.free_segment(slots, start_pos=0)
        self.update_eviction_metrics(tokens, start)
        return self.engine.EvictResult(num_tokens_evicted=tokens)

    def inc_lock_ref(self, node: Prefix) -> Any:
        """Locks a prefix. Raises `RuntimeError` if a part of it was evicted before."""
        node.lock()
        return self.engine.IncLockRefResult()

    def dec_lock_ref(self, node: Prefix, params: Any = None) -> Any:
        """Takes one lock of a prefix back. Raises `RuntimeError` if it has none."""
        node.unlock()
        return self.engine.DecLockRefResult()

    def path_device_indices(self, node: Prefix) -> Any:
        """Returns the engine's indices of a prefix, one for each token."""
        return node.slots()

    def evictable_size(self) -> int:
        """Returns how many cached tokens are not locked."""
        return self.total_size() - self.protected_size()

    def protected_size(self) -> int:
        """Returns how many cached tokens are locked."""
        return self._pages.locked()

    def total_size(self) -> int:
        """Returns how many tokens are cached."""
        return self._pages.cached()

    def pretty_print(self) -> None:
        """Prints the statistics of the cache, for the engine's report of an error."""
        print(self._pages.cache.stats())

    def dfs_weight_order(self, node_handles: Any) -> list[int]:
        """Returns the requests depth first. Siblings are in no particular order."""
        prefixes = [(*(part or "" for part in node.name), node.tokens) for node in node_handles]
        return sorted(range(len(prefixes)), key=prefixes.__getitem__)

    def _node(self, name: Name, tokens: Any, *locks: Any) -> Prefix:
        return Prefix(self._pages, name, tokens, *locks)

    def _name(self, key: Any) -> Name:
        return key.extra_key, key.cache_salt or None


def cache_class(engine: Any) -> Any:
    """Returns the cache as a subclass of `engine.BasePrefixCache`."""
    return type("KvtrieRadixCache", (Backend, engine.BasePrefixCache), {"engine": engine})


def create(context: Any) -> Any:
    """Builds the cache from SGLang's `TreeCacheBuildContext`, as a factory of its registry.

    Raises `ValueError` if the configuration asks for what this cache does not have.
    """
    if context.disable_radix_cache:
        registry = import_module("sglang.srt.mem_cache.registry")
        return registry.default_radix_cache_factory(context)
    params = context.params
    refused = {
        "sliding windows": context.is_hybrid_swa,
        "Mamba": context.is_hybrid_ssm,
        "hierarchical caching": context.enable_hierarchical_cache,
        "Eagle": params.is_eagle,
        "an eviction policy other than lru": params.eviction_policy.lower() != "lru",
        "KV events": params.enable_kv_cache_events,
        # The stages make their calls at times of their own. That all make the same ones in the
        # same order has not been checked.
        "pipeline parallelism": params.pp_size > 1,
        # The group over which the ranks share a seed does not have all of these ranks.
        "context parallelism": params.attn_cp_size > 1,
    }
    if asked := [feature for feature, is_asked in refused.items() if is_asked]:
        raise ValueError(f"--radix-cache-backend kvtrie does not support {', '.join(asked)}")
    torch = import_module("torch")
    engine = import_module("sglang.srt.mem_cache.base_prefix_cache")
    # The ranks that run one batch, each with a cache of its own.
    seed = shared_seed(params.tp_cache_group) if context.tp_size > 1 else None
    allocator = params.token_to_kv_pool_allocator
    blocks = allocator.size // params.page_size
    slots = torch_slots(blocks, params.page_size, torch.int64, allocator.device)
    return cache_class(engine)(params, slots, seed)


def register(name: str = "kvtrie") -> None:
    """Registers the cache under `name`, for `--radix-cache-backend`.

    Raises `ImportError` without SGLang, and `ValueError` if the name is taken.
    """
    registry = import_module("sglang.srt.mem_cache.registry")
    registry.register_radix_cache_backend(name, create)
