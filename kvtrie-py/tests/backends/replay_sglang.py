"""Replays a record of SGLang against `kvtrie.backends.sglang`.

With SGLang installed, the backend is built on the engine's own types. Otherwise on the stand-ins
below, which have what the backend uses of them.
"""

import importlib.util
from array import array
from types import SimpleNamespace
from typing import Any, NamedTuple

from kvtrie.backends._pages import Prefix
from kvtrie.backends.sglang import cache_class
from mirror import Mirror, Names, ends

HAS_SGLANG = importlib.util.find_spec("sglang") is not None


class Types:
    """Stand-ins of `sglang.srt.mem_cache.base_prefix_cache`."""

    class MatchResult(NamedTuple):
        device_prefix_len: int
        last_device_node: Any
        last_host_node: Any
        best_match_node: Any

    class InsertResult(SimpleNamespace): ...

    class EvictResult(SimpleNamespace): ...

    class IncLockRefResult:
        def to_dec_params(self) -> "Types.DecLockRefParams":
            return Types.DecLockRefParams()

    class DecLockRefParams: ...

    class DecLockRefResult: ...

    class TreeLock(NamedTuple):
        node: Any
        receipt: Any

    class BasePrefixCache:
        def lock(self, node: Any) -> "Types.TreeLock":
            return Types.TreeLock(node, self.inc_lock_ref(node).to_dec_params())  # type: ignore

        def unlock(self, lock: Any) -> None:
            if lock is not None:
                self.dec_lock_ref(lock.node, lock.receipt)  # type: ignore[attr-defined]

        def update_eviction_metrics(self, evicted: int, start: float) -> None: ...


def types_for(arrays: Any) -> Any:
    """Returns the engine's types, if it is installed and its arrays are used."""
    if HAS_SGLANG and arrays.name == "torch":
        return importlib.import_module("sglang.srt.mem_cache.base_prefix_cache")
    return Types


class Key:
    """Stands in for `sglang.srt.mem_cache.radix_cache.RadixKey`."""

    def __init__(self, tokens: list[int], names: Names) -> None:
        self.tokens = array("q", tokens)
        self.extra_key, self.cache_salt = names

    def raw_token_ids(self) -> Any:
        """Returns the tokens as the engine has them."""
        return self.tokens


class Allocator:
    """The engine's allocator, which here only notes what the cache frees."""

    def __init__(self) -> None:
        self.freed: list[int] = []

    def free_segment(self, slots: Any, *, start_pos: int) -> None:
        """Notes freed slots."""
        self.freed += slots.tolist()

    def take(self) -> list[int]:
        """Returns what was freed since the last call."""
        freed, self.freed = self.freed, []
        return freed


class Rows:
    """The engine's table of requests, which has one row here."""

    def __init__(self, row: Any) -> None:
        self.req_to_token = row.reshape(1, -1)

    def write(self, where: Any, slots: Any) -> None:
        """Writes slots into a row."""
        self.req_to_token[where] = slots


