"""Drives the radix caches of SGLang as `sglang.srt.mem_cache.common` does.

`radix` is `RadixCache`. `unified` is `UnifiedRadixCache`, which that version uses by default. The
allocator is a list of free pages that notes what the cache frees.
"""

import random
from array import array
from importlib.metadata import version as installed
from types import SimpleNamespace
from typing import Any

import torch
from sglang.srt.managers.schedule_batch import ReqKvInfo
from sglang.srt.mem_cache.base_prefix_cache import BasePrefixCache, EvictParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
from sglang.srt.mem_cache.radix_cache import RadixCache, RadixKey
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

from .prompts import Prompts

RUNS = (
    {"cache": "radix", "page_size": 1, "pages": 128, "calls": 700},
    {"cache": "radix", "page_size": 4, "pages": 48, "calls": 700},
    {"cache": "unified", "page_size": 4, "pages": 48, "calls": 700},
)
NAMESPACES = (
    *[(None, None)] * 7,
    ("adapter", None),
    (None, "salt"),
    ("adapter", "salt"),
)
ROWS = 32


def version() -> str:
    """Returns the version of the installed package."""
    return installed("sglang")


def source() -> Any:
    """Returns the class that is driven."""
    return RadixCache


def drive(
    rng: random.Random, cache: str, page_size: int, pages: int, calls: int
) -> list[dict[str, Any]]:
    """Makes at least `calls` random calls and returns them with the answers."""
    scheduler = Scheduler(rng, cache, page_size, pages)
    while len(scheduler.calls) < calls:
        scheduler.step()
    return scheduler.calls


