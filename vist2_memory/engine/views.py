"""Arrays as tensors on the same memory, read-only ones too."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class _Same:
    """The memory of ``array`` for numpy, as if it could be written."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        address, _ = array.__array_interface__["data"]
        self._array = array  # lives as long as what is made of it
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def tensor_of(array: npt.NDArray[Any]) -> Tensor:
    """``array`` as a tensor that shares its memory and must not be written to.

    torch knows no read-only tensors and warns of read-only arrays, which visual tokens are: several
    sessions' answers, or the store's own bytes, may be read through them.
    """
    if array.flags.writeable or array.size == 0:
        return torch.from_numpy(array)
    return torch.from_numpy(np.asarray(_Same(array)))
