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
import numpy.typing as npt

from kvtrie import Hold, PrefixCache

from ._slots import Slots, torch_slots


class Size(NamedTuple):
    """Cached tokens that may be evicted, and cached tokens that are locked."""

    evictable_size: int
    protected_size: int

    @property
    def total_size(self) -> int:
        """All cached tokens."""
        return self.evictable_size + self.protected_size


class Handle:
    """A cached prefix. Its indices may be used only while it is locked."""

    def __init__(self, backend: "Backend", tokens: npt.NDArray[np.int32]) -> None:
        self.cached_len = len(tokens)
        self.tokens = tokens
        self.holds: list[Hold] = []
        self._backend = backend

    def get_matched_indices(self) -> Any:
        """Returns the engine's indices of the prefix, one for each token."""
        return self._backend.indices(self)


class Match(NamedTuple):
    """The answer of `match_prefix`."""

    cuda_handle: Handle


class Insert(NamedTuple):
    """The answer of `insert_prefix`: how many tokens were there already, and the new handle."""

    cached_len: int
    handle: Handle


class Backend:
    """Implements `minisgl.kvcache.BasePrefixCache`. A lock is a hold."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._page_size = slots.block_size
        self._cache = PrefixCache(slots.blocks, slots.block_size)
        self._namespace = self._cache.namespace("model")

    def match_prefix(self, input_ids: Any) -> Match:
        """Finds the longest cached prefix, without a lock on it."""
        tokens = np.asarray(input_ids)
        with self._cache.lookup(self._namespace, tokens) as hold:
            return Match(Handle(self, tokens[: hold.token_count]))

    def lock_handle(self, handle: Handle, unlock: bool = False) -> None:
        """Locks the prefix of a handle, or takes one lock back.

        Raises `RuntimeError` if a part of it was evicted before this lock, or if it has no lock.
        """
        if not unlock:
            handle.holds.append(self._hold(handle))
        elif handle.holds:
            handle.holds.pop().release()
        else:
            raise RuntimeError(f"the handle of {handle.cached_len} tokens is not locked")

    def insert_prefix(self, input_ids: Any, indices: Any) -> Insert:
        """Inserts the full pages of a prefix. The engine frees what was there already.

        Raises `RuntimeError` if the engine has more pages than this cache has blocks.
        """
        length = len(input_ids) // self._page_size * self._page_size
        tokens = np.asarray(input_ids)[:length]
        with self._cache.lookup(self._namespace, tokens) as hold:
            there = hold.token_count
            missing = (length - there) // self._page_size
            if missing > self._cache.stats().free:
                raise RuntimeError(f"the engine has more than {self._slots.blocks} pages")
            if missing:
                blocks = self._cache.allocate(missing)
                self._slots.write(blocks.ids(), indices[there:length])
                hold.publish(tokens[there:], blocks)
        return Insert(there, Handle(self, tokens))

    def evict(self, size: int) -> Any:
        """Evicts `size` tokens, rounded up to pages, and returns their indices.

        Raises `RuntimeError` if fewer are evictable.
        """
        evictable = self.size_info.evictable_size
        if size > evictable:
            raise RuntimeError(f"cannot evict {size} tokens: only {evictable} are evictable")
        with self._cache.evict(-(-size // self._page_size)).blocks as blocks:
            return self._slots.read(blocks.ids())

    def reset(self) -> None:
        """Forgets every prefix. Raises `RuntimeError` if one is locked."""
        if locked := self.size_info.protected_size:
            raise RuntimeError(f"cannot reset the cache: {locked} tokens are locked")
        self._cache.clear_all().blocks.free()

    @property
    def size_info(self) -> Size:
        """How many tokens are cached."""
        cached, locked = self._cache.stats().cached, self._cache.in_use()
        return Size((cached - locked) * self._page_size, locked * self._page_size)

    def check_integrity(self) -> None:
        """Raises `RuntimeError` if a block is neither cached nor free."""
        if lost := self._cache.stats().owned:
            raise RuntimeError(f"{lost} blocks are neither cached nor free")

    def indices(self, handle: Handle) -> Any:
        """Returns the indices of a handle, one for each token."""
        if handle.holds:
            return self._slots.read(handle.holds[-1].block_table())
        with self._hold(handle) as hold:
            return self._slots.read(hold.block_table())

    def _hold(self, handle: Handle) -> Hold:
        hold = self._cache.lookup(self._namespace, handle.tokens)
        if hold.token_count == handle.cached_len:
            return hold
        hold.release()
        raise RuntimeError(f"a prefix of {handle.cached_len} tokens was evicted before its lock")


def register(name: str = "kvtrie", pages: int | None = None) -> None:
    """Registers the cache under `name`, for `--cache-type`.

    `pages` is the number of pages of the engine's pool. By default the pool tells. Raises what
    the engine raises if it is not installed or the name is taken. Under tensor parallelism the
    engine fails to start, with `RuntimeError`: each rank has a cache of its own, and those would
    not choose the same blocks to evict.
    """
    torch, core = import_module("torch"), import_module("minisgl.core")
    kvcache, distributed = import_module("minisgl.kvcache"), import_module("minisgl.distributed")
    cache = type("KvtriePrefixCache", (Backend, kvcache.BasePrefixCache), {})

    def create(device: Any) -> Any:
        ranks = distributed.try_get_tp_info()
        if ranks is not None and ranks.size > 1:
            raise RuntimeError(f"--cache-type {name} does not support {ranks.size} ranks")
        context = core.get_global_ctx()
        blocks = pages or context.kv_cache.k_cache(0).shape[0]
        return cache(torch_slots(blocks, context.page_size, torch.int32, device))

    kvcache.SUPPORTED_CACHE_MANAGER.register(name)(create)
