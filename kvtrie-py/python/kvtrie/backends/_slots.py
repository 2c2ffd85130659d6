"""The engine's slots of each cached block."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


class Slots:
    """A table on the engine's device: the slots of each block, one for each token.

    `table` has a row for each block: a torch tensor, or a numpy array. `rows` makes an index of
    its rows from ids of blocks, on the device of `table`. `cast` gives slots its type of integers.
    """

    def __init__(
        self, table: Any, rows: Callable[[Ids], Any], cast: Callable[[Any], Any]
    ) -> None:
        self._table = table
        self._rows = rows
        self._cast = cast
        self.blocks, self.block_size = table.shape
        self.empty = table[:0].reshape(-1)

    def write(self, blocks: Ids, slots: Any) -> None:
        """Notes the slots of consecutive blocks."""
        self._table[self._rows(blocks)] = self._cast(slots).reshape(-1, self.block_size)

    def read(self, blocks: Ids) -> Any:
        """Returns the slots of consecutive blocks, one after another."""
        return self._table[self._rows(blocks)].reshape(-1) if len(blocks) else self.empty


def torch_slots(blocks: int, block_size: int, dtype: Any, device: Any) -> Slots:
    """Returns a table of torch. Ids are copied to a GPU without waiting for it."""
    torch = import_module("torch")
    table = torch.zeros((blocks, block_size), dtype=dtype, device=device)

    def rows(ids: Ids) -> Any:
        index = torch.from_numpy(ids.astype(np.int64))
        if table.device.type == "cpu":
            return index
        return index.pin_memory().to(table.device, non_blocking=True)

    return Slots(table, rows, lambda slots: slots.to(dtype))
