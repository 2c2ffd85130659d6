"""Random calls with random arguments: some raise, none panics, and nothing is lost.

A panic of Rust is a `BaseException`, which nothing here catches.
"""

import random
from collections import Counter
from typing import Any

import numpy as np

import kvtrie
from kvtrie import PrefixCache, Priority, Prompt

NUMBERS = (0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 2**28, 2**31, 2**32, 2**63 - 1, 2**64 - 1, 2**64, -1)


def test_no_call_panics() -> None:
    chance = random.Random(3)
    caches = [
        PrefixCache(64, 4, change_feed=True, pin_budget=9),
        PrefixCache(8, 2, run_length=1),
    ]
    things: list[Any] = [(cache, cache.namespace("a")) for cache in caches]
    spaces = [space for _, space in things]
    made: list[Any] = [*caches, *spaces]
    outcomes: Counter[str] = Counter()

    def tokens() -> Any:
        n = chance.choice((0, 1, 4, 7, 8, 16, 40))
        numbers = [chance.randrange(2) for _ in range(n)]
        kind = chance.randrange(8)
        if kind == 0:
            return Prompt(numbers, priority=chance.choice((Priority.HIGH, Priority.LOW)))
        if kind == 1:
            return np.array(numbers, chance.choice(("u4", "i4", "i8", "u8", "f8", "u2")))
        if kind == 2 and n > 1:
            return Prompt(numbers, items=[(0, 1, bytes(32))], store=chance.random() < 0.5)
        return numbers

    def argument() -> Any:
        kind = chance.randrange(6)
        if kind == 0:
            return chance.choice(NUMBERS)
        if kind == 1:
            return tokens()
        if kind == 2:
            return np.zeros(chance.choice((0, 8, 64)), chance.choice(("i4", "i8")))
        if kind == 3:
            return chance.choice((None, "x", 1.5, b"", object(), [-1]))
        return chance.choice(made)

    def likely(name: str) -> list[Any]:
        """Returns arguments of the kind that a method takes."""
        n = chance.choice(NUMBERS[:7])
        if name in ("lookup", "lookup_prefill", "peek", "sequence", "reprioritize"):
            return [spaces[0], tokens()]
        if name == "publish":
            return [tokens(), chance.choice(made)]
        if name in ("pin", "evict_from", "add_blocks", "clear"):
            return [chance.choice(made), *([n] if name == "evict_from" else [])]
        if name in ("adopt", "extend"):
            return [chance.choice(([0, 1], [5], tokens()))]
        return [n]

    for _ in range(60_000):
        thing = chance.choice(made) if chance.random() < 0.7 else caches[0]
        methods = [name for name in dir(thing) if not name.startswith("_")]
        if not methods:
            continue
        name = chance.choice(methods)
        arguments = [argument() for _ in range(chance.randrange(3))]
        if chance.random() < 0.7:
            arguments = likely(name)
        try:
            member = getattr(thing, name)
            result = member(*arguments) if callable(member) else member
        except Exception as error:
            outcomes[type(error).__name__] += 1
            continue
        outcomes[name] += 1
        repr(result)
        if type(result).__module__ == "kvtrie" and len(made) < 60:
            made.append(result)
        elif len(made) > 30:
            made.pop(chance.randrange(len(caches) + len(spaces), len(made)))

    assert {"OutOfBlocks", "PublishError", "Released", "ForeignObject"} <= outcomes.keys()
    assert {"publish", "advance", "grow", "adopt", "pin", "truncate", "poll"} <= outcomes.keys()
    del thing, member, result, arguments
    made.clear()
    things.clear()
    for cache in caches:
        cache.clear_all().blocks.free()
        stats = cache.stats()
        assert (stats.cached, stats.pinned) == (0, 0)
        assert stats.free + stats.owned == stats.capacity
        lent = list(range(stats.capacity))
        for block in lent:
            try:
                cache.adopt([block]).free()
            except kvtrie.AdoptError:
                continue
        assert cache.stats().free == stats.capacity
