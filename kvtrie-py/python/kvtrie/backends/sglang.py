"""A radix cache for SGLang (`sglang.srt.mem_cache.registry`).

The package is a plugin of SGLang, so it suffices to install it and to start the server with
`--radix-cache-backend kvtrie`. Not supported, and refused at the start: sliding windows, Mamba,
hierarchical caching, Eagle, an eviction policy other than `lru`, the engine's KV events, and
tensor, pipeline or context parallelism.
"""

import time
from array import array
from collections.abc import Callable
from importlib import import_module
from typing import Any

from kvtrie import Hold, Namespace, PrefixCache

from ._slots import Slots, torch_slots


class Node:
    """A cached prefix, for which SGLang's own caches use a node of a tree."""

    def __init__(self, namespace: Namespace, tokens: "array[int]") -> None:
        self.namespace = namespace
        self.tokens = tokens
        self.holds: list[Hold] = []


class Backend:
    """Implements `BasePrefixCache`, together with that class itself. A lock is a hold."""

    disable = False
    engine: Any
    """The module of the engine's types: `sglang.srt.mem_cache.base_prefix_cache`."""

    # Methods of the engine's class.
    init_metrics_collector: Callable[[], None]
    update_eviction_metrics: Callable[[int, float], None]
    unlock: Callable[[Any], None]

    def __init__(self, params: Any, slots: Slots) -> None:
        self.req_to_token_pool = params.req_to_token_pool
        self.token_to_kv_pool_allocator = params.token_to_kv_pool_allocator
        self.page_size: int = params.page_size
        self._slots = slots
        self._cache = PrefixCache(slots.blocks, slots.block_size)
        self.root_node = Node(self._cache.namespace("model"), array("q"))
        if params.enable_metrics:
            self.init_metrics_collector()

    def reset(self) -> None:
        """Forgets every prefix. The engine clears its allocator itself."""
        self._cache.clear_all().blocks.free()

    def match_prefix(self, params: Any) -> Any:
        """Finds the longest cached prefix, without a lock on it."""
        namespace, tokens = self._name(params.key), params.key.raw_token_ids()
        with self._cache.lookup(namespace, tokens) as hold:
            length = hold.token_count
        node = Node(namespace, tokens[:length])
        return self.engine.MatchResult(length, node, node, node)

    def touch_prefix(self, key: Any) -> None:
        """Marks the cached prefix of a key as used."""
        self._cache.lookup(self._name(key), key.raw_token_ids()).release()

    def insert(self, params: Any) -> Any:
        """Inserts the full pages of a key. The caller frees what was there already."""
        namespace, tokens = self._name(params.key), params.key.raw_token_ids()
        hold, there = self._insert(namespace, tokens, params.value)
        with hold:
            node = Node(namespace, tokens[: hold.token_count])
        return self.engine.InsertResult(prefix_len=there, last_device_node=node)

    def checkpoint(self, req: Any, *, up_to: int) -> None:
        """Inserts the full pages of a request, frees its duplicates, and moves its lock."""
        tokens = req.full_untruncated_fill_ids[:up_to]
        namespace = self._name(req)
        row = self.req_to_token_pool.req_to_token[req.kv.req_pool_idx]
        hold, there = self._insert(namespace, tokens, row)
        length, protected = hold.token_count, req.kv.cache_protected_len
        if there > protected:
            duplicates = row[protected:there]
            self.token_to_kv_pool_allocator.free_segment(duplicates, start_pos=protected)
            table = hold.block_table()[protected // self.page_size : there // self.page_size]
            where = (req.kv.req_pool_idx, slice(protected, there))
            self.req_to_token_pool.write(where, self._slots.read(table))
        req.kv.cache_inserted_len = max(req.kv.cache_inserted_len, length)
        req.kv.cache_protected_len = length
        req.last_node = Node(namespace, tokens[:length])
        req.last_node.holds.append(hold)
        self.unlock(req.lock)
        req.lock = self.engine.TreeLock(req.last_node, self.engine.DecLockRefParams())

    def evict(self, params: Any) -> Any:
        """Evicts `num_tokens` tokens, rounded up to pages, or all that are not locked."""
        start = time.perf_counter()
        with self._cache.evict(-(-params.num_tokens // self.page_size)).blocks as blocks:
            slots = self._slots.read(blocks.ids())
        tokens = len(slots)
        if tokens:
            self.token_to_kv_pool_allocator.free_segment(slots, start_pos=0)
        self.update_eviction_metrics(tokens, start)
        return self.engine.EvictResult(num_tokens_evicted=tokens)

    def inc_lock_ref(self, node: Node) -> Any:
        """Locks a prefix. Raises `RuntimeError` if a part of it was evicted before."""
        node.holds.append(self._hold(node))
        return self.engine.IncLockRefResult()

    def dec_lock_ref(self, node: Node, params: Any = None) -> Any:
        """Takes one lock of a prefix back. Raises `RuntimeError` if it has none."""
        if not node.holds:
            raise RuntimeError(f"the prefix of {len(node.tokens)} tokens is not locked")
        node.holds.pop().release()
        return self.engine.DecLockRefResult()

    def path_device_indices(self, node: Node) -> Any:
        """Returns the engine's indices of a prefix, one for each token."""
        if node.holds:
            return self._slots.read(node.holds[-1].block_table())
        with self._hold(node) as hold:
            return self._slots.read(hold.block_table())

    def evictable_size(self) -> int:
        """Returns how many cached tokens are not locked."""
        return self.total_size() - self.protected_size()

    def protected_size(self) -> int:
        """Returns how many cached tokens are locked."""
        return self._cache.in_use() * self.page_size

    def total_size(self) -> int:
        """Returns how many tokens are cached."""
        return self._cache.stats().cached * self.page_size

    def pretty_print(self) -> None:
        """Prints the statistics of the cache, for the engine's report of an error."""
        print(self._cache.stats())

    def dfs_weight_order(self, node_handles: Any) -> list[int]:
        """Returns the requests depth first. Siblings are in no particular order."""
        prefixes = [(int(node.namespace.hash), node.tokens) for node in node_handles]
        return sorted(range(len(prefixes)), key=prefixes.__getitem__)

    def _name(self, key: Any) -> Namespace:
        if key.extra_key is None and not key.cache_salt:
            return self.root_node.namespace
        salt = key.cache_salt or None
        return self._cache.namespace("model", adapter=key.extra_key, tenant=salt)

    def _hold(self, node: Node) -> Hold:
        hold = self._cache.lookup(node.namespace, node.tokens)
        if hold.token_count == len(node.tokens):
            return hold
        hold.release()
        raise RuntimeError(f"a prefix of {len(node.tokens)} tokens was evicted before its lock")

    def _insert(self, namespace: Namespace, tokens: Any, slots: Any) -> tuple[Hold, int]:
        length = len(tokens) // self.page_size * self.page_size
        hold = self._cache.lookup(namespace, tokens)
        there = hold.token_count
        missing = (length - there) // self.page_size
        if missing > self._cache.stats().free:
            raise RuntimeError(f"the engine has more than {self._slots.blocks} pages")
        if missing:
            blocks = self._cache.allocate(missing)
            self._slots.write(blocks.ids(), slots[there:length])
            hold.publish(tokens[there:length], blocks)
        return hold, there


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
        # Each rank has a cache of its own, and those would not choose the same blocks to evict.
        "several ranks": max(context.tp_size, params.pp_size, params.attn_cp_size) > 1,
    }
    if asked := [feature for feature, is_asked in refused.items() if is_asked]:
        raise ValueError(f"--radix-cache-backend kvtrie does not support {', '.join(asked)}")
    torch = import_module("torch")
    engine = import_module("sglang.srt.mem_cache.base_prefix_cache")
    allocator = params.token_to_kv_pool_allocator
    blocks = allocator.size // params.page_size
    slots = torch_slots(blocks, params.page_size, torch.int64, allocator.device)
    return cache_class(engine)(params, slots)


def register(name: str = "kvtrie") -> None:
    """Registers the cache under `name`, for `--radix-cache-backend`.

    Raises `ImportError` without SGLang, and `ValueError` if the name is taken.
    """
    registry = import_module("sglang.srt.mem_cache.registry")
    registry.register_radix_cache_backend(name, create)
