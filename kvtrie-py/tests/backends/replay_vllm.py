"""Replays a record of vLLM's `KVCacheManager` against `PrefixCache` and `Sequence`.

The adapter is `Replay` itself: a request is a sequence, `get_computed_blocks` is the lookup with
which it starts, `allocate_slots` gives it blocks and advances it, and `free` releases it.
"""

from collections import Counter
from typing import Any

import pytest
from mirror import Mirror, Names, Prefix, ends

from kvtrie import OutOfBlocks, PrefixCache, Sequence


class Running:
    """A request: its sequence, its namespace, and the ids of its blocks in vLLM."""

    def __init__(self, sequence: Sequence, names: Names, ids: list[int]) -> None:
        self.sequence = sequence
        self.names = names
        self.ids = ids

    def computed(self) -> list[int]:
        """Returns the tokens that are computed."""
        return [int(token) for token in self.sequence.tokens()[: self.sequence.computed_tokens]]


class Replay:
    """The cache, the model, the running requests, and the copies that vLLM has of each block.

    The slots of the model are the ids of kvtrie's blocks, once for each token.
    """

    def __init__(self, header: dict[str, Any]) -> None:
        self.page: int = header["block_size"]
        self.capacity = header["blocks"] - 1  # without the null block
        self.cache = PrefixCache(self.capacity, self.page)
        self.mirror = Mirror(self.page)
        self.copies: dict[Prefix, set[int]] = {}
        self.lookups: dict[int, dict[str, Any]] = {}
        self.running: dict[int, Running] = {}
        self.differences = {"order": 0, "copies": 0, "refused": 0, "reset": 0}

    def call(self, call: dict[str, Any]) -> None:
        """Makes one call, and compares its answer and the free blocks after it."""
        getattr(self, call["op"])(call)
        copies = self.extra_copies()
        self.differences["copies"] += copies > 0
        assert self.cache.available() == call["free"] + copies
        assert self.cache.stats().cached == len(self.mirror.slots) == len(self.copies)

    def namespace(self, names: Names) -> Any:
        """Returns the namespace of a cache salt."""
        return self.cache.namespace("model", tenant=names[0])

    def held(self) -> set[Prefix]:
        """Returns the cached blocks that requests use."""
        requests = self.running.values()
        return {block for r in requests for block in self.mirror.blocks(r.names, r.computed())}

    def extra_copies(self) -> int:
        """Returns how many blocks vLLM uses to hold what another block in use holds as well."""
        requests = self.running.values()
        private = sum(len(r.ids) - r.sequence.computed_tokens // self.page for r in requests)
        return len({block for r in requests for block in r.ids}) - len(self.held()) - private

    def lookup(self, call: dict[str, Any]) -> None:
        """Compares how much of a prompt is cached, and that it is the same blocks."""
        tokens, names = call["tokens"], (call["salt"],)
        self.lookups[call["request"]] = call
        with self.cache.sequence(self.namespace(names), tokens) as sequence:
            cached, table = sequence.cached_tokens, sequence.block_table().tolist()
        assert cached == call["cached"]
        assert table == self.mirror.row(names, tokens[:-1])[:: self.page]
        blocks = list(self.mirror.blocks(names, tokens[:cached]))
        assert len(blocks) == len(call["ids"])
        assert all(copy in self.copies[block] for block, copy in zip(blocks, call["ids"]))

    def allocate(self, call: dict[str, Any]) -> None:
        """Compares whether a request gets its blocks, and what is evicted for them."""
        number = call["request"]
        request = self.running.get(number) or self.admit(number)
        sequence = request.sequence
        end = sequence.computed_tokens + call["new"]
        missing = max(0, -(-end // self.page) - len(sequence.block_table()))
        available, copies = self.cache.available(), self.extra_copies()
        if missing > available:
            with pytest.raises(OutOfBlocks):
                self.cache.allocate(missing)
        fits = missing <= available - copies
        assert fits == (call["ids"] is not None), "refused: for want of blocks, copies included"
        if fits:
            self.grow(request, missing, end, call.get("gone", []))
            sequence.advance(call["new"]).blocks.free()
            self.publish(request, call["ids"])
            return
        self.differences["refused"] += missing <= available
        if sequence.computed_tokens == sequence.cached_tokens:  # its first chunk
            self.running.pop(number).sequence.release()

    def admit(self, number: int) -> Running:
        """Starts a request."""
        call = self.lookups[number]
        names = (call["salt"],)
        sequence = self.cache.sequence(self.namespace(names), call["tokens"])
        self.running[number] = Running(sequence, names, call["ids"])
        return self.running[number]

    def grow(self, request: Running, missing: int, end: int, gone: list[int]) -> None:
        """Gives a request its blocks, compares what was evicted, and makes both caches equal."""
        free = self.cache.stats().free
        if end == len(request.sequence.tokens()):
            request.sequence.grow()
        elif missing:
            request.sequence.add_blocks(self.cache.allocate(missing))
        theirs, ours = self.lost(gone), self.absent()
        self.mirror.locks = Counter(self.held())
        self.mirror.check_evictable(theirs)
        self.mirror.check_evictable(ours)
        assert len(ours) == max(0, missing - free), "only what is missing is evicted"
        self.differences["order"] += ours != theirs
        self.settle(theirs, ours)

    def lost(self, gone: list[int]) -> set[Prefix]:
        """Returns the blocks of which vLLM has no copy left."""
        for copies in self.copies.values():
            copies.difference_update(gone)
        return {block for block, copies in self.copies.items() if not copies}

    def absent(self) -> set[Prefix]:
        """Returns the blocks that are in the model, but no longer in the cache."""
        absent = set()
        for names, tokens in ends(set(self.mirror.slots), self.page):
            cached = self.cache.peek(self.namespace(names), list(tokens))
            blocks = self.mirror.blocks(names, tokens)
            absent |= {block for block in blocks if len(block[1]) > cached}
        return absent

    def settle(self, theirs: set[Prefix], ours: set[Prefix]) -> None:
        """Makes this cache have what vLLM's has left."""
        for names, tokens in ends(theirs - ours, self.page):
            gone = [block for name, block in theirs if name == names]
            start = min(len(block) for block in gone if tokens[: len(block)] == block)
            hold = self.cache.lookup(self.namespace(names), list(tokens))
            self.cache.evict_from(hold, start - self.page).blocks.free()
        for names, tokens in ends(ours - theirs, self.page):
            with self.cache.lookup(self.namespace(names), list(tokens)) as hold:
                there = hold.token_count
                missing = (len(tokens) - there) // self.page
                assert missing <= self.cache.stats().free
                hold.publish(list(tokens[there:]), self.cache.allocate(missing))
                self.note(names, list(tokens), hold.block_table().tolist())
        self.mirror.remove(theirs)
        for block in theirs:
            del self.copies[block]

    def note(self, names: Names, tokens: list[int], table: list[int]) -> None:
        """Notes kvtrie's ids of the whole blocks of a prefix."""
        for block, own in zip(self.mirror.blocks(names, tokens), table):
            self.mirror.slots[block] = (own,) * self.page

    def publish(self, request: Running, ids: list[int]) -> None:
        """Notes what a request has computed, and where vLLM has it."""
        request.ids = ids
        tokens, table = request.computed(), request.sequence.block_table().tolist()
        assert len(table) == len(ids)
        for block, own in zip(self.mirror.blocks(request.names, tokens), table):
            slots = self.mirror.slots.setdefault(block, (own,) * self.page)
            assert slots[0] == own, "the table names the block that is cached"
        for block, copy in zip(self.mirror.blocks(request.names, tokens), ids):
            self.copies.setdefault(block, set()).add(copy)

    def append(self, call: dict[str, Any]) -> None:
        """Appends decoded tokens to a request."""
        self.running[call["request"]].sequence.extend(call["tokens"])

    def free(self, call: dict[str, Any]) -> None:
        """Ends a request."""
        self.running.pop(call["request"]).sequence.release()

    def reset(self, call: dict[str, Any]) -> None:
        """Clears the cache. While requests run, vLLM refuses, and kvtrie is not asked."""
        assert call["done"] == (not self.running)
        self.differences["reset"] += not call["done"]
        if call["done"]:
            assert len(self.cache.clear_all()) == len(self.mirror.slots)
            self.mirror.slots.clear()
            self.copies.clear()
