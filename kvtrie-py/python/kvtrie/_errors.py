"""The exceptions of the package. The module in Rust raises them.

Their figures are read from `args`, so that making one runs no Python code: an interpreter that ends
before version 3.14 must not stop a daemon thread in code that Rust has called.
"""


class Error(Exception):
    """The base of all exceptions of this package."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutOfBlocks(Error):
    """Fewer blocks are free or reclaimable than were asked for. Nothing was taken.

    Retry after a hold or a block is released. A request that needs more than `capacity` blocks in
    all never succeeds.
    """

    @property
    def requested(self) -> int:
        """Blocks that the caller asked for."""
        return int(self.args[1])

    @property
    def free(self) -> int:
        """Blocks that were free."""
        return int(self.args[2])

    @property
    def reclaimable(self) -> int:
        """Cached blocks that no hold kept."""
        return int(self.args[3])

    @property
    def held(self) -> int:
        """Cached blocks that a hold kept."""
        return int(self.args[4])

    @property
    def owned(self) -> int:
        """Blocks that callers owned, as blocks or as lent ids."""
        return int(self.args[5])

    @property
    def suspended(self) -> bool:
        """Whether evictions are suspended: some thread is stopped inside a call."""
        return bool(self.args[6])

    @property
    def capacity(self) -> int:
        """Blocks of the cache."""
        return int(self.args[7])


class OverBudget(Error):
    """A prefix exceeds the rest of the pin budget. Nothing was pinned."""

    @property
    def requested(self) -> int:
        """Blocks of the prefix."""
        return int(self.args[1])

    @property
    def pinned(self) -> int:
        """Blocks that were pinned already."""
        return int(self.args[2])

    @property
    def budget(self) -> int:
        """Blocks that may be pinned in total."""
        return int(self.args[3])


class AdoptError(Error, ValueError):
    """An id is not lent: it is free, cached, owned by another object, or beyond the capacity."""

    @property
    def id(self) -> int:
        """The id."""
        return int(self.args[1])


class TokenError(Error, ValueError):
    """A token is not an integer from 0 to 2**32 - 1."""

    @property
    def index(self) -> int:
        """The place of the first such token."""
        return int(self.args[1])


class BuildError(Error, ValueError):
    """A setting of a cache is out of range."""


class ChangeFeedError(Error):
    """The cache was built without a change feed, or the feed has a reader."""


class ForeignObject(Error, ValueError):
    """A namespace, hold or block was used with another cache than its own."""


class PublishError(Error, ValueError):
    """The tokens are not a whole number of blocks, or fill more or fewer than given."""


class PublisherError(Error):
    """A publisher cannot start, or it failed while it ran."""


class Released(Error):
    """An object was used after it was released."""
