"""Decodes one row of a batch: says what it wants read, and waits for the step that reads it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vist2_memory.engine.batch_kv import Rows
from vist2_memory.engine.choosing import Chooser
from vist2_memory.engine.encoder import Encoder
from vist2_memory.engine.generation import Decoded, Decoder, Prompt
from vist2_memory.engine.sampling import logprob_of
from vist2_memory.engine.tree import Tree
from vist2_memory.engine.weighing import Branches
from vist2_memory.types import VisualTokens


class RowDecoder(Decoder):
    """Decodes in this process, with others that are in the same ``rows``."""

    def __init__(self, rows: Rows, encoder: Encoder, prompt: Prompt, choose: Chooser) -> None:
        self._rows, self._encoder, self._choose = rows, encoder, choose
        self._told = prompt.params.logprobs
        self._base = prompt.base
        self._waiting: list[int] = []  # tokens that are decided but not run yet
        self._folded = False  # what may be quoted no longer stands where it did
        self._row = rows.enter()
        with torch.inference_mode():
            memory = torch.cat([encoder.embed(prompt.pinned), encoder.join(prompt.visual)])
        self._row.read(memory, prompt.recent)

    def next(self, room: int) -> Decoded | None:
        """See :meth:`Decoder.next`."""
        if self._waiting and not self._choose.decides(room):
            self._row.read(None, tuple(self._waiting))
            self._waiting = []
        if self._row.logits is None:
            return None
        self._choose.weigh(self._row.logits, self._branches, room)
        token = self._choose.next(self._row.logits, room)
        self._waiting.append(token)
        if self._told is None:
            return Decoded(token)
        tokenizer = self._encoder.processor.tokenizer
        return Decoded(token, logprob_of(self._row.logits, token, self._told, tokenizer))

    def _branches(self) -> Branches:
        finder = None if self._folded else self._encoder.finder
        return Tree(self._rows.copy(self._row), self._encoder.embed, finder)

    @torch.inference_mode()
    def fold(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """See :meth:`Decoder.fold`."""
        self._row.crop(self._base)
        self._row.read(self._encoder.join([visual]), tuple(kept))
        self._base += len(visual)
        self._waiting, self._folded = [], True

    @property
    def may_end(self) -> bool:
        """See :attr:`Decoder.may_end`."""
        return self._choose.may_end

    def close(self) -> None:
        """Leave the batch."""
        self._rows.leave(self._row)
