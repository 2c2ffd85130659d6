"""A cache and a namespace for tests."""

import pytest

import kvtrie


@pytest.fixture
def cache() -> kvtrie.PrefixCache:
    return kvtrie.PrefixCache(blocks=64, block_size=4)


@pytest.fixture
def model(cache: kvtrie.PrefixCache) -> kvtrie.Namespace:
    return cache.namespace("model")
