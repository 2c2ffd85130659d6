"""The interface of the prefix cache of mlx-manager (`tumma72/mlx-manager` at cffa5f2), on kvtrie.

An engine written against `services/batching` there imports `PrefixCache`, `PagedBlockManager`,
`compute_block_hash`, `KVBlock`, `BlockTable` and `BLOCK_SIZE` from here. As there, one thread at a
time uses a manager and its caches; `kvtrie.PrefixCache` is for many.

What differs on purpose:

* **No leaks.** A cache takes no reference of its own: `cache_prefix` hands the caller's blocks over,
  and once the caller releases them they can be evicted. A block whose last reference goes is free
  or evictable, whichever call released it. `evict_unused` frees what it evicts.
* **No clamped over-release.** Releasing a block that has no reference raises `OverRelease` and
  releases nothing. There it took the reference of another request, or did nothing.
* **No stale map.** The trie is the only map from prefixes to blocks, so a lookup never returns a
  block that was evicted or given to another request. `cache_prefix` refuses blocks that the caller
  does not own. Of two blocks with the same prefix the first stays cached, and the other stays the
  caller's.
* **Tokens are compared.** There, equal hashes are taken for equal prefixes.
* **Order.** A block is evicted after all blocks behind it, and by a clock hand that approximates
  LRU. `last_used` decides only among blocks that no `PrefixCache` has.
* `allocate` evicts if no block is free, and raises `MemoryError` if there is nothing to evict.
* `evict_unused` evicts the unused blocks of all caches of the same manager.
"""

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

import kvtrie

__all__ = [
    "BLOCK_SIZE",
    "BlockTable",
    "KVBlock",
    "OverRelease",
    "PagedBlockManager",
    "PrefixCache",
    "compute_block_hash",
]

BLOCK_SIZE = 32
"""The number of tokens of a block."""

_NUMBERS = itertools.count()


class OverRelease(kvtrie.Error, ValueError):
    """A block was released more often than it was taken. Nothing was released."""

    def __init__(self, block_id: int) -> None:
        super().__init__(f"block {block_id} has no reference to release")
        self.block_id = block_id


def compute_block_hash(
    token_ids: Sequence[int], block_start: int, block_size: int, prev_hash: int = 0
) -> int:
    """Returns the hash of the block that starts at `block_start`, chained to the one before it.

    The last block may be shorter. Equal in every process. Lookups do not use it.
    """
    block = token_ids[block_start : block_start + block_size]
    return _hash(np.asarray(block, dtype=np.int64), prev_hash)


def _hash(tokens: npt.NDArray[np.int64], prev_hash: int) -> int:
    chained = (prev_hash % 2**64).to_bytes(8, "little") + tokens.astype("<i8").tobytes()
    return int.from_bytes(blake2b(chained, digest_size=8).digest(), "little")


@dataclass(slots=True)
class KVBlock:
    """A block of the pool. `ref_count` may be set: nothing else counts its references."""

    block_id: int
    ref_count: int = 0
    last_used: float = field(default_factory=time.time)
    is_prefix_cached: bool = False
    prefix_hash: int | None = None


@dataclass
class BlockTable:
    """The physical blocks of one request, by their place in its text."""

    request_id: str
    logical_to_physical: dict[int, int] = field(default_factory=dict)
    num_tokens: int = 0

    def current_logical_index(self) -> int:
        """Returns the place of the block that the next token belongs to."""
        return self.num_tokens // BLOCK_SIZE

    def needs_new_block(self) -> bool:
        """Returns whether the next token starts a block."""
        return self.num_tokens % BLOCK_SIZE == 0

    def add_token(self, physical_block_id: int) -> None:
        """Counts a token. Maps its block, if that is new, to a physical one."""
        self.logical_to_physical.setdefault(self.current_logical_index(), physical_block_id)
        self.num_tokens += 1

    def get_physical_blocks(self) -> list[int]:
        """Returns the physical blocks in order."""
        return [block for _, block in sorted(self.logical_to_physical.items())]


