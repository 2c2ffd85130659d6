"""The caches of Python engines, each behind one call: look a prompt up, and let it go.

A peer is measured where its package is installed. Each does what its engine does for a prompt that is
cached: it finds the longest prefix, takes what keeps it, gets its blocks, and gives that back. The
hashing of tokens counts where an engine hashes; making its request object does not. Tokens come as
the engine keeps them: in a list, or for SGLang in an array.
"""

import sys
from array import array
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BLOCK_SIZE = 16
"""The tokens of a block, for all peers."""

Lookup = Callable[[], int]
"""Looks one prompt up, and returns how many tokens were found."""

Peer = Callable[[int], tuple[str, Callable[[list[int]], Lookup]]]
"""Makes a cache of a number of blocks. Returns its name, and what publishes a prompt."""


def mlx_manager(checkout: Path) -> Peer:
    """The original, from a checkout of tumma72/mlx-manager: its lookup and its release."""

    def make(blocks: int) -> tuple[str, Callable[[list[int]], Lookup]]:
        folder = checkout / "backend/mlx_manager/mlx_server/services/batching"
        # The packages import an engine for Apple's machines, which these three files do not need.
        name = "mlx_manager"
        for part in ("", ".mlx_server", ".services", ".batching"):
            name += part
            sys.modules[name] = _package(name, folder)
        from mlx_manager.mlx_server.services.batching import (  # type: ignore[import-not-found]
            block_manager,
            prefix_cache,
        )

        prefix_cache.BLOCK_SIZE = BLOCK_SIZE
        manager = block_manager.PagedBlockManager(blocks)
        cache = prefix_cache.PrefixCache("model", manager)

        def publish(tokens: list[int]) -> Lookup:
            owned = [manager.allocate() for _ in range(len(tokens) // BLOCK_SIZE)]
            cache.cache_prefix(tokens, owned)

            def lookup() -> int:
                found, count = cache.lookup_prefix(tokens)
                cache.release_prefix(found)
                return int(count)

            return lookup

        return "mlx-manager cffa5f2, list", publish

    return make


def _package(name: str, folder: Path) -> Any:
    package = type(sys)(name)
    package.__path__ = [str(folder)]
    return package


def sglang(blocks: int) -> tuple[str, Callable[[list[int]], Lookup]]:
    """SGLang's radix cache: match, lock, indices of the tokens, unlock."""
    import torch  # type: ignore[import-not-found]
    from sglang.srt.mem_cache.base_prefix_cache import (  # type: ignore[import-not-found]
        InsertParams,
        MatchPrefixParams,
    )
    from sglang.srt.mem_cache.cache_init_params import (  # type: ignore[import-not-found]
        CacheInitParams,
    )
    from sglang.srt.mem_cache.radix_cache import (  # type: ignore[import-not-found]
        RadixCache,
        RadixKey,
    )

    del blocks  # The tree has no bound of its own.
    params = CacheInitParams(
        disable=False,
        req_to_token_pool=None,
        token_to_kv_pool_allocator=SimpleNamespace(device="cpu"),
        page_size=BLOCK_SIZE,
    )
    cache = RadixCache(params)

    def publish(tokens: list[int]) -> Lookup:
        ids = array("q", tokens)
        indices = torch.arange(len(tokens), dtype=torch.int64)
        cache.insert(InsertParams(key=RadixKey(ids), value=indices))

        def lookup() -> int:
            found = cache.match_prefix(MatchPrefixParams(key=RadixKey(ids)))
            node = found.last_device_node
            cache.inc_lock_ref(node)
            count = len(cache.path_device_indices(node))
            cache.dec_lock_ref(node)
            return count

        return lookup

    return f"SGLang {version('sglang')}, array", publish


def vllm(blocks: int) -> tuple[str, Callable[[list[int]], Lookup]]:
    """vLLM's KV-cache manager: hashes of the blocks, and the longest hit. It takes no reference."""
    import torch
    from vllm.sampling_params import SamplingParams  # type: ignore[import-not-found]
    from vllm.utils.hashing import sha256  # type: ignore[import-not-found]
    from vllm.v1.core.kv_cache_manager import KVCacheManager  # type: ignore[import-not-found]
    from vllm.v1.core.kv_cache_utils import (  # type: ignore[import-not-found]
        get_request_block_hasher,
        init_none_hash,
    )
    from vllm.v1.kv_cache_interface import (  # type: ignore[import-not-found]
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
    )
    from vllm.v1.request import Request  # type: ignore[import-not-found]

    init_none_hash(sha256)
    hasher = get_request_block_hasher(BLOCK_SIZE, sha256)
    spec = FullAttentionSpec(
        block_size=BLOCK_SIZE, num_kv_heads=1, head_size=1, dtype=torch.float32
    )
    manager = KVCacheManager(
        KVCacheConfig(
            # One is the null block, and each prompt has one more.
            num_blocks=blocks + 16,
            kv_cache_tensors=[],
            kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
        ),
        max_model_len=BLOCK_SIZE * blocks,
        scheduler_block_size=BLOCK_SIZE,
        hash_block_size=BLOCK_SIZE,
    )

    def request(tokens: list[int]) -> Any:
        return Request(
            request_id="one",
            # One more: vLLM leaves a token to compute.
            prompt_token_ids=[*tokens, 0],
            sampling_params=SamplingParams(max_tokens=1),
            pooling_params=None,
            block_hasher=hasher,
        )

    def publish(tokens: list[int]) -> Lookup:
        first = request(tokens)
        manager.allocate_slots(first, first.num_tokens)
        first.num_computed_tokens = first.num_tokens
        manager.free(first)
        again = request(tokens)

        def lookup() -> int:
            again.block_hashes.clear()
            again.update_block_hashes()
            return int(manager.get_computed_blocks(again)[1])

        return lookup

    return f"vLLM {version('vllm')}, list", publish


def installed(checkout: Path | None) -> Iterator[Peer]:
    """Yields the peers that this machine has."""
    if checkout is not None:
        yield mlx_manager(checkout)
    for peer in (sglang, vllm):
        try:
            version(peer.__name__)
        except ModuleNotFoundError:
            continue
        yield peer
