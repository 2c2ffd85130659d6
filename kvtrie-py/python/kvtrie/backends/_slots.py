"""The engine's slots of each cached block."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


class Slots:
    """A table on the engine's device: the slots of each block, one for each token.

    `table` has a row for each block: a torch tensor, or a numpy array. `on_device` copies ids of
    blocks to the device of `table`, as an index of its rows.
    """

    def __init__(self, table: Any, on_device: Callable[[Ids], Any]) -> None:
        self._table = table
        self._on_device = on_device
        self.blocks, self.block_size = table.shape
        self.empty = table[:0].reshape(-1)

    def write(self, blocks: Ids, slots: Any) -> None:
        """Notes the slots of consecutive blocks."""
        self._table[self._on_device(blocks)] = slots.reshape(-1, self.block_size)

    def read(self, blocks: Ids) -> Any:
        """Returns the slots of consecutive blocks, one after another."""
        return self._table[self._on_device(blocks)].reshape(-1) if len(blocks) else self.empty


def torch_slots(blocks: int, block_size: int, dtype: Any, device: Any) -> Slots:
    """Returns a table of torch. Ids are copied to a GPU without waiting for it."""
    import torch

    table = torch.zeros((blocks, block_size), dtype=dtype, device=device)

    def on_device(ids: Ids) -> Any:
        index = torch.from_numpy(ids.astype(np.int64))
        if table.device.type == "cpu":
            return index
        return index.pin_memory().to(table.device, non_blocking=True)

    return Slots(table, on_device)
