"""Replays a record of mini-sglang against `kvtrie.backends.mini_sglang`."""

from typing import Any

from kvtrie.backends._pages import PLAIN
from kvtrie.backends.mini_sglang import Backend, Handle
from mirror import Mirror, ends

NAMES = ()


class Replay:
    """The backend, the model, and the handles in the order in which the engine made them."""

    def __init__(self, header: dict[str, Any], arrays: Any) -> None:
        self.arrays = arrays
        self.page = header["page_size"]
        self.backend = Backend(arrays.slots(header["pages"], self.page, "int32"))
        self.mirror = Mirror(self.page)
        self.handles: list[Handle] = []
        self.differences = {"exact": 0, "order": 0}

    def call(self, call: dict[str, Any]) -> None:
        """Makes one call, and compares its answer and the sizes after it."""
        getattr(self, call["op"])(call)
        assert list(self.backend.size_info) == call["size"] == self.mirror.size()
        self.backend.check_integrity()

    def ints(self, values: list[int]) -> Any:
        """Returns an array such as the engine passes."""
        return self.arrays.array(values, "int32")

    def match(self, call: dict[str, Any]) -> None:
        """Compares the length of a match and its indices."""
        handle = self.backend.match_prefix(self.ints(call["tokens"])).cuda_handle
        self.handles.append(handle)
        assert handle.cached_len == call["length"]
        indices = handle.get_matched_indices().tolist()
        assert indices == call["indices"] == self.mirror.row(NAMES, call["tokens"])

    def lock(self, call: dict[str, Any]) -> None:
        """Locks a handle."""
        handle = self.handles[call["handle"]]
        self.backend.lock_handle(handle)
        self.mirror.lock(NAMES, handle.tokens.tolist())

    def unlock(self, call: dict[str, Any]) -> None:
        """Takes a lock back."""
        handle = self.handles[call["handle"]]
        self.backend.lock_handle(handle, unlock=True)
        self.mirror.lock(NAMES, handle.tokens.tolist(), by=-1)

    def insert(self, call: dict[str, Any]) -> None:
        """Compares how much was there, and what the prefix has for indices now."""
        tokens, row = call["tokens"], call["row"]
        there, handle = self.backend.insert_prefix(self.ints(tokens), self.ints(row))
        self.handles.append(handle)
        assert there == call["there"] == len(self.mirror.row(NAMES, tokens))
        assert handle.cached_len == call["length"]
        self.mirror.insert(NAMES, tokens, row)
        indices = handle.get_matched_indices().tolist()
        assert indices == call["indices"] == self.mirror.row(NAMES, tokens)

    def evict(self, call: dict[str, Any]) -> None:
        """Compares what left, by the rules `exact` and `order`, and makes both caches equal."""
        theirs = self.mirror.of_slots(call["evicted"])
        ours = self.mirror.of_slots(self.backend.evict(call["tokens"]).tolist())
        self.mirror.check_evictable(theirs)
        self.mirror.check_evictable(ours)
        assert len(ours) == -(-call["tokens"] // self.page), "exact: as many as were asked for"
        assert len(theirs) >= len(ours)
        self.differences["exact"] += len(theirs) > len(ours)
        self.differences["order"] += not ours <= theirs
        for _, tokens in ends(theirs - ours, self.page):
            start = min(len(block) for _, block in theirs if tokens[: len(block)] == block)
            self.evict_from(tokens, start - self.page)
        for names, tokens in ends(ours - theirs, self.page):
            row = self.mirror.row(names, tokens)
            self.backend.insert_prefix(self.ints(list(tokens)), self.ints(row))
        self.mirror.remove(theirs)

    def evict_from(self, tokens: tuple[int, ...], start: int) -> None:
        """Evicts the end of a prefix, without the backend."""
        pages = self.backend._pages
        hold = pages.lookup(PLAIN, list(tokens))
        pages.cache.evict_from(hold, start).blocks.free()