class PagedBlockManager:
    """A pool of blocks, and the trie that all its `PrefixCache`s share.

    A block is free, owned (`_owned`), or cached in the trie (`_owner`). Callers count references in
    `KVBlock.ref_count`. The trie keeps a cached block as long as a hold is in `_pins`: one for each
    block at which a looked up or cached prefix ends. Holds of prefixes without references go when
    room is needed.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.blocks = {block_id: KVBlock(block_id) for block_id in range(num_blocks)}
        self._trie = kvtrie.PrefixCache(num_blocks, BLOCK_SIZE)
        self._owned: dict[int, kvtrie.Blocks] = {}
        self._owner: dict[int, PrefixCache] = {}
        self._pins: dict[int, kvtrie.Hold] = {}

    @property
    def free_blocks(self) -> list[int]:
        """The ids of the free blocks."""
        taken = self._owned.keys() | self._owner.keys()
        return [block_id for block_id in self.blocks if block_id not in taken]

    def allocate(self) -> int:
        """Takes a block, with one reference. Evicts an unused one if none is free.

        Raises `MemoryError` if all blocks are used.
        """
        if self.get_free_count() == 0 and self.evict_lru_blocks() == 0:
            raise MemoryError("No free KV cache blocks")
        blocks = self._trie.allocate()
        (block_id,) = blocks.ids().tolist()
        self._owned[block_id] = blocks
        block = self.blocks[block_id]
        block.ref_count, block.last_used = 1, time.time()
        return int(block_id)

    def release(self, block_id: int) -> None:
        """Releases a reference. The last one frees the block, unless it is cached.

        Ignores an id that is not in the pool. Raises `OverRelease` if there is no reference.
        """
        self._release_all([block_id])

    def get_block(self, block_id: int) -> KVBlock:
        """Returns a block. Raises `KeyError` if it is not in the pool."""
        return self.blocks[block_id]

    def touch(self, block_id: int) -> None:
        """Marks a block as used now."""
        if block_id in self.blocks:
            self.blocks[block_id].last_used = time.time()

    def evict_lru_blocks(self, count: int = 1) -> int:
        """Frees up to `count` blocks without references. Returns their number."""
        unused = [self.blocks[id] for id in self._owned if self.blocks[id].ref_count == 0]
        unused = sorted(unused, key=lambda block: block.last_used)[:count]
        for block in unused:
            self._free(block)
        return len(unused) + self._evict(count - len(unused))

    def get_free_count(self) -> int:
        """Returns the number of free blocks."""
        return self._trie.stats().free

    def get_stats(self) -> dict[str, int]:
        """Returns the numbers of all, free and used blocks, and the block size."""
        free = self.get_free_count()
        used = self.num_blocks - free
        return {"total": self.num_blocks, "free": free, "used": used, "block_size": BLOCK_SIZE}

    def mark_as_prefix_cached(self, block_id: int, prefix_hash: int) -> None:
        """Keeps an owned block when its last reference goes, until it is evicted.

        For an engine with a map of its own; `PrefixCache` does not need it. Ignores an id that is
        not in the pool. Raises `ValueError` if the block is free.
        """
        if block_id not in self.blocks:
            return
        if block_id not in self._owned and block_id not in self._owner:
            raise ValueError(f"block {block_id} is free")
        self._mark(block_id, prefix_hash)

    def unmark_prefix_cached(self, block_id: int) -> None:
        """Takes the mark from an owned block. Frees the block if it has no reference.

        Ignores an id that is not in the pool. Raises `ValueError` if a `PrefixCache` has it.
        """
        if block_id in self._owner:
            raise ValueError(f"block {block_id} is in a prefix cache: evict or clear it there")
        if block_id in self._owned:
            block = self.blocks[block_id]
            _unmark(block)
            if block.ref_count == 0:
                self._free(block)

    def _mark(self, block_id: int, prefix_hash: int) -> None:
        block = self.blocks[block_id]
        block.is_prefix_cached, block.prefix_hash = True, prefix_hash

    def _release_all(self, block_ids: Iterable[int]) -> None:
        """Releases a reference of each block, or of none."""
        released: list[KVBlock] = []
        for block_id in block_ids:
            if (block := self.blocks.get(block_id)) is None:
                continue
            if block.ref_count == 0:
                for earlier in released:
                    earlier.ref_count += 1
                raise OverRelease(block_id)
            block.ref_count -= 1
            released.append(block)
        for block in released:
            if block.ref_count == 0 and not block.is_prefix_cached:
                self._free(block)

    def _free(self, block: KVBlock) -> None:
        """Frees an owned block."""
        if (owned := self._owned.pop(block.block_id, None)) is not None:
            _unmark(block)
            owned.free()

    def _evict(self, count: int) -> int:
        """Frees up to `count` cached blocks that no reference keeps. Returns their number."""
        if count <= 0:
            return 0
        for end, hold in list(self._pins.items()):
            if not any(self.blocks[id].ref_count for id in self._own_part(hold)):
                self._pins.pop(end).release()
        evicted = self._trie.evict(count)
        self._forget(evicted.blocks.ids().tolist())
        evicted.blocks.free()
        return len(evicted)

    def _own_part(self, hold: kvtrie.Hold) -> Iterable[int]:
        """Returns the blocks of a hold behind the last one at which another hold ends."""
        table = hold.block_table().tolist()
        yield table.pop()
        yield from itertools.takewhile(lambda id: id not in self._pins, reversed(table))

    def _forget(self, block_ids: list[int]) -> None:
        """Notes that blocks left the trie."""
        for block_id in block_ids:
            _unmark(self.blocks[block_id])
            self._owner.pop(block_id).cached_blocks -= 1


def _unmark(block: KVBlock) -> None:
    block.is_prefix_cached, block.prefix_hash = False, None


class PrefixCache:
    """The cached prefixes of one model. Two caches never share a block."""

    def __init__(self, model_id: str, block_manager: PagedBlockManager) -> None:
        self.model_id = model_id
        self.block_manager = block_manager
        self.cached_blocks = 0
        self._trie = block_manager._trie
        # Two caches of the same model do not share blocks either.
        self._namespace = self._trie.namespace(model_id, tenant=str(next(_NUMBERS)))

    def lookup_prefix(self, prompt_tokens: Sequence[int]) -> tuple[list[int], int]:
        """Takes a reference of each block of the longest cached prefix.

        Returns the blocks and the number of their tokens.
        """
        hold = self._trie.lookup(self._namespace, prompt_tokens)
        found: list[int] = hold.block_table().tolist()
        if found:
            blocks, now = self.block_manager.blocks, time.time()
            for block_id in found:
                block = blocks[block_id]
                block.ref_count += 1
                block.last_used = now
            self.block_manager._pins[found[-1]] = hold
        return found, hold.token_count

    def cache_prefix(self, prompt_tokens: Sequence[int], block_ids: Sequence[int]) -> None:
        """Caches the complete blocks of a prompt. The caller keeps its references to them.

        A block whose prefix is cached already stays the caller's. Raises `ValueError` if another
        one is not owned by the caller; nothing is cached then.
        """
        manager = self.block_manager
        complete = min(len(block_ids), len(prompt_tokens) // BLOCK_SIZE)
        if complete == 0:
            return
        tokens = np.asarray(prompt_tokens[: complete * BLOCK_SIZE], dtype=np.int64)
        hold = self._trie.lookup(self._namespace, tokens)
        offered = list(block_ids[len(hold) : complete])
        if len(set(offered)) < len(offered) or not manager._owned.keys() >= set(offered):
            raise ValueError(f"only blocks that the caller owns can be cached, not all of {offered}")
        if offered:
            self._publish(hold, tokens, offered)
        table = hold.block_table().tolist()
        manager._pins[table[-1]] = hold

    def release_prefix(self, block_ids: Iterable[int]) -> None:
        """Releases a reference of each block. The blocks stay cached until they are evicted.

        Ignores ids that are not in the pool. Raises `OverRelease` if a block has no reference;
        nothing is released then.
        """
        self.block_manager._release_all(block_ids)

    def evict_unused(self) -> int:
        """Evicts and frees all cached blocks without references. Returns their number."""
        return self.block_manager._evict(self.block_manager.num_blocks)

    def get_cache_stats(self) -> dict[str, int]:
        """Returns the numbers of cached blocks and of their prefixes: one for each."""
        return {"cached_blocks": self.cached_blocks, "unique_prefixes": self.cached_blocks}

    def clear(self) -> None:
        """Empties the cache. Blocks with references become plain blocks of their holders."""
        manager = self.block_manager
        for end in [end for end in manager._pins if manager._owner[end] is self]:
            manager._pins.pop(end).release()
        blocks = self._trie.clear(self._namespace).blocks
        ids = blocks.ids().tolist()
        manager._forget(ids)
        for block_id in ids:
            block = blocks.take(1)
            if manager.blocks[block_id].ref_count > 0:
                manager._owned[block_id] = block

    def _publish(
        self, hold: kvtrie.Hold, tokens: npt.NDArray[np.int64], ids: list[int]
    ) -> None:
        """Publishes owned blocks behind a hold."""
        manager = self.block_manager
        start = hold.token_count
        # The hash of the last block before them.
        chain = 0
        if start:
            chain = manager.blocks[int(hold.block_table()[-1])].prefix_hash or 0
        blocks = manager._owned.pop(ids[0])
        for block_id in ids[1:]:
            blocks.extend(manager._owned.pop(block_id))
        hold.publish(tokens[start:], blocks)
        self.cached_blocks += len(ids)
        for place, block_id in enumerate(ids):
            first = start + place * BLOCK_SIZE
            chain = _hash(tokens[first : first + BLOCK_SIZE], chain)
            manager._owner[block_id] = self
            manager._mark(block_id, chain)
