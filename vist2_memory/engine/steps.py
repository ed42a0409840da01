"""One run of a language model over tokens behind others, and what it needs to know of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.layers import run_layers


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that are read in one run."""

    embeds: Tensor
    """Shape (tokens, hidden size)."""
    positions: Tensor
    """Where each of them stands in its sequence, shape (tokens,)."""
    spans: tuple[tuple[int, int], ...]
    """Where their keys and values are put: a place, and how many tokens from there on; in order."""
    mask: Tensor | None
    """See :func:`vist2_memory.engine.attention.attend`."""
    last: int | Sequence[int]
    """The one whose logits are wanted, or those; several are run plainly only."""

    def __len__(self) -> int:
        return len(self.embeds)

    @property
    def end(self) -> int:
        """Places that are read."""
        return max(place + count for place, count in self.spans)

    @property
    def places(self) -> Tensor:
        """The place of each, shape (tokens,)."""
        device = self.embeds.device
        runs = [torch.arange(place, place + count, device=device) for place, count in self.spans]
        return runs[0] if len(runs) == 1 else torch.cat(runs)


class Buffered(Protocol):
    """Keys and values of one layer, in buffers that have room."""

    @property
    def buffers(self) -> list[Tensor]:
        """Each of shape (batch, heads, room, ...)."""

    def write(self, start: int, key_states: Tensor, value_states: Tensor) -> None:
        """Put tokens at the place ``start``."""

    def read(self, end: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys and values of the first ``end`` places."""


class Steps(ABC):
    """What runs the model; it keeps nothing of a sequence, and is safe in several threads."""

    @abstractmethod
    def run(self, tokens: Tokens, layers: Sequence[Buffered]) -> Tensor:
        """Put keys and values of ``tokens`` into ``layers``; the logits that are wanted.

        Returns shape (vocabulary,), float32; of several tokens (tokens, vocabulary).
        """


class PlainSteps(Steps):
    """Runs the model layer by layer."""

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        self._model = model

    @torch.inference_mode()
    def run(self, tokens: Tokens, layers: Sequence[Buffered]) -> Tensor:
        """See :meth:`Steps.run`."""
        held = [_Spans(layer, tokens) for layer in layers]
        hidden = run_layers(
            self._model, tokens.embeds[None], tokens.positions[None], tokens.mask, held
        )
        last = tokens.last if isinstance(tokens.last, int) else list(tokens.last)
        logits: Tensor = self._model.lm_head(hidden[:, last])[0].float()
        return logits


@dataclass(frozen=True, slots=True)
class _Spans:
    """One layer, as a run writes and reads it."""

    layer: Buffered
    tokens: Tokens

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Held.update`."""
        first = 0
        for place, count in self.tokens.spans:
            own = slice(first, first + count)
            self.layer.write(place, key_states[:, :, own], value_states[:, :, own])
            first += count
        return self.layer.read(self.tokens.end, key_states.dtype)
