"""The common part of the backends: a cache whose blocks stand for pages of the engine's pool."""

import secrets
from importlib import import_module
from typing import Any

from kvtrie import Hold, Namespace, PrefixCache

from ._slots import Slots

Name = tuple[str | None, str | None]
"""The adapter and the tenant of a prefix."""

PLAIN: Name = (None, None)


class Prefix:
    """A cached prefix of whole pages. Each lock of it is a hold.

    Its slots may be used only while it is locked. It has no handle of its namespace, which would
    end when Python finds the time: that may differ from rank to rank.
    """

    def __init__(self, pages: "Pages", name: Name, tokens: Any, *locks: Hold) -> None:
        self.name = name
        self.tokens = tokens
        self._pages = pages
        self._locks = list(locks)

    def lock(self) -> None:
        """Locks the prefix. Raises `RuntimeError` if a part of it was evicted before."""
        self._locks.append(self._hold())

    def unlock(self) -> None:
        """Takes one lock back. Raises `RuntimeError` if there is none."""
        if not self._locks:
            raise RuntimeError(f"the prefix of {len(self.tokens)} tokens is not locked")
        self._locks.pop().release()

    def slots(self) -> Any:
        """Returns the engine's slots of the prefix, one for each token."""
        if self._locks:
            return self._pages.slots.read(self._locks[-1].block_table())
        with self._hold() as hold:
            return self._pages.slots.read(hold.block_table())

    def _hold(self) -> Hold:
        hold = self._pages.lookup(self.name, self.tokens)
        if hold.token_count == len(self.tokens):
            return hold
        hold.release()
        raise RuntimeError(f"a prefix of {len(self.tokens)} tokens was evicted before its lock")


class Pages:
    """A prefix cache of the engine's pages. It counts in tokens.

    Ranks that each have one give the same `seed`, so that all evict alike.
    """

    def __init__(self, slots: Slots, seed: int | None) -> None:
        self.slots = slots
        self.size: int = slots.block_size
        self.cache = PrefixCache(slots.blocks, slots.block_size, seed=seed)
        self._plain = self.cache.namespace("model")

    def lookup(self, name: Name, tokens: Any) -> Hold:
        """Returns a hold of the longest cached prefix."""
        return self.cache.lookup(self._namespace(name), tokens)

    def match(self, name: Name, tokens: Any) -> int:
        """Returns the length of the longest cached prefix, which counts as used."""
        with self.lookup(name, tokens) as hold:
            return hold.token_count

    def insert(self, name: Name, tokens: Any, slots: Any) -> tuple[Hold, int]:
        """Inserts the full pages of `tokens`, which lie in `slots`.

        Returns a hold of them, and how many tokens were there already. Raises `RuntimeError` if
        the engine has more pages than this cache has blocks.
        """
        length = len(tokens) // self.size * self.size
        hold = self.lookup(name, tokens)
        there = hold.token_count
        missing = (length - there) // self.size
        if missing > self.cache.stats().free:
            hold.release()
            raise RuntimeError(f"the engine has more than {self.slots.blocks} pages")
        if missing:
            blocks = self.cache.allocate(missing)
            self.slots.write(blocks.ids(), slots[there:length])
            hold.publish(tokens[there:length], blocks)
        return hold, there

    def evict(self, tokens: int) -> Any:
        """Evicts that many tokens, rounded up to pages, or all that are not locked.

        Returns their slots.
        """
        with self.cache.evict(-(-tokens // self.size)).blocks as blocks:
            return self.slots.read(blocks.ids())

    def clear(self) -> None:
        """Forgets every prefix."""
        self.cache.clear_all().blocks.free()

    def cached(self) -> int:
        """Returns how many tokens are cached."""
        return self.cache.stats().cached * self.size

    def locked(self) -> int:
        """Returns how many cached tokens are locked."""
        return self.cache.in_use() * self.size

    def _namespace(self, name: Name) -> Namespace:
        if name == PLAIN:
            return self._plain
        adapter, tenant = name
        return self.cache.namespace("model", adapter=adapter, tenant=tenant)


def shared_seed(group: Any = None) -> int:
    """Draws a seed on the first rank of a process group, and returns it on all its ranks.

    All ranks of the group must call this. By default these are all ranks that there are.
    """
    distributed = import_module("torch.distributed")
    if group is None:
        group = distributed.group.WORLD
    seed = [secrets.randbits(64)]
    distributed.broadcast_object_list(seed, distributed.get_global_rank(group, 0), group)
    return seed[0]
