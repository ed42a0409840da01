"""The KV cache of one generation by a stock model.

Holds a sequence of text tokens and pages, and becomes another one by the shortest way: what both
begin with stays, the rest is cropped away and run anew. A fold is nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor
from transformers import DynamicCache

from vist2_memory.engine.vlm.chat import Item
from vist2_memory.engine.vlm.family import Family
from vist2_memory.types import VisualTokens


class PageCache:
    """Keys and values of one sequence, with the positions of its family."""

    def __init__(self, family: Family) -> None:
        self._family = family
        # Without the config all layers keep everything, so that a sliding window can be cropped.
        self._cache = DynamicCache()
        self._items: list[Item] = []
        self._lengths = [0]  # tokens before each item
        self._positions = [0]  # the position at which each item begins
        self._kinds: list[int] = []  # of each token: 0 is text, 1 an image

    def __len__(self) -> int:
        return self._lengths[-1]

    def become(self, items: Sequence[Item]) -> Tensor:
        """Hold ``items`` and nothing else; logits after the last one, shape (vocabulary,)."""
        pairs = zip(self._items, items, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: _same(*pair), pairs))
        keep = min(same, len(items) - 1)  # the last one is run in any case, for its logits
        if len(self) > self._lengths[keep]:
            self._cache.crop(self._lengths[keep] - len(self))
        del self._items[keep:], self._lengths[keep + 1 :], self._positions[keep + 1 :]
        del self._kinds[self._lengths[keep] :]
        return self.append(items[keep:])

    @torch.inference_mode()
    def append(self, items: Sequence[Item]) -> Tensor:
        """Run ``items`` after what is held; logits after the last one, shape (vocabulary,)."""
        family = self._family
        pages = [item for item in items if isinstance(item, VisualTokens)]
        ids: list[int] = []
        ends: list[int] = []
        kinds: list[int] = []
        for item in items:
            own = [item] if isinstance(item, int) else [family.image_token_id] * len(item)
            ids += own
            kinds += [int(isinstance(item, VisualTokens))] * len(own)
            ends.append(len(ids))
        self._kinds += kinds
        device = family.model.device
        input_ids = torch.tensor([ids], device=device)  # [1, T]
        past_and_new = torch.tensor([self._kinds], dtype=torch.int32, device=device)
        placed = family.place(input_ids, past_and_new, pages, self._positions[-1])
        output = family.model(
            input_ids=input_ids,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **placed,
        )
        after = placed["position_ids"].reshape(-1, len(ids)).amax(0).cummax(0).values + 1
        starts = after.tolist()
        self._positions += [starts[end - 1] for end in ends]
        self._lengths += [len(self) + end for end in ends]
        self._items += items
        logits: Tensor = output.logits[0, -1].float()
        return logits


def _same(one: Item, other: Item) -> bool:
    if isinstance(one, VisualTokens) and isinstance(other, VisualTokens):
        return one is other or (one.chunk_id, one.fingerprint) == (
            other.chunk_id,
            other.fingerprint,
        )
    return isinstance(one, int) and one == other
