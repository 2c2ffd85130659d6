"""A lock-free prefix cache for the KV-cache blocks of LLM engines.

A request looks up the longest cached prefix of its prompt, holds its blocks while it decodes, and
publishes the blocks it computes:

>>> import kvtrie
>>> cache = kvtrie.PrefixCache(blocks=1000, block_size=16)
>>> model = cache.namespace("llama-3-8b")
>>> request = cache.sequence(model, list(range(100)))
>>> request.cached_tokens
0
>>> request.grow()
>>> replaced = request.advance(100)
>>> conversation = request.finish()
>>> cache.lookup(model, conversation).token_count
96

Any number of threads may share one cache.
"""

from kvtrie._errors import (
    AdoptError,
    BuildError,
    Error,
    ForeignObject,
    OutOfBlocks,
    OverBudget,
    PublishError,
    Released,
    TokenError,
)
from kvtrie._kvtrie import (
    BlockHash,
    Blocks,
    BlockStatus,
    Evicted,
    Hold,
    Namespace,
    Pinned,
    PrefixCache,
    Priority,
    Prompt,
    Replaced,
    Sequence,
    Stats,
    __version__,
)

__all__ = [
    "AdoptError",
    "BlockHash",
    "BlockStatus",
    "Blocks",
    "BuildError",
    "Error",
    "Evicted",
    "ForeignObject",
    "Hold",
    "Namespace",
    "OutOfBlocks",
    "OverBudget",
    "Pinned",
    "PrefixCache",
    "Priority",
    "Prompt",
    "PublishError",
    "Released",
    "Replaced",
    "Sequence",
    "Stats",
    "TokenError",
    "__version__",
]
