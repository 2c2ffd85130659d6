"""What an engine has cached, as its record tells: a dictionary, without any tree.

A replay compares three things after each call: the engine's answer in the record, the answer of
this model, and the answer of kvtrie.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Names = tuple[str | None, ...]
Prefix = tuple[Names, tuple[int, ...]]

RECORDS = Path(__file__).parents[2] / "records"


def runs(engine: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Returns the runs of an engine's record: the header, and the calls."""
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    for line in (RECORDS / f"{engine}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "engine" in entry:
            found.append((entry, []))
        else:
            found[-1][1].append(entry)
    return found


def name_of(run: tuple[dict[str, Any], list[dict[str, Any]]]) -> str:
    """Names a run, for the report of the tests."""
    header, calls = run
    settings = [value for key, value in header.items() if key not in ("source", "seed", "calls")]
    return "-".join(map(str, [*settings, f"{len(calls)}calls"]))


class Mirror:
    """The cached blocks, each named by its whole prefix, with the slots that it stands for."""

    def __init__(self, page: int) -> None:
        self.page = page
        self.slots: dict[Prefix, tuple[int, ...]] = {}
        self.locks: Counter[Prefix] = Counter()

    def blocks(self, names: Names, tokens: Sequence[int]) -> Iterator[Prefix]:
        """Names the whole blocks of a prefix, from the first on."""
        for end in range(self.page, len(tokens) + 1, self.page):
            yield names, tuple(tokens[:end])

    def row(self, names: Names, tokens: Sequence[int]) -> list[int]:
        """Returns the slots of the longest cached prefix."""
        row: list[int] = []
        for block in self.blocks(names, tokens):
            if block not in self.slots:
                break
            row += self.slots[block]
        return row

    def insert(self, names: Names, tokens: Sequence[int], row: Sequence[int]) -> None:
        """Caches the whole blocks of a prefix. What is there already keeps its slots."""
        for block in self.blocks(names, tokens):
            end = len(block[1])
            self.slots.setdefault(block, tuple(row[end - self.page : end]))

    def lock(self, names: Names, tokens: Sequence[int], by: int = 1) -> None:
        """Locks a prefix, or takes a lock back."""
        for block in self.blocks(names, tokens):
            self.locks[block] += by
            assert self.locks[block] >= 0

    def size(self) -> list[int]:
        """Returns how many cached tokens are evictable, and how many are locked."""
        locked = sum(1 for block in self.slots if self.locks[block])
        return [(len(self.slots) - locked) * self.page, locked * self.page]

    def of_slots(self, slots: Sequence[int]) -> set[Prefix]:
        """Returns the blocks of some slots, all of which are cached."""
        names = {slots: block for block, slots in self.slots.items()}
        pages = [tuple(slots[at : at + self.page]) for at in range(0, len(slots), self.page)]
        assert len(set(pages)) == len(pages), "a block was evicted twice"
        return {names[page] for page in pages}

    def check_evictable(self, gone: set[Prefix]) -> None:
        """Checks that blocks may leave: none is locked, and none leaves a child behind."""
        assert not any(self.locks[block] for block in gone), "a locked block was evicted"
        for names, tokens in self.slots.keys() - gone:
            parent = (names, tokens[: -self.page])
            assert parent not in gone, "a block was evicted before its child"

    def remove(self, gone: Iterable[Prefix]) -> None:
        """Forgets blocks."""
        for block in gone:
            del self.slots[block]


def ends(blocks: set[Prefix], page: int) -> list[Prefix]:
    """Returns the blocks that no other of these continues."""
    parents = {(names, tokens[:-page]) for names, tokens in blocks}
    return sorted(blocks - parents, key=str)