class Pages:
    """The allocator: free pages, and the indices that were freed since the last look."""

    device = "cpu"

    def __init__(self, page_size: int, pages: int) -> None:
        self.page_size = page_size
        self.pages = pages
        self.clear()

    def clear(self) -> None:
        """Makes every page free. Page 0 is for padding, as in the engine."""
        self.free_pages = list(range(1, self.pages + 1))
        self.freed: list[int] = []

    def free(self, indices: torch.Tensor) -> None:
        """Frees the pages of some indices."""
        self.freed += indices.tolist()
        pages = dict.fromkeys(index // self.page_size for index in indices.tolist())
        self.free_pages += pages

    def free_segment(self, indices: torch.Tensor, *, start_pos: int) -> None:
        """Frees the pages of consecutive indices of a row."""
        self.free(indices)

    def free_segments(self, segments: Any) -> None:
        """Frees several segments."""
        for indices, start in segments:
            self.free_segment(indices, start_pos=start)

    def available_size(self) -> int:
        """Returns the number of free indices."""
        return len(self.free_pages) * self.page_size

    def take(self, n: int) -> list[int]:
        """Takes `n` pages and returns their indices."""
        pages, self.free_pages = self.free_pages[:n], self.free_pages[n:]
        return [p * self.page_size + i for p in pages for i in range(self.page_size)]

    def take_freed(self) -> list[int]:
        """Returns what was freed since the last call."""
        freed, self.freed = self.freed, []
        return freed


def build(cache: str, page_size: int, allocator: Pages, rows: ReqToTokenPool) -> BasePrefixCache:
    """Builds the engine's cache."""
    params = CacheInitParams(
        disable=False,
        req_to_token_pool=rows,
        token_to_kv_pool_allocator=allocator,
        page_size=page_size,
    )
    if cache == "radix":
        return RadixCache(params)
    params.tree_components = (ComponentType.FULL,)
    return UnifiedRadixCache(params)


class Request(SimpleNamespace):
    """What the cache reads of a request (`sglang.srt.managers.schedule_batch.Req`)."""

    def finished(self) -> bool:
        """Returns whether this is the last insertion."""
        return self.done


class Scheduler:
    """Random requests, which lock, publish, grow and end."""

    def __init__(self, rng: random.Random, cache: str, page_size: int, pages: int) -> None:
        self.rng = rng
        self.page_size = page_size
        self.prompts = Prompts(rng, page_size * pages // 4, page_size)
        self.allocator = Pages(page_size, pages)
        longest = page_size * pages
        self.rows = ReqToTokenPool(ROWS, longest, "cpu", enable_memory_saver=False)
        self.cache = build(cache, page_size, self.allocator, self.rows)
        self.calls: list[dict[str, Any]] = []
        self.running: list[Request] = []
        self.extra: list[tuple[int, Any]] = []
        self.number = 0

    def note(self, **call: Any) -> None:
        """Notes a call, what it freed, and what the cache says of its size."""
        size = [int(self.cache.evictable_size()), int(self.cache.protected_size())]
        freed = self.allocator.take_freed()
        self.calls.append({**call, **({"freed": freed} if freed else {}), "size": size})

    def step(self) -> None:
        """Does one random thing."""
        steps = (self.admit, self.extend, self.finish, self.probe, self.relock, self.evict_some)
        self.rng.choices((*steps, self.flush), weights=(6, 5, 4, 2, 1, 1, 0.08))[0]()

    def match(self, tokens: list[int], names: tuple[str | None, str | None]) -> Any:
        """Matches a prompt; returns the node, and the number of tokens."""
        key = RadixKey(array("q", tokens), extra_key=names[0], cache_salt=names[1])
        found = self.cache.match_prefix(MatchPrefixParams(key=key))
        node, length = found.last_device_node, int(found.device_prefix_len)
        indices = self.cache.path_device_indices(node).tolist()
        self.note(op="match", tokens=tokens, names=names, length=length, indices=indices)
        return node, length

    def admit(self) -> None:
        """Starts a request, if there is room for it."""
        if len(self.running) == ROWS:
            return
        tokens, names = self.prompts.draw(), self.rng.choice(NAMESPACES)
        node, length = self.match(tokens[:-1], names)
        request = self.request(tokens, names)
        request.last_node, request.kv.cache_protected_len = node, length
        request.lock = self.cache.lock(node)
        self.note(op="lock", request=request.number, tokens=tokens[:length], names=names)
        row = self.rows.req_to_token[request.kv.req_pool_idx]
        row[:length] = self.cache.path_device_indices(node)
        request.kv.kv_allocated_len = length
        if self.grow(request):
            self.running.append(request)
        else:
            self.unlock(request)

    def request(self, tokens: list[int], names: tuple[str | None, str | None]) -> Request:
        """Returns a new request, with a row of its own."""
        self.number += 1
        request = Request(number=self.number, rid=str(self.number), done=False, priority=0)
        request.kv = ReqKvInfo()
        request.kv.req_pool_idx = self.rows.alloc_rows(1)[0]
        request.extra_key, request.cache_salt = names
        request.origin_input_ids = array("q", tokens)
        request.full_untruncated_fill_ids = array("q", tokens)
        request.session_id = request.kv_rotation_base = request.session = None
        return request

    def grow(self, request: Request) -> bool:
        """Gives a request the pages that its tokens need, or returns false."""
        has, kv = request.kv.kv_allocated_len, request.kv
        missing = -(-(len(request.full_untruncated_fill_ids) - has) // self.page_size)
        short = missing * self.page_size - self.allocator.available_size()
        if short > self.cache.evictable_size():
            return False
        if short > 0:
            self.evict(short)
        new = torch.tensor(self.allocator.take(missing), dtype=torch.int32)
        self.rows.req_to_token[kv.req_pool_idx, has : has + len(new)] = new
        kv.kv_allocated_len += len(new)
        return True

    def evict(self, tokens: int) -> None:
        """Evicts at least so many tokens."""
        result = self.cache.evict(EvictParams(num_tokens=tokens))
        self.note(op="evict", tokens=tokens, evicted=int(result.num_tokens_evicted))

    def checkpoint(self, request: Request) -> None:
        """Publishes a request up to its end, and notes its row."""
        length = len(request.full_untruncated_fill_ids)
        row = self.rows.req_to_token[request.kv.req_pool_idx]
        before = row[:length].tolist()
        self.cache.checkpoint(request, up_to=length)
        call = {"request": request.number, "tokens": list(request.full_untruncated_fill_ids)}
        after, protected = row[:length].tolist(), int(request.kv.cache_protected_len)
        self.note(op="checkpoint", **call, row=before, new_row=after, protected=protected)

    def extend(self) -> None:
        """Publishes a request, and lets it grow."""
        if not self.running:
            return
        request = self.rng.choice(self.running)
        self.checkpoint(request)
        before = request.full_untruncated_fill_ids
        if len(before) < self.prompts.longest:
            more = array("q", self.prompts.more(self.rng.randint(1, 2 * self.page_size)))
            request.full_untruncated_fill_ids = before + more
            if not self.grow(request):
                request.full_untruncated_fill_ids = before

    def finish(self) -> None:
        """Ends a request: publishes it, unless it is aborted, and gives its row back."""
        if not self.running:
            return
        request = self.running.pop(self.rng.randrange(len(self.running)))
        request.done = True
        if self.rng.random() < 0.9:
            self.checkpoint(request)
        row = self.rows.req_to_token[request.kv.req_pool_idx]
        self.allocator.free(row[request.kv.cache_protected_len : request.kv.kv_allocated_len])
        self.allocator.take_freed()
        self.unlock(request)
        self.prompts.learn(list(request.full_untruncated_fill_ids))

    def unlock(self, request: Request) -> None:
        """Takes back the lock of a request."""
        self.cache.unlock(request.lock)
        self.note(op="unlock", request=request.number)
        self.rows.free_slots.append(request.kv.req_pool_idx)

    def probe(self) -> None:
        """Matches a prompt and does nothing with it."""
        self.match(self.prompts.draw(), self.rng.choice(NAMESPACES))

    def relock(self) -> None:
        """Locks a node of a request once more, or takes such a lock back."""
        if self.extra and self.rng.random() < 0.6:
            number, lock = self.extra.pop()
            self.cache.unlock(lock)
            self.note(op="unlock", request=number)
        elif self.running:
            request = self.rng.choice(self.running)
            length, self.number = int(request.kv.cache_protected_len), self.number + 1
            self.extra.append((self.number, self.cache.lock(request.last_node)))
            tokens = list(request.full_untruncated_fill_ids[:length])
            names = (request.extra_key, request.cache_salt)
            self.note(op="lock", request=self.number, tokens=tokens, names=names)

    def evict_some(self) -> None:
        """Evicts a part of what may be evicted, or all of it."""
        evictable = int(self.cache.evictable_size())
        if evictable:
            everything = self.rng.random() < 0.2
            self.evict(evictable if everything else self.rng.randint(1, -(-evictable // 3)))

    def flush(self) -> None:
        """Ends all requests and resets the cache, as `flush_cache` does."""
        while self.running:
            self.finish()
        while self.extra:
            number, lock = self.extra.pop()
            self.cache.unlock(lock)
            self.note(op="unlock", request=number)
        self.cache.reset()
        self.allocator.clear()
        self.note(op="reset")
