"""A prefix cache for mini-sglang (`minisgl.kvcache.SUPPORTED_CACHE_MANAGER`).

Register it in a script of your own, before the engine reads its arguments. The script must do so
outside of `if __name__ == "__main__"`, because the engine's processes import it again:

    import kvtrie.backends.mini_sglang
    kvtrie.backends.mini_sglang.register()

    if __name__ == "__main__":
        from minisgl.server import launch_server
        launch_server()

and start that script with `--cache-type kvtrie`.
"""

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from ._pages import PLAIN, Pages, Prefix, shared_seed
from ._slots import Slots, torch_slots


class Size(NamedTuple):
    """Cached tokens that may be evicted, and cached tokens that are locked."""

    evictable_size: int
    protected_size: int

    @property
    def total_size(self) -> int:
        """All cached tokens."""
        return self.evictable_size + self.protected_size


class Handle(Prefix):
    """A cached prefix. Its indices may be used only while it is locked."""

    get_matched_indices = Prefix.slots

    @property
    def cached_len(self) -> int:
        """The number of its tokens."""
        return len(self.tokens)


class Match(NamedTuple):
    """The answer of `match_prefix`."""

    cuda_handle: Handle


class Insert(NamedTuple):
    """The answer of `insert_prefix`: how many tokens were there already, and the new handle."""

    cached_len: int
    handle: Handle


class Backend:
    """Implements `minisgl.kvcache.BasePrefixCache`. Ranks of one group share a seed."""

    def __init__(self, slots: Slots, seed: int | None = None) -> None:
        self._pages = Pages(slots, seed)

    def match_prefix(self, input_ids: Any) -> Match:
        """Finds the longest cached prefix, without a lock on it."""
        tokens = np.asarray(input_ids)
        length = self._pages.match(PLAIN, tokens)
        return Match(Handle(self._pages, PLAIN, tokens[:length]))

    def lock_handle(self, handle: Handle, unlock: bool = False) -> None:
        """Locks the prefix of a handle, or takes one lock back.

        Raises `RuntimeError` if a part of it was evicted before this lock, or if it has no lock.
        """
        handle.unlock() if unlock else handle.lock()

    def insert_prefix(self, input_ids: Any, indices: Any) -> Insert:
        """Inserts the full pages of a prefix. The engine frees what was there already.

        Raises `RuntimeError` if the engine has more pages than this cache has blocks.
        """
        tokens = np.asarray(input_ids)
        hold, there = self._pages.insert(PLAIN, tokens, indices)
        with hold:
            length = hold.token_count
        return Insert(there, Handle(self._pages, PLAIN, tokens[:length]))

    def evict(self, size: int) -> Any:
        """Evicts `size` tokens, rounded up to pages, and returns their indices.

        Raises `RuntimeError` if fewer are evictable.
        """
        evictable = self.size_info.evictable_size
        if size > evictable:
            raise RuntimeError(f"cannot evict {size} tokens: only {evictable} are evictable")
        return self._pages.evict(size)

    def reset(self) -> None:
        """Forgets every prefix. Raises `RuntimeError` if one is locked."""
        if locked := self._pages.locked():
            raise RuntimeError(f"cannot reset the cache: {locked} tokens are locked")
        self._pages.clear()

    @property
    def size_info(self) -> Size:
        """How many tokens are cached."""
        locked = self._pages.locked()
        return Size(self._pages.cached() - locked, locked)

    def check_integrity(self) -> None:
        """Raises `RuntimeError` if a block is neither cached nor free."""
        if lost := self._pages.cache.stats().owned:
            raise RuntimeError(f"{lost} blocks are neither cached nor free")


def register(name: str = "kvtrie", pages: int | None = None) -> None:
    """Registers the cache under `name`, for `--cache-type`.

    `pages` is the number of pages of the engine's pool. By default the pool tells. Raises what
    the engine raises if it is not installed or the name is taken. Under tensor parallelism each
    rank has a cache. The first rank draws a seed and sends it to the others, so all evict alike.
    """
    torch, core = import_module("torch"), import_module("minisgl.core")
    kvcache, distributed = import_module("minisgl.kvcache"), import_module("minisgl.distributed")
    cache = type("KvtriePrefixCache", (Backend, kvcache.BasePrefixCache), {})

    def create(device: Any) -> Any:
        ranks = distributed.try_get_tp_info()
        seed = shared_seed() if ranks is not None and ranks.size > 1 else None
        context = core.get_global_ctx()
        blocks = pages or context.kv_cache.k_cache(0).shape[0]
        return cache(torch_slots(blocks, context.page_size, torch.int32, device), seed)

    kvcache.SUPPORTED_CACHE_MANAGER.register(name)(create)