class Replay:
    """The backend, the model, and the locks by the number of their request."""

    def __init__(self, header: dict[str, Any], arrays: Any) -> None:
        self.arrays = arrays
        self.page = header["page_size"]
        self.allocator = Allocator()
        # The engine's pool has as many pages, and one before them for padding.
        params = SimpleNamespace(
            req_to_token_pool=None,
            token_to_kv_pool_allocator=self.allocator,
            page_size=self.page,
            enable_metrics=False,
        )
        slots = arrays.slots(header["pages"], self.page, "int64")
        self.backend = cache_class(types_for(arrays))(params, slots)
        self.mirror = Mirror(self.page)
        self.requests: dict[int, Any] = {}
        self.differences = {"exact": 0, "order": 0}

    def call(self, call: dict[str, Any]) -> None:
        """Makes one call, and compares its answer, what it freed, and the sizes after it."""
        getattr(self, call["op"])(call)
        assert not self.allocator.take(), "what was freed has been compared"
        sizes = [self.backend.evictable_size(), self.backend.protected_size()]
        assert sizes == call["size"] == self.mirror.size()
        assert self.backend.total_size() == sum(sizes)

    def find(self, tokens: list[int], names: Names) -> Prefix:
        """Matches a prefix and returns its node."""
        found = self.backend.match_prefix(SimpleNamespace(key=Key(tokens, names)))
        node: Prefix = found.last_device_node
        assert found.device_prefix_len == len(node.tokens)
        assert found.last_host_node is found.best_match_node is node
        return node

    def match(self, call: dict[str, Any]) -> None:
        """Compares the length of a match and its indices."""
        names = tuple(call["names"])
        node = self.find(call["tokens"], names)
        assert len(node.tokens) == call["length"]
        indices = self.backend.path_device_indices(node).tolist()
        assert indices == call["indices"] == self.mirror.row(names, call["tokens"])

    def lock(self, call: dict[str, Any]) -> None:
        """Locks a prefix for a request."""
        names = tuple(call["names"])
        node = self.find(call["tokens"], names)
        assert len(node.tokens) == len(call["tokens"])
        lock = self.backend.lock(node)
        kv = SimpleNamespace(cache_protected_len=len(node.tokens), cache_inserted_len=0)
        kv.req_pool_idx = 0
        request = SimpleNamespace(lock=lock, kv=kv, last_node=node)
        request.extra_key, request.cache_salt = names
        self.requests[call["request"]] = request
        self.mirror.lock(names, call["tokens"])

    def unlock(self, call: dict[str, Any]) -> None:
        """Takes the lock of a request back."""
        request = self.requests.pop(call["request"])
        self.backend.unlock(request.lock)
        names = (request.extra_key, request.cache_salt)
        self.mirror.lock(names, list(request.last_node.tokens), by=-1)

    def checkpoint(self, call: dict[str, Any]) -> None:
        """Compares what a request's row becomes, what is freed, and how far it is protected."""
        request, tokens = self.requests[call["request"]], call["tokens"]
        names, protected = (request.extra_key, request.cache_salt), request.kv.cache_protected_len
        there = len(self.mirror.row(names, tokens))
        row = self.arrays.array(call["row"], "int32")
        self.backend.req_to_token_pool = Rows(row)
        request.full_untruncated_fill_ids = array("q", tokens)
        before = list(request.last_node.tokens)
        self.backend.checkpoint(request, up_to=len(tokens))
        after = self.backend.req_to_token_pool.req_to_token[0].tolist()
        self.mirror.insert(names, tokens, call["row"])
        cached = self.mirror.row(names, tokens)
        assert after == call["new_row"] == cached + call["row"][len(cached) :]
        freed = self.allocator.take()
        assert freed == call.get("freed", []) == call["row"][protected:there]
        assert request.kv.cache_protected_len == call["protected"] == len(cached)
        self.mirror.lock(names, tokens)
        self.mirror.lock(names, before, by=-1)

    def evict(self, call: dict[str, Any]) -> None:
        """Compares what left, by the rules `exact` and `order`, and makes both caches equal."""
        evictable = self.mirror.size()[0]
        theirs = self.mirror.of_slots(call.get("freed", []))
        answer = self.backend.evict(SimpleNamespace(num_tokens=call["tokens"]))
        freed = self.allocator.take()
        ours = self.mirror.of_slots(freed)
        assert call["evicted"] == len(theirs) * self.page
        assert answer.num_tokens_evicted == len(freed)
        self.mirror.check_evictable(theirs)
        self.mirror.check_evictable(ours)
        asked = min(call["tokens"], evictable)
        assert len(ours) == -(-asked // self.page), "exact: as many as were asked for"
        assert len(theirs) >= len(ours)
        self.differences["exact"] += len(theirs) > len(ours)
        self.differences["order"] += not ours <= theirs
        self.settle(theirs, ours)

    def settle(self, theirs: Any, ours: Any) -> None:
        """Makes this cache have what the engine's has left."""
        for names, tokens in ends(theirs - ours, self.page):
            gone = [block for name, block in theirs if name == names]
            start = min(len(block) for block in gone if tokens[: len(block)] == block)
            pages = self.backend._pages
            hold = pages.lookup(names, list(tokens))
            pages.cache.evict_from(hold, start - self.page).blocks.free()
        for names, tokens in ends(ours - theirs, self.page):
            row = self.arrays.array(self.mirror.row(names, tokens), "int64")
            self.backend.insert(SimpleNamespace(key=Key(list(tokens), names), value=row))
        self.mirror.remove(theirs)

    def reset(self, call: dict[str, Any]) -> None:
        """Resets the cache, of which nothing is locked."""
        assert not self.requests
        self.backend.reset()
        self.mirror.slots.clear()
