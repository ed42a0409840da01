"""Keys and values of one generation: buffers that grow by blocks, behind the verbs of folding.

Nothing that stays is copied: appending writes behind what is there, and a fold sets the length back
and writes on. transformers' own cache copies everything at each token.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor
from transformers import Cache, Qwen3ForCausalLM
from transformers.cache_utils import CacheLayerMixin

from vist2_memory.engine.attention import causal_mask
from vist2_memory.errors import ModelError

BLOCK = 128
"""Tokens by which buffers grow at least."""
GROWTH = 1.25
"""And so many times what is needed, so that each token is moved a few times at most."""
PIECE = 1024
"""Tokens that are run at once behind others; what each may see is a table of all pairs."""


class KVLayer(CacheLayerMixin):
    """Keys and values of one layer, each of shape (batch, heads, room, head size)."""

    is_sliding = False
    is_croppable = True
    length = 0
    """Tokens that are in use, of those that there is room for."""

    parts: tuple[str, ...] = ("keys", "values")
    """The buffers, each of shape (batch, heads, room, ...)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin empty, with the shape and the dtype of what comes."""
        self.keys, self.values = key_states[:, :, :0].clone(), value_states[:, :, :0].clone()
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append, of shape (batch, heads, tokens, head size); all keys and values, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[2]
        self.reserve(end)
        self.write(start, key_states, value_states)
        self.length = end
        return self.read(end)

    def write(self, start: int, key_states: Tensor, value_states: Tensor) -> None:
        """Put tokens at the place ``start``, where there must be room."""
        end = start + key_states.shape[2]
        keys, values = self.buffers
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states

    def read(self, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first ``end`` places."""
        keys, values = self.buffers
        return keys[:, :, :end], values[:, :, :end]

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
        if self.is_initialized:
            for part in self.parts:
                setattr(other, part, _with_room(getattr(self, part), tokens, max(tokens, room)))
        return other

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens, as many as the negative count says."""
        self.length += tokens_to_remove

    def reset(self) -> None:
        """Forget all."""
        self.length = 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that ``query_length`` tokens more will have, and where they begin."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens in use."""
        return self.length

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    @property
    def token_bytes(self) -> int:
        """Bytes that a token takes."""
        if not self.is_initialized:
            return 0
        return sum(t.stride(2) * t.shape[1] * t.shape[0] * t.element_size() for t in self.buffers)

    @property
    def room(self) -> int:
        """Tokens that there is room for."""
        return int(self.buffers[0].shape[2]) if self.is_initialized else 0

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


class _Beside(KVLayer):
    """Tokens at other places of a layer's buffers than those that are in use there."""

    def __init__(self, layer: KVLayer, start: int) -> None:
        super().__init__()
        self._layer, self.length, self.is_initialized = layer, start, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append; what was there is hidden by the mask."""
        self._layer.write(self.length, key_states, value_states)
        self.length += key_states.shape[2]
        return self._layer.read(self.length)


class KVCache:
    """Keys and values of one sequence; grows by ``append``, shrinks by ``fold``.

    One thread appends and folds. Others may ``fork`` what this one does not fold meanwhile.
    """

    def __init__(self, model: Qwen3ForCausalLM, layer: Callable[[], KVLayer] = KVLayer) -> None:
        """``layer`` makes an empty layer. Raises ``ModelError`` for attention in windows."""
        if set(model.config.layer_types or ()) != {"full_attention"}:
            raise ModelError("the language model attends in windows; this cache holds all tokens")
        self._model, self._layer = model, layer
        self._layers = [layer() for _ in range(model.config.num_hidden_layers)]
        self._cache = Cache(layers=list(self._layers))

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
        other = KVCache(self._model, self._layer)
        other._layers = [layer.copy(tokens, room) for layer in self._layers]
        other._cache = Cache(layers=list(other._layers))
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

    def reserve(self, tokens: int) -> None:
        """Have room for ``tokens`` tokens; only once some were appended."""
        for layer in self._layers:
            layer.reserve(tokens)

    @torch.inference_mode()
    def run_beside(self, base: int, place: int, embeds: Tensor) -> None:
        """Run ``embeds`` as if they stood after the first ``base`` tokens, and hold them at
        ``place``, where room must be reserved, until :meth:`move`.

        May run in a thread, while another one appends before ``place``.
        """
        mask = causal_mask(self._model.config, place, embeds)
        mask[..., base:place] = -torch.inf
        beside = Cache(layers=[_Beside(layer, place) for layer in self._layers])
        self._forward(embeds, base, mask, beside)

    @torch.inference_mode()
    def move(self, place: int, base: int, tokens: int) -> None:
        """Let the ``tokens`` tokens held at ``place`` follow the first ``base``, in place of all
        that was there."""
        for layer in self._layers:
            layer.move(place, base, tokens)

    def _run(self, embeds: Tensor) -> Tensor:
        start, mask = len(self), None
        if start and embeds.shape[0] > 1:
            mask = causal_mask(self._model.config, start, embeds)
        try:
            return self._forward(embeds, start, mask, self._cache)
        except BaseException:
            for layer in self._layers:  # some have them already
                layer.length = start
            raise

    def _forward(self, embeds: Tensor, start: int, mask: Tensor | None, cache: Cache) -> Tensor:
        output = self._model(
            inputs_embeds=embeds[None],
            attention_mask={"full_attention": mask},  # made here: at most steps there is none
            position_ids=torch.arange(start, start + len(embeds), device=embeds.device)[None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[0, -1].float()
        return logits
