"""Keys and values of one generation: buffers that grow by blocks, behind the verbs of folding.

Nothing that stays is copied: appending writes behind what is there, and a fold sets the length back
and writes on. transformers' own cache copies everything at each token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.attention import causal_mask, spread
from vist2_memory.engine.layers import attention_of
from vist2_memory.engine.steps import PlainSteps, Steps, Tokens
from vist2_memory.errors import ModelError
from vist2_memory.model.finder import Finder

BLOCK = 128
"""Tokens by which buffers grow at least."""
GROWTH = 1.25
"""And so many times what is needed, so that each token is moved a few times at most."""
PIECE = 1024
"""Tokens that are run at once behind others; what each may see is a table of all pairs."""


class KVLayer:
    """Keys and values of one layer, each of shape (batch, heads, room, head size)."""

    begun = False
    length = 0
    """Tokens that are in use, of those that there is room for."""
    keys: Tensor
    values: Tensor

    parts: tuple[str, ...] = ("keys", "values")
    """The buffers, each of shape (batch, heads, room, ...)."""

    def begin(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin empty, with the shape and the dtype of what comes."""
        parts = self.coded(key_states[:, :, :0], value_states[:, :, :0])
        for name, part in zip(self.parts, parts, strict=True):
            setattr(self, name, part.clone())
        self.begun = True

    def write(self, start: int, key_states: Tensor, value_states: Tensor) -> None:
        """Put tokens at the place ``start``, where there must be room."""
        end = start + key_states.shape[2]
        for held, part in zip(self.buffers, self.coded(key_states, value_states), strict=True):
            held[:, :, start:end] = part

    def read(self, end: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys and values of the first ``end`` places, in ``dtype``, that of the computation."""
        return self.decoded([held[:, :, :end] for held in self.buffers], dtype)

    def coded(self, key_states: Tensor, value_states: Tensor) -> Sequence[Tensor]:
        """Keys and values as :attr:`parts` hold them."""
        return key_states, value_states

    def decoded(self, held: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys and values of what :attr:`parts` hold."""
        keys, values = held
        return keys, values

    def move(self, start: int, to: int, tokens: int) -> None:
        """Let ``tokens`` tokens at ``start`` be the last ones, from ``to`` on."""
        for held in self.buffers:
            held[:, :, to : to + tokens] = held[:, :, start : start + tokens].clone()
        self.length = to + tokens

    def reserve(self, tokens: int) -> None:
        """Have room for ``tokens`` tokens; moves what is in use if there is less."""
        if tokens > self.room:
            for part in self.parts:
                setattr(self, part, _with_room(getattr(self, part), self.length, tokens))

    def copy(self, tokens: int, room: int = 0) -> Self:
        """A layer of its own that holds the first ``tokens`` tokens of this one, and has room."""
        other = copy(self)
        other.length = tokens
        if self.begun:
            for part in self.parts:
                setattr(other, part, _with_room(getattr(self, part), tokens, max(tokens, room)))
        return other

    @property
    def token_bytes(self) -> int:
        """Bytes that a token takes."""
        if not self.begun:
            return 0
        return sum(t.stride(2) * t.shape[1] * t.shape[0] * t.element_size() for t in self.buffers)

    @property
    def room(self) -> int:
        """Tokens that there is room for."""
        return int(self.buffers[0].shape[2]) if self.begun else 0

    @property
    def buffers(self) -> list[Tensor]:
        """The tensors of :attr:`parts`."""
        return [getattr(self, part) for part in self.parts]


def _with_room(held: Tensor, length: int, tokens: int) -> Tensor:
    """The first ``length`` tokens of ``held`` in a buffer of at least ``tokens``."""
    room = -(-int(tokens * GROWTH) // BLOCK) * BLOCK
    moved = held.new_zeros((*held.shape[:2], room, *held.shape[3:]))  # what is masked is finite
    moved[:, :, :length] = held[:, :, :length]
    return moved


@dataclass(frozen=True, slots=True)
class _Before:
    """The first tokens of a layer, for one that is read behind them and not kept."""

    layer: KVLayer
    tokens: int

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Held.update`."""
        keys, values = self.layer.read(self.tokens, key_states.dtype)
        return torch.cat([keys, key_states], 2), torch.cat([values, value_states], 2)


@dataclass(slots=True)
class Beside:
    """Tokens that are read as if they followed the first ``base``, held behind all others.

    ``place``: where they are held, from where on room must be reserved. ``read`` of them are there.
    """

    base: int
    place: int
    embeds: Tensor
    read: int = 0

    @property
    def left(self) -> int:
        """Tokens that are still to be read."""
        return len(self.embeds) - self.read


class KVCache:
    """Keys and values of one sequence; grows by ``append``, shrinks by ``fold``.

    One thread appends and folds. Others may ``fork`` what this one does not fold meanwhile.
    """

    def __init__(
        self,
        model: Qwen3ForCausalLM,
        layer: Callable[[], KVLayer] = KVLayer,
        steps: Steps | None = None,
    ) -> None:
        """``layer`` makes an empty layer; ``steps`` runs the model, plainly by default.

        Raises ``ModelError`` for attention in windows.
        """
        if set(model.config.layer_types or ()) != {"full_attention"}:
            raise ModelError("the language model attends in windows; this cache holds all tokens")
        self._model, self._layer, self._steps = model, layer, steps or PlainSteps(model)
        config: Any = model.config
        shape = (1, config.num_key_value_heads, 0, config.head_dim)
        self._nothing = torch.empty(shape, dtype=model.dtype, device=model.device)
        self._layers = [layer() for _ in range(config.num_hidden_layers)]

    def __len__(self) -> int:
        return self._layers[0].length

    @torch.inference_mode()
    def append(self, embeds: Tensor) -> Tensor:
        """Run ``embeds`` (tokens, hidden size) after what is cached; logits of the last one.

        Returns shape (vocabulary,), float32.
        """
        step = PIECE if len(self) else max(PIECE, embeds.shape[0])
        for piece in embeds.split(step):
            logits = self._run(piece)
        return logits

    def fold(self, length: int, visual: Tensor) -> Tensor:
        """Drop everything after the first ``length`` tokens and append ``visual`` in its place."""
        self.crop(length)
        return self.append(visual)

    def crop(self, length: int) -> None:
        """Drop everything after the first ``length`` tokens; raises ``ValueError`` if not there."""
        self._check(length)
        for layer in self._layers:
            layer.length = length

    @torch.inference_mode()
    def fork(self, length: int | None = None, room: int = 0) -> KVCache:
        """A cache of the same content that goes its own way.

        ``length``: of the first so many tokens only; nothing else is copied. ``room``: tokens that
        it will hold. Raises ``ValueError`` for a length that is not there.
        """
        tokens = len(self) if length is None else length
        self._check(tokens)
        other = KVCache(self._model, self._layer, self._steps)
        other._layers = [layer.copy(tokens, room) for layer in self._layers]
        return other

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values that are in use."""
        return sum(layer.length * layer.token_bytes for layer in self._layers)

    @property
    def allocated(self) -> int:
        """Bytes of the buffers, with the room that is left in them."""
        return sum(layer.room * layer.token_bytes for layer in self._layers)

    def _check(self, length: int) -> None:
        if not 0 <= length <= len(self):
            raise ValueError(f"cannot fold to {length} tokens: the cache holds {len(self)}")

    @torch.inference_mode()
    def reserve(self, tokens: int) -> None:
        """Have room for ``tokens`` tokens."""
        for layer in self._layers:
            if not layer.begun:
                layer.begin(self._nothing, self._nothing)
            layer.reserve(tokens)

    @torch.inference_mode()
    def append_with(self, embeds: Tensor, beside: Beside, tokens: int) -> Tensor:
        """:meth:`append`, and in the same run of the model the next ``tokens`` of ``beside``.

        A run of a few tokens more takes hardly longer, since it is the weights that are read.
        """
        start, own = len(self), len(embeds)
        there = beside.place + beside.read
        more = beside.embeds[beside.read : beside.read + tokens]
        first = beside.base + beside.read
        mask = self._apart(start, own, beside, len(more))
        device = embeds.device
        positions = torch.cat(
            [
                torch.arange(start, start + own, device=device),
                torch.arange(first, first + len(more), device=device),
            ]
        )
        spans = (start, own), (there, len(more))
        tokens_of_both = Tokens(torch.cat([embeds, more]), positions, spans, mask, own - 1)
        logits = self._take(tokens_of_both, start + own)
        beside.read += len(more)
        return logits

    @torch.inference_mode()
    def append_apart(self, embeds: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
        """Run ``embeds``, each where ``positions`` say and seeing what ``seen`` says of all before
        it and of each other; shapes (tokens,) and, bool, (tokens, cached + tokens).

        Returns the logits of each, shape (tokens, vocabulary), float32.
        """
        start, count = len(self), len(embeds)
        mask = embeds.new_zeros(seen.shape).masked_fill_(~seen.to(embeds.device), -torch.inf)
        self.reserve(start + count)
        spread_mask = spread(mask, self._model.config)
        spans = ((start, count),)
        tokens = Tokens(embeds, positions.to(embeds.device), spans, spread_mask, range(count))
        logits = PlainSteps(self._model).run(tokens, self._layers)
        for layer in self._layers:
            layer.length = start + count
        return logits

    @torch.inference_mode()
    def look(self, embed: Tensor, finder: Finder) -> Tensor:
        """What the last token attends to: of all that are cached, shape (tokens,), float32.

        ``embed`` is that of the last token, shape (hidden size,), which is run again; nothing here
        changes.
        """
        before = len(self) - 1
        held = [_Before(layer, before) for layer in self._layers]
        return attention_of(self._model, finder, embed, before, held)

    @torch.inference_mode()
    def begin(self, held: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Hold the keys and values of each layer, of shape (1, heads, tokens, head size)."""
        tokens = held[0][0].shape[2]
        self.reserve(tokens)
        for layer, (keys, values) in zip(self._layers, held, strict=True):
            layer.write(0, keys, values)
            layer.length = tokens

    def _apart(self, start: int, own: int, beside: Beside, count: int) -> Tensor:
        """What ``own`` tokens behind ``start``, and ``count`` more of ``beside``, may see."""
        there = beside.place + beside.read
        mask = beside.embeds.new_full((own + count, there + count), -torch.inf)
        mask[:own, :start] = 0
        mask[:own, start : start + own].triu_(1)
        mask[own:, : beside.base] = 0
        mask[own:, beside.place : there] = 0
        mask[own:, there:].triu_(1)
        # Above the diagonal minus infinity is left, on it and below it is zero.
        return spread(mask, self._model.config)

    @torch.inference_mode()
    def settle(self, beside: Beside) -> None:
        """Let what was read of ``beside`` follow its base, in place of all that was there."""
        for layer in self._layers:
            layer.move(beside.place, beside.base, beside.read)

    def _run(self, embeds: Tensor) -> Tensor:
        start, count, mask = len(self), len(embeds), None
        if start and count > 1:
            mask = causal_mask(self._model.config, start, embeds)
        self.reserve(start + count)
        positions = torch.arange(start, start + count, device=embeds.device)
        tokens = Tokens(embeds, positions, ((start, count),), mask, count - 1)
        return self._take(tokens, start + count)

    def _take(self, tokens: Tokens, length: int) -> Tensor:
        """Run ``tokens``, after which ``length`` of them all are in use."""
        logits = self._steps.run(tokens, self._layers)
        for layer in self._layers:
            layer.length = length
        return logits
