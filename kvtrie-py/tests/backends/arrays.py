"""The arrays of an engine: of torch, as the engine has them, or of numpy where torch is missing."""

import importlib.util
from typing import Any

import numpy as np

from kvtrie.backends._slots import Slots, torch_slots

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch


class Numpy:
    """Stands in for torch."""

    name = "numpy"

    @staticmethod
    def slots(blocks: int, page: int, dtype: str) -> Slots:
        """Returns a table of slots."""
        table = np.zeros((blocks, page), dtype=dtype)
        return Slots(table, lambda ids: ids, lambda slots: slots.astype(dtype))

    @staticmethod
    def array(values: list[int], dtype: str) -> Any:
        """Returns an array of integers."""
        return np.array(values, dtype=dtype)


class Torch:
    """Tensors on the CPU."""

    name = "torch"

    @staticmethod
    def slots(blocks: int, page: int, dtype: str) -> Slots:
        """Returns a table of slots."""
        return torch_slots(blocks, page, getattr(torch, dtype), torch.device("cpu"))

    @staticmethod
    def array(values: list[int], dtype: str) -> Any:
        """Returns a tensor of integers."""
        return torch.tensor(values, dtype=getattr(torch, dtype))


KINDS: list[Any] = [Numpy, Torch] if HAS_TORCH else [Numpy]
