"""Drives vLLM's `KVCacheManager` as its scheduler does: prefill, in chunks too, decode, and free.

One group of full attention. A call that evicts notes under "gone" which blocks lost their hash.
"""

import random
from importlib.metadata import version as installed
from typing import Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_manager import KVCacheManager
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.request import Request

from .prompts import Prompts

RUNS = (
    {"block_size": 4, "blocks": 41, "calls": 1000},
    {"block_size": 16, "blocks": 25, "calls": 600},
)
SALTS = (None, None, "salt")


def version() -> str:
    """Returns the version of the installed package."""
    return installed("vllm")


def source() -> Any:
    """Returns the class that is driven."""
    return KVCacheManager


def drive(rng: random.Random, block_size: int, blocks: int, calls: int) -> list[dict[str, Any]]:
    """Makes at least `calls` random calls and returns them with the answers."""
    scheduler = Scheduler(rng, block_size, blocks)
    while len(scheduler.calls) < calls:
        scheduler.step()
    return scheduler.calls


def build(block_size: int, blocks: int) -> KVCacheManager:
    """Builds the manager of a model with one layer. One of its blocks is the null block."""
    spec = FullAttentionSpec(
        block_size=block_size, num_kv_heads=1, head_size=1, dtype=torch.float32
    )
    config = KVCacheConfig(
        num_blocks=blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
    )
    return KVCacheManager(
        config,
        max_model_len=block_size * blocks,
        scheduler_block_size=block_size,
        hash_block_size=block_size,
    )


class Scheduler:
    """Random requests, which prefill, decode and end."""

    def __init__(self, rng: random.Random, block_size: int, blocks: int) -> None:
        init_none_hash(sha256)
        self.rng = rng
        self.hasher = get_request_block_hasher(block_size, sha256)
        self.prompts = Prompts(rng, block_size * blocks // 4, block_size)
        self.manager = build(block_size, blocks)
        self.calls: list[dict[str, Any]] = []
        self.running: list[Request] = []
        self.number = 0

    def step(self) -> None:
        """Does one random thing."""
        steps = (self.admit, self.prefill, self.decode, self.finish, self.probe, self.reset)
        self.rng.choices(steps, weights=(5, 3, 6, 3, 2, 0.3))[0]()

    def note(self, **call: Any) -> None:
        """Notes a call, and how many blocks are free after it."""
        self.calls.append({**call, "free": self.manager.block_pool.get_num_free_blocks()})

    def request(self) -> Request:
        """Returns a new request: at times one that computes what a running one does as well."""
        self.number += 1
        prompt, salt = self.prompts.draw(), self.rng.choice(SALTS)
        waiting = [r for r in self.running if r.num_computed_tokens < r.num_tokens]
        if waiting and self.rng.random() < 0.3:
            twin = self.rng.choice(waiting)
            prompt, salt = list(twin.all_token_ids), twin.cache_salt
        return Request(
            request_id=str(self.number),
            prompt_token_ids=prompt,
            sampling_params=SamplingParams(max_tokens=1 << 20),
            pooling_params=None,
            cache_salt=salt,
            block_hasher=self.hasher,
        )

    def lookup(self, request: Request) -> tuple[Any, int]:
        """Looks a request's prompt up."""
        found, cached, _ = self.manager.get_computed_blocks(request)
        self.note(
            op="lookup",
            request=int(request.request_id),
            tokens=list(request.all_token_ids),
            salt=request.cache_salt,
            cached=cached,
            ids=found.get_block_ids()[0],
        )
        return found, cached

    def allocate(self, request: Request, new: int, cached: int = 0, found: Any = None) -> bool:
        """Allocates slots for `new` tokens, and counts them as computed. Returns false if full."""
        before = self.hashes()
        blocks = self.manager.allocate_slots(request, new, cached, found)
        call = {"op": "allocate", "request": int(request.request_id), "new": new}
        if blocks is None:
            self.note(**call, ids=None)
            return False
        request.num_computed_tokens += cached + new
        after = self.hashes()
        gone = [block for block, name in before.items() if after.get(block) != name]
        ids = self.manager.get_block_ids(request.request_id)[0]
        self.note(**call, ids=ids, **({"gone": gone} if gone else {}))
        return True

    def hashes(self) -> dict[int, Any]:
        """Returns the hash of each block that has one."""
        blocks = self.manager.block_pool.blocks
        return {block.block_id: block.block_hash for block in blocks if block.block_hash}

    def chunk(self, left: int) -> int:
        """Returns how much of a prompt to prefill now."""
        return left if self.rng.random() < 0.5 else self.rng.randint(1, left)

    def admit(self) -> None:
        """Starts a request, if there is room for its first chunk."""
        request = self.request()
        found, cached = self.lookup(request)
        if self.allocate(request, self.chunk(request.num_tokens - cached), cached, found):
            self.running.append(request)

    def prefill(self) -> None:
        """Prefills another chunk of a request that has some left."""
        waiting = [r for r in self.running if r.num_computed_tokens < r.num_tokens]
        if waiting:
            request = self.rng.choice(waiting)
            left = request.num_tokens - request.num_computed_tokens
            self.allocate(request, self.chunk(left)) or self.free(request)

    def decode(self) -> None:
        """Decodes one token of a request, or several that a draft model guessed."""
        ready = [r for r in self.running if r.num_computed_tokens == r.num_tokens]
        if not ready:
            return
        request = self.rng.choice(ready)
        if request.num_tokens < 2 * self.prompts.longest:
            tokens = self.prompts.more(self.rng.choice((1, 1, 1, 4)))
            request.append_output_token_ids(tokens)
            self.note(op="append", request=int(request.request_id), tokens=tokens)
            self.allocate(request, len(tokens)) or self.free(request)

    def free(self, request: Request) -> None:
        """Frees the blocks of a request, which has ended or is preempted."""
        self.running.remove(request)
        self.manager.free(request)
        self.note(op="free", request=int(request.request_id))
        self.prompts.learn(list(request.all_token_ids))

    def finish(self) -> None:
        """Ends a random request."""
        if self.running:
            self.free(self.rng.choice(self.running))

    def probe(self) -> None:
        """Looks a prompt up and does nothing with it."""
        self.lookup(self.request())

    def reset(self) -> None:
        """Resets the cache: at times while requests run, which the engine refuses."""
        if self.rng.random() < 0.5:
            while self.running:
                self.free(self.running[-1])
        self.note(op="reset", done=self.manager.reset_prefix_cache())
