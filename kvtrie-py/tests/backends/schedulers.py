"""Schedulers without an engine: random requests, each of which runs to its end."""

import random
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
from arrays import Numpy
from replay_sglang import Allocator, Types

from kvtrie.backends.mini_sglang import Backend
from kvtrie.backends.sglang import cache_class

PAGE = 4
PAGES = 32

Log = list[tuple[int, ...]]
"""For each request the number of cached tokens, and for each eviction the slots that left."""


def ints(values: Any) -> Any:
    """Returns an array of tokens or indices."""
    return np.array(list(values), dtype=np.int32)


class Scheduler:
    """The engine's pages, and requests that take them. The calls do not depend on the cache."""

    def __init__(self) -> None:
        self.rng = random.Random(5)
        self.free = list(range(PAGES))
        self.log: Log = []

    def run(self, requests: int) -> Log:
        """Runs requests, and returns the log."""
        for _ in range(requests):
            self.request(ints(self.rng.choices(range(2), k=self.rng.randint(5, 60))))
        return self.log

    def request(self, tokens: Any) -> None:
        """Runs one request."""
        raise NotImplementedError

    def evict(self, tokens: int) -> list[int]:
        """Evicts that many tokens, and returns their slots."""
        raise NotImplementedError

    def allocate(self, tokens: int) -> list[int]:
        """Returns slots for tokens, from pages that are free or evicted."""
        pages = -(-tokens // PAGE)
        if (missing := pages - len(self.free)) > 0:
            evicted = self.evict(missing * PAGE)
            self.log.append(tuple(evicted))
            self.give_back(evicted)
        taken, self.free = self.free[:pages], self.free[pages:]
        return [page * PAGE + i for page in taken for i in range(PAGE)]

    def give_back(self, slots: list[int]) -> None:
        """Frees the pages of some slots."""
        self.free += [slot // PAGE for slot in slots[::PAGE]]


class MiniScheduler(Scheduler):
    """Calls as mini-sglang makes them. Each computed token notes its prefix in its slot."""

    def __init__(self, seed: int | None) -> None:
        super().__init__()
        self.cache = Backend(Numpy.slots(PAGES, PAGE, "int32"), seed)
        self.memory: dict[int, bytes] = {}

    def request(self, tokens: Any) -> None:
        """Matches, locks, computes, inserts and unlocks."""
        handle = self.cache.match_prefix(tokens[:-1]).cuda_handle
        self.cache.lock_handle(handle)
        cached = handle.cached_len
        self.log.append((cached,))
        row = handle.get_matched_indices().tolist()
        assert all(self.memory[row[i]] == tokens[: i + 1].tobytes() for i in range(cached))
        row += self.allocate(len(tokens) - cached)
        for i in range(cached, len(tokens)):
            self.memory[row[i]] = tokens[: i + 1].tobytes()
        there, inserted = self.cache.insert_prefix(tokens, ints(row[: len(tokens)]))
        assert there == cached
        self.cache.lock_handle(handle, unlock=True)
        self.give_back(row[inserted.cached_len :])
        size = self.cache.size_info
        assert size.protected_size == 0
        assert len(self.free) * PAGE + size.total_size == PAGES * PAGE

    def evict(self, tokens: int) -> list[int]:
        """Evicts that many tokens, and returns their slots."""
        slots: list[int] = self.cache.evict(tokens).tolist()
        return slots


class SglangScheduler(Scheduler):
    """Calls as SGLang makes them, under more adapters than fit the cache."""

    def __init__(self, seed: int | None) -> None:
        super().__init__()
        params = SimpleNamespace(
            req_to_token_pool=None,
            token_to_kv_pool_allocator=Allocator(),
            page_size=PAGE,
            enable_metrics=False,
        )
        slots = Numpy.slots(PAGES, PAGE, "int64")
        self.cache = cache_class(Types)(params, slots, seed)
        self.nodes: list[Any] = []
        """The nodes of past requests, if the engine keeps them."""

    def request(self, tokens: Any) -> None:
        """Matches, locks, computes, inserts and unlocks."""
        adapter = f"adapter {self.rng.randrange(150)}" if self.rng.random() < 0.3 else None
        key = SimpleNamespace(extra_key=adapter, cache_salt=None)
        key.raw_token_ids = lambda: array("q", tokens[:-1].tolist())
        node = self.cache.match_prefix(SimpleNamespace(key=key)).last_device_node
        self.cache.inc_lock_ref(node)
        cached = len(node.tokens)
        self.log.append((cached,))
        row = self.cache.path_device_indices(node).tolist()
        row += self.allocate(len(tokens) - 1 - cached)
        value = np.array(row, np.int64)
        result = self.cache.insert(SimpleNamespace(key=key, value=value))
        assert result.prefix_len == cached
        self.cache.dec_lock_ref(node)
        self.give_back(row[len(result.last_device_node.tokens) :])
        self.nodes += [node, result.last_device_node]

    def evict(self, tokens: int) -> list[int]:
        """Evicts that many tokens, and returns their slots."""
        self.cache.evict(SimpleNamespace(num_tokens=tokens))
        return self.cache.token_to_kv_pool_allocator.take()  # type: ignore[no-any-return]
