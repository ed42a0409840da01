"""Keys and values of one generation: buffers that grow by blocks, behind the verbs of folding.

Nothing that stays is copied: appending writes behind what is there, and a fold sets the length back
and writes on. transformers' own cache copies everything at each token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin empty, with the shape and the dtype of what comes."""
        self.keys = key_states.new_empty((*key_states.shape[:2], 0, key_states.shape[3]))
        self.values = value_states.new_empty((*value_states.shape[:2], 0, value_states.shape[3]))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append, of shape (batch, heads, tokens, head size); all keys and values, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[2]
        self.reserve(end)
        keys, values = self._buffers()
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.length = end
        return keys[:, :, :end], values[:, :, :end]

    def reserve(self, tokens: int) -> None:
        """Have room for ``tokens`` tokens; moves what is in use if there is less."""
        keys, values = self._buffers()
        if tokens > keys.shape[2]:
            room = -(-int(tokens * GROWTH) // BLOCK) * BLOCK
            self.keys, self.values = self._moved(keys, room), self._moved(values, room)

    def copy(self, tokens: int, room: int = 0) -> KVLayer:
        """A layer of its own that holds the first ``tokens`` tokens of this one, and has room."""
        other = type(self)()
        if self.is_initialized:
            keys, values = self._buffers()
            other.lazy_initialization(keys, values)
            other.reserve(max(tokens, room))
            for source, target in zip(self._buffers(), other._buffers(), strict=True):
                target[:, :, :tokens] = source[:, :, :tokens]
            other.length = tokens
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
        return sum(t[:, :, :1].numel() * t.element_size() if t.shape[2] else 0
                   for t in self._buffers())  # fmt: skip

    @property
    def room(self) -> int:
        """Tokens that there is room for."""
        return int(self._buffers()[0].shape[2]) if self.is_initialized else 0

    def _buffers(self) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def _moved(self, held: Tensor, room: int) -> Tensor:
        moved = held.new_empty((*held.shape[:2], room, held.shape[3]))
        moved[:, :, : self.length] = held[:, :, : self.length]
        return moved


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

    def _run(self, embeds: Tensor) -> Tensor:
        start, count = len(self), embeds.shape[0]
        mask = None
        if start and count > 1:
            mask = causal_mask(self._model.config, start, embeds)
        try:
            output = self._model(
                inputs_embeds=embeds[None],
                attention_mask={"full_attention": mask},  # made here: at most steps there is none
                position_ids=torch.arange(start, start + count, device=embeds.device)[None],
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        except BaseException:
            for layer in self._layers:  # some have them already
                layer.length = start
            raise
        logits: Tensor = output.logits[0, -1].float()
        return logits
