"""The exceptions of the package. The module in Rust raises them."""


class Error(Exception):
    """The base of all exceptions of this package."""

    def __str__(self) -> str:
        return str(self.args[0])


class OutOfBlocks(Error):
    """Fewer blocks are free or reclaimable than were asked for. Nothing was taken.

    Retry after a hold or a block is released. If `requested` exceeds the capacity, retrying never
    succeeds.
    """

    def __init__(
        self, message: str, requested: int, free: int, reclaimable: int, held: int, owned: int
    ) -> None:
        super().__init__(message, requested, free, reclaimable, held, owned)
        self.requested = requested
        """Blocks that the caller asked for."""
        self.free = free
        """Blocks that were free."""
        self.reclaimable = reclaimable
        """Cached blocks that no hold kept."""
        self.held = held
        """Cached blocks that a hold kept."""
        self.owned = owned
        """Blocks that callers owned, as blocks or as lent ids."""


class OverBudget(Error):
    """A prefix exceeds the rest of the pin budget. Nothing was pinned."""

    def __init__(self, message: str, requested: int, pinned: int, budget: int) -> None:
        super().__init__(message, requested, pinned, budget)
        self.requested = requested
        """Blocks of the prefix."""
        self.pinned = pinned
        """Blocks that were pinned already."""
        self.budget = budget
        """Blocks that may be pinned in total."""


class AdoptError(Error, ValueError):
    """An id is not lent: it is free, cached, owned by another object, or beyond the capacity."""

    def __init__(self, message: str, id: int) -> None:
        super().__init__(message, id)
        self.id = id
        """The id."""


class TokenError(Error, ValueError):
    """A token is not an integer from 0 to 2**32 - 1."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message, index)
        self.index = index
        """The place of the first such token."""


class BuildError(Error, ValueError):
    """A setting of a cache is out of range."""


class ForeignObject(Error, ValueError):
    """A namespace, hold or block was used with another cache than its own."""


class PublishError(Error, ValueError):
    """The tokens are not a whole number of blocks, or fill more or fewer than given."""


class Released(Error):
    """An object was used after it was released."""
