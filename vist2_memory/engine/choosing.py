"""Which token comes next: by the model's logits, within the answer's grammar if it has one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vist2_memory.engine.steering import Course
from vist2_memory.engine.weighing import Begin


class Chooser:
    """Chooses the tokens of one answer; without a grammar, ``pick`` alone does."""

    def __init__(
        self, pick: Callable[[Tensor], int], steering: Course | None, ahead: bool = True
    ) -> None:
        """``pick``: a token id from logits of shape (vocabulary,). ``ahead``: whether tokens may be
        decided before there are logits for them.
        """
        self._pick, self._steering, self._ahead = pick, steering, ahead

    @property
    def may_end(self) -> bool:
        """Whether there is a grammar, and it has all that it asks for."""
        return self._steering is not None and self._steering.may_end

    def next(self, logits: Tensor, room: int) -> int:
        """The next token id; ``logits`` of shape (vocabulary,) are looked at if it is not decided.

        ``room``: tokens that the answer may still have, with this one.
        """
        if self._steering is None:
            return self._pick(logits)
        return self._steering.next(lambda flags: self._pick(_masked(logits, flags)), room)

    def weigh(self, logits: Tensor, begin: Begin, room: int) -> None:
        """Look at several ways to go on, where that is worth it; see :meth:`Course.weigh`."""
        if self._steering is not None:
            self._steering.weigh(logits, begin, room)

    def decides(self, room: int) -> bool:
        """Whether the next token needs no logits."""
        if self._steering is None or not self._ahead:
            return False
        self._steering.look_ahead(room)
        return self._steering.decided


def _masked(logits: Tensor, flags: npt.NDArray[np.bool_]) -> Tensor:
    """``logits`` of what ``flags`` allow; a table of logits may be longer than the vocabulary."""
    allowed = torch.zeros(len(logits), dtype=torch.bool)
    allowed[: len(flags)] = torch.from_numpy(flags.copy())
    return logits.masked_fill(~allowed.to(logits.device), -torch.inf)
