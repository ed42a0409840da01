"""Tokens that go on in several ways behind a KV cache, read side by side in one run of the model.

Each sees what was read before, and its own way alone; a step of several ways takes hardly longer
than one of one, since it is the weights that are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.weighing import ROOT
from vist2_memory.model.finder import Finder


class Tree:
    """Grows behind ``cache``, which may be cropped to what it had; see :class:`Branches`."""

    def __init__(
        self,
        cache: KVCache,
        embed: Callable[[Sequence[int]], Tensor],
        finder: Finder | None = None,
    ) -> None:
        """``embed``: the embeddings of token ids, shape (tokens, hidden size). ``finder``: the
        heads that :meth:`look`, if any do."""
        self._cache, self._embed, self._base = cache, embed, len(cache)
        self._finder = finder
        self._ways: list[list[int]] = []
        """For each token that was read, those before it on its way, and itself."""

    @torch.inference_mode()
    def look(self, token: int) -> Tensor | None:
        """See :meth:`Branches.look`."""
        if self._finder is None:
            return None
        return self._cache.look(self._embed([token])[0], self._finder)

    @torch.inference_mode()
    def grow(self, ways: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, Tensor]]:
        """See :meth:`Branches.grow`."""
        before, ends = len(self._ways), []
        for node, ids in ways:
            way = [] if node == ROOT else self._ways[node]
            for _ in ids:
                way = [*way, len(self._ways)]
                self._ways.append(way)
            ends.append(len(self._ways))
        if before == len(self._ways):
            return []
        new = self._ways[before:]
        seen = torch.zeros(len(new), self._base + len(self._ways), dtype=torch.bool)
        seen[:, : self._base] = True
        for row, way in zip(seen, new, strict=True):
            row[[self._base + place for place in way]] = True
        depths = torch.tensor([self._base + len(way) - 1 for way in new])
        embeds = self._embed([token for _, ids in ways for token in ids])
        logits = self._cache.append_apart(embeds, depths, seen)
        parts = logits.split([len(ids) for _, ids in ways])
        return [(end - 1, part) for end, part in zip(ends, parts, strict=True)]
