"""Drives `minisgl.kvcache.radix_cache.RadixPrefixCache` as `minisgl.scheduler.cache` does."""

import random
from importlib.metadata import version as installed
from typing import Any

import torch
from minisgl import core
from minisgl.kvcache import BaseCacheHandle, create_prefix_cache
from minisgl.kvcache.radix_cache import RadixPrefixCache

from .prompts import Prompts

RUNS = (
    {"page_size": 1, "pages": 128, "calls": 1200},
    {"page_size": 4, "pages": 48, "calls": 1200},
    {"page_size": 16, "pages": 24, "calls": 600},
)


def version() -> str:
    """Returns the version of the installed package."""
    return installed("minisgl")


def source() -> Any:
    """Returns the class that is driven."""
    return RadixPrefixCache


def drive(rng: random.Random, page_size: int, pages: int, calls: int) -> list[dict[str, Any]]:
    """Makes at least `calls` random calls and returns them with the answers."""
    scheduler = Scheduler(rng, page_size, pages)
    while len(scheduler.calls) < calls:
        scheduler.step()
    return scheduler.calls


class Calls:
    """The engine's cache; each method makes one call and notes it with its answer."""

    def __init__(self, page_size: int) -> None:
        core._GLOBAL_CTX = None
        core.set_global_ctx(core.Context(page_size=page_size))
        self.cache = create_prefix_cache(torch.device("cpu"), "radix")
        self.handles: list[BaseCacheHandle] = []
        self.calls: list[dict[str, Any]] = []

    def note(self, **call: Any) -> None:
        """Notes a call, and what the cache says of its size after it."""
        size = self.cache.size_info
        self.calls.append({**call, "size": [size.evictable_size, size.protected_size]})

    def indices(self, handle: int) -> list[int]:
        """Returns the indices of the prefix of a handle."""
        found = self.handles[handle]
        return found.get_matched_indices().tolist() if found.cached_len else []

    def match(self, tokens: list[int]) -> int:
        """Matches a prompt and returns the number of the handle."""
        ids = torch.tensor(tokens, dtype=torch.int32)
        self.handles.append(self.cache.match_prefix(ids).cuda_handle)
        handle = len(self.handles) - 1
        length = self.handles[handle].cached_len
        self.note(op="match", tokens=tokens, length=length, indices=self.indices(handle))
        return handle

    def lock(self, handle: int, unlock: bool = False) -> None:
        """Locks a handle, or unlocks it."""
        self.cache.lock_handle(self.handles[handle], unlock)
        self.note(op="unlock" if unlock else "lock", handle=handle)

    def insert(self, tokens: list[int], row: list[int]) -> tuple[int, int]:
        """Inserts a prefix; returns how much of it was there, and the number of its handle."""
        ids = torch.tensor(tokens, dtype=torch.int32)
        indices = torch.tensor(row, dtype=torch.int32)
        there, handle = self.cache.insert_prefix(ids, indices)
        self.handles.append(handle)
        number = len(self.handles) - 1
        answer = {"there": there, "length": handle.cached_len, "indices": self.indices(number)}
        self.note(op="insert", tokens=tokens, row=row, **answer)
        return there, number

    def evict(self, size: int) -> list[int]:
        """Evicts at least `size` tokens and returns their indices."""
        evicted = self.cache.evict(size).tolist()
        self.note(op="evict", tokens=size, evicted=evicted)
        return evicted


class Request:
    """A running request: its tokens, its row of indices, and its locked handle."""

    def __init__(self, tokens: list[int], row: list[int], handle: int) -> None:
        self.tokens = tokens
        self.row = row
        self.handle = handle


class Scheduler(Calls):
    """Random requests, which lock, insert, grow and end."""

    def __init__(self, rng: random.Random, page_size: int, pages: int) -> None:
        super().__init__(page_size)
        self.rng = rng
        self.page_size = page_size
        self.free = list(range(pages))
        self.prompts = Prompts(rng, page_size * pages // 4, page_size)
        self.running: list[Request] = []
        self.extra: list[int] = []

    def step(self) -> None:
        """Does one random thing."""
        steps = (self.admit, self.extend, self.finish, self.probe, self.relock, self.evict_some)
        self.rng.choices(steps, weights=(5, 6, 4, 2, 1, 1))[0]()

    def admit(self) -> None:
        """Starts a request, if there is room for it."""
        tokens = self.prompts.draw()
        handle = self.match(tokens[:-1]) if len(tokens) > 1 else self.match(tokens)
        self.lock(handle)
        request = Request(tokens, self.indices(handle), handle)
        if self.grow(request):
            self.running.append(request)
        else:
            self.lock(handle, unlock=True)

    def grow(self, request: Request) -> bool:
        """Gives a request the pages that its tokens need, or returns false."""
        missing = -(-(len(request.tokens) - len(request.row)) // self.page_size)
        short = (missing - len(self.free)) * self.page_size
        if short > self.cache.size_info.evictable_size:
            return False
        if short > 0:
            self.give_back(self.evict(short))
        pages, self.free = self.free[:missing], self.free[missing:]
        request.row += [p * self.page_size + i for p in pages for i in range(self.page_size)]
        return True

    def give_back(self, indices: list[int]) -> None:
        """Returns the pages of some indices to the free ones."""
        self.free += [index // self.page_size for index in indices[:: self.page_size]]

    def publish(self, request: Request) -> None:
        """Inserts what a request has, frees its duplicates and moves its lock."""
        length = self.handles[request.handle].cached_len
        there, handle = self.insert(request.tokens, request.row[: len(request.tokens)])
        self.lock(request.handle, unlock=True)
        self.give_back(request.row[length:there])
        self.lock(handle)
        indices = self.indices(handle)
        request.row[: len(indices)] = indices
        request.handle = handle

    def extend(self) -> None:
        """Publishes a request, and lets it grow."""
        if not self.running:
            return
        request = self.rng.choice(self.running)
        self.publish(request)
        before = len(request.tokens)
        if before < self.prompts.longest:
            more = self.prompts.more(self.rng.randint(1, 2 * self.page_size))
            request.tokens = request.tokens + more
            if not self.grow(request):
                request.tokens = request.tokens[:before]

    def finish(self) -> None:
        """Ends a request: publishes it, frees its tail, and unlocks it."""
        if not self.running:
            return
        request = self.running.pop(self.rng.randrange(len(self.running)))
        self.publish(request)
        self.give_back(request.row[self.handles[request.handle].cached_len :])
        self.lock(request.handle, unlock=True)
        self.prompts.learn(request.tokens)

    def probe(self) -> None:
        """Matches a prompt and does nothing with it."""
        self.match(self.prompts.draw())

    def relock(self) -> None:
        """Locks a locked handle once more, or takes such a lock back."""
        if self.extra and self.rng.random() < 0.6:
            self.lock(self.extra.pop(), unlock=True)
        elif self.running:
            self.extra.append(self.rng.choice(self.running).handle)
            self.lock(self.extra[-1])

    def evict_some(self) -> None:
        """Evicts a part of what may be evicted, or all of it."""
        pages = self.cache.size_info.evictable_size // self.page_size
        if pages:
            n = pages if self.rng.random() < 0.2 else self.rng.randint(1, -(-pages // 3))
            self.give_back(self.evict(n * self.page_size))
