"""The exceptions of the package. The module in Rust raises them.

Their figures are read from `args`, so that making one runs no Python code: an interpreter that ends
before version 3.14 must not stop a daemon thread in code that Rust has called.
"""

from typing import Any


class Error(Exception):
    """The base of all exceptions of this package."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def _figure(place: int, doc: str) -> Any:
    return property(lambda self: self.args[place], doc=doc)


class OutOfBlocks(Error):
    """Fewer blocks are free or reclaimable than were asked for. Nothing was taken.

    Retry after a hold or a block is released. If `requested` exceeds the capacity, retrying never
    succeeds.
    """

    requested: int = _figure(1, "Blocks that the caller asked for.")
    free: int = _figure(2, "Blocks that were free.")
    reclaimable: int = _figure(3, "Cached blocks that no hold kept.")
    held: int = _figure(4, "Cached blocks that a hold kept.")
    owned: int = _figure(5, "Blocks that callers owned, as blocks or as lent ids.")


class OverBudget(Error):
    """A prefix exceeds the rest of the pin budget. Nothing was pinned."""

    requested: int = _figure(1, "Blocks of the prefix.")
    pinned: int = _figure(2, "Blocks that were pinned already.")
    budget: int = _figure(3, "Blocks that may be pinned in total.")


class AdoptError(Error, ValueError):
    """An id is not lent: it is free, cached, owned by another object, or beyond the capacity."""

    id: int = _figure(1, "The id.")


class TokenError(Error, ValueError):
    """A token is not an integer from 0 to 2**32 - 1."""

    index: int = _figure(1, "The place of the first such token.")


class BuildError(Error, ValueError):
    """A setting of a cache is out of range."""


class ForeignObject(Error, ValueError):
    """A namespace, hold or block was used with another cache than its own."""


class PublishError(Error, ValueError):
    """The tokens are not a whole number of blocks, or fill more or fewer than given."""


class Released(Error):
    """An object was used after it was released."""
