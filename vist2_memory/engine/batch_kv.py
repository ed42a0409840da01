"""Keys and values of several sequences of different lengths, in the same buffers.

A sequence is a row, with a length of its own; what lies behind it is masked. A step for all of them
is one run of the model with one token a row. Rows that are done leave, and the last one takes the
place, so that those in use lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.kv import BLOCK, GROWTH, KVCache
from vist2_memory.engine.layers import run_layers

TOGETHER = 8192
"""Tokens that are read at once, of all rows that begin together, padding counted."""
ALIKE = 1.25
"""Rows are read together if the longest is at most so many times as long as the shortest."""


@dataclass(eq=False, slots=True)
class Row:
    """One sequence: tokens that are in the buffers, and tokens that wait to be read."""

    slot: int
    length: int = 0
    """Tokens of which keys and values are there."""
    values: Tensor | None = None
    """Embeddings that wait, shape (tokens, hidden size)..."""
    ids: Sequence[int] = ()
    """... and then these tokens."""
    logits: Tensor | None = None
    """Those of the last token, shape (vocabulary,), float32; None as long as some wait."""

    def __len__(self) -> int:
        """Tokens that wait."""
        return (0 if self.values is None else len(self.values)) + len(self.ids)

    def read(self, values: Tensor | None, ids: Sequence[int]) -> None:
        """Have ``values`` and ``ids`` read with the next step; none may wait already."""
        self.values, self.ids, self.logits = values, ids, None

    def crop(self, length: int) -> None:
        """Forget all tokens after the first ``length``, those too that wait."""
        self.length = min(self.length, length)
        self.values, self.ids = None, ()


@dataclass(slots=True)
class _Run:
    """Where one run of the model writes, as all layers are told before it."""

    slots: list[int] = field(default_factory=list)
    """Those of its rows, ascending..."""
    starts: list[int] = field(default_factory=list)
    """... how many tokens each has..."""
    counts: list[int] = field(default_factory=list)
    """... and how many come."""
    at: tuple[Tensor, Tensor] | None = None
    """Slots and starts as tensors, where each row has one token."""

    @property
    def rows(self) -> slice | list[int]:
        """The slots, as a slice if they are neighbours: what is taken by it is not copied."""
        first, after = self.slots[0], self.slots[-1] + 1
        return slice(first, after) if after - first == len(self.slots) else self.slots

    @property
    def end(self) -> int:
        """Keys that the run reads of each row, some of them masked."""
        return max(self.starts) + max(self.counts)


class _Layer:
    """Keys and values of one layer, each of shape (rows, heads, room, head size)."""

    def __init__(self, run: _Run) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self._run = run

    def fit(self, like: Tensor, rows: int, room: int, keep: int) -> None:
        """Buffers of another size, with the first ``keep`` tokens of each row that stays."""
        shape = (rows, like.shape[1], room, like.shape[3])
        held = [self.keys, self.values]
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        for old, new in zip(held, (self.keys, self.values), strict=True):
            if old is not None:
                stay = min(rows, len(old))
                new[:stay, :, :keep] = old[:stay, :, :keep]

    def move(self, source: int, target: int, tokens: int) -> None:
        """The first tokens of the row ``source`` become the row ``target``."""
        for held in (self.keys, self.values):
            if held is not None:
                held[target, :, :tokens] = held[source, :, :tokens]

    def first(self, rows: slice, tokens: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first ``tokens`` tokens of ``rows``."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys[rows, :, :tokens], self.values[rows, :, :tokens]

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """Write what the run brings; all keys and values that its rows read."""
        assert self.keys is not None
        assert self.values is not None
        return self._written(self.keys, key_states), self._written(self.values, value_states)

    def _written(self, held: Tensor, new: Tensor) -> Tensor:
        run = self._run
        if run.at is not None:
            slots, starts = run.at
            held[slots, :, starts] = new[:, :, 0]
        else:
            for place, (slot, start) in enumerate(zip(run.slots, run.starts, strict=True)):
                count = run.counts[place]
                held[slot, :, start : start + count] = new[place, :, :count]
            if not any(run.starts):
                return new
        return held[run.rows, :, : run.end]


class Rows:
    """The rows of one batch, and what runs the model on them."""

    def __init__(self, model: Qwen3ForCausalLM, embed: Callable[[Sequence[int]], Tensor]) -> None:
        """``embed``: the embeddings of token ids, shape (tokens, hidden size)."""
        self._model, self._embed = model, embed
        self._rows: list[Row] = []
        self._run = run = _Run()
        config: Any = model.config
        self._layers = [_Layer(run) for _ in range(config.num_hidden_layers)]
        self._groups = config.num_attention_heads // config.num_key_value_heads
        self._like = torch.empty(
            (0, config.num_key_value_heads, 0, config.head_dim),
            dtype=model.dtype,
            device=model.device,
        )
        self._room = self._slots = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def allocated(self) -> int:
        """Bytes of the buffers."""
        return 2 * len(self._layers) * self._token_bytes * self._slots * self._room

    def enter(self) -> Row:
        """A new row, which is empty."""
        row = Row(len(self._rows))
        self._rows.append(row)
        return row

    @torch.inference_mode()
    def leave(self, row: Row) -> None:
        """Take ``row`` out; the last one gets its slot. Buffers shrink when half is unused."""
        last = self._rows.pop()
        if last is not row:
            self._rows[row.slot] = last
            if last.slot < self._slots:
                for layer in self._layers:
                    layer.move(last.slot, row.slot, last.length)
            last.slot = row.slot
        if len(self._rows) <= self._slots // 2:
            self._fit(len(self._rows), self._longest)

    @torch.inference_mode()
    def copy(self, row: Row) -> KVCache:
        """A cache of what was read of ``row``, which goes its own way."""
        own, cache = slice(row.slot, row.slot + 1), KVCache(self._model)
        cache.begin([layer.first(own, row.length) for layer in self._layers])
        return cache

    @torch.inference_mode()
    def step(self) -> None:
        """Read what waits: where rows have several tokens these, else a token of each row."""
        waiting = [row for row in self._rows if len(row)]
        several = [row for row in waiting if len(row) > 1]
        room = max((row.length + len(row) for row in waiting), default=0)
        if room > self._room or len(self._rows) > self._slots:
            self._fit(len(self._rows), room)
        for group in _groups(several) if several else [waiting]:
            self._read(group)

    @property
    def _token_bytes(self) -> int:
        return self._like.shape[1] * self._like.shape[3] * self._like.element_size()

    @property
    def _longest(self) -> int:
        return max((row.length + len(row) for row in self._rows), default=0)

    def _fit(self, slots: int, room: int) -> None:
        """Buffers for ``slots`` rows of ``room`` tokens, and some more."""
        self._slots, held = slots, min(self._room, self._longest)
        self._room = -(-int(room * GROWTH) // BLOCK) * BLOCK if slots else 0
        for layer in self._layers:  # one at a time, so that only one is there twice
            layer.fit(self._like, slots, self._room, min(held, self._room))

    def _read(self, rows: list[Row]) -> None:
        """One run of the model; ``rows`` have their logits after it."""
        run = self._run
        run.slots = [row.slot for row in rows]
        run.starts = [row.length for row in rows]
        run.counts = [len(row) for row in rows]
        longest = max(run.counts)
        embeds = self._embedded(rows, longest)
        device = embeds.device
        starts = torch.tensor(run.starts, device=device)
        run.at = (torch.tensor(run.slots, device=device), starts) if longest == 1 else None
        positions = starts[:, None] + torch.arange(longest, device=device)  # [rows, tokens]
        hidden = run_layers(self._model, embeds, positions, self._mask(positions), self._layers)
        ends = torch.tensor(run.counts, device=device) - 1
        last = hidden[torch.arange(len(rows), device=device), ends]  # [rows, hidden size]
        logits = self._model.lm_head(last).float()
        for row, count, own in zip(rows, run.counts, logits, strict=True):
            row.length += count
            row.values, row.ids, row.logits = None, (), own

    def _embedded(self, rows: list[Row], longest: int) -> Tensor:
        """What waits, shape (rows, tokens, hidden size), padded at the end."""
        if longest == 1:
            return self._embed([row.ids[0] for row in rows])[:, None]
        parts = []
        for row in rows:
            own = self._embed(row.ids) if row.values is None else row.values
            if row.values is not None and row.ids:
                own = torch.cat([own, self._embed(row.ids)])
            parts.append(own)
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)

    def _mask(self, positions: Tensor) -> Tensor | None:
        """What each token may see: its own row, up to itself; 0 or minus infinity.

        Shape (rows, 1, groups * tokens, keys), for each of the query heads that share keys, as
        :func:`attend` takes it. None where that is plain causal.
        """
        run, tokens = self._run, positions.shape[1]
        if not any(run.starts) or (tokens == 1 and min(run.starts) == max(run.starts)):
            return None  # padding lies behind all that counts
        keys = torch.arange(run.end, device=positions.device)
        hidden = keys > positions[:, None, :, None]  # [rows, 1, tokens, keys]
        mask = torch.zeros(hidden.shape, dtype=self._like.dtype, device=positions.device)
        mask.masked_fill_(hidden, -torch.inf)
        return mask if tokens == 1 else mask.repeat(1, 1, self._groups, 1)


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows to be read together: all from their beginning or none, and of like need."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: (row.length > 0, len(row), row.slot)):
        group = groups[-1] if groups else []
        fits = (
            bool(group)
            and (group[0].length > 0) == (row.length > 0)
            and len(row) <= ALIKE * len(group[0])
            and len(row) * (len(group) + 1) <= TOGETHER
        )
        if fits:
            group.append(row)
        else:
            groups.append([row])
    return [sorted(group, key=lambda row: row.slot) for group in groups]
