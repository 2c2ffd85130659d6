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
>>> replaced = request.advance(len(request.uncomputed()))
>>> conversation = request.finish()
>>> cache.lookup(model, conversation).token_count
96

Any number of threads may share one cache.
"""

from kvtrie._errors import (
    AdoptError,
    BuildError,
    ChangeFeedError,
    Error,
    ForeignObject,
    OutOfBlocks,
    OverBudget,
    PublisherError,
    PublishError,
    Released,
    TokenError,
)
from kvtrie._kvtrie import (
    BlockHash,
    Blocks,
    BlockStatus,
    ChangeFeed,
    Cleared,
    Evicted,
    Hold,
    Namespace,
    Pinned,
    PrefixCache,
    Priority,
    Prompt,
    Publisher,
    Removed,
    Replaced,
    Sequence,
    Stats,
    Stored,
    __version__,
)

__all__ = [
    "AdoptError",
    "BlockHash",
    "BlockStatus",
    "Blocks",
    "BuildError",
    "ChangeFeed",
    "ChangeFeedError",
    "Cleared",
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
    "Publisher",
    "PublisherError",
    "Released",
    "Removed",
    "Replaced",
    "Sequence",
    "Stats",
    "Stored",
    "TokenError",
    "__version__",
]
