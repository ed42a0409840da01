"""What is read, in vLLM's own terms; loads vLLM."""

from __future__ import annotations

from typing import Any

import torch
from vllm.inputs import EmbedsPrompt
from vllm.inputs.engine import mm_input
from vllm.multimodal.inputs import (
    MultiModalBatchedField,
    MultiModalFieldElem,
    MultiModalFlatField,
    MultiModalKwargsItem,
    MultiModalKwargsItems,
    PlaceholderRange,
)

from vist2_memory.engine.vllm.requests import Image, Paged, Request


def prompt_of(request: Request) -> Any:
    """The prompt of ``request``, as ``AsyncLLM.generate`` takes it."""
    salt, read = request.cache_salt or None, request.read
    if isinstance(read, Paged):
        return _paged(read, salt)
    embeds = read.detach().clone()  # not one of inference mode, which is not sent
    prompt: Any = EmbedsPrompt(prompt_embeds=embeds.cpu())
    if salt:
        prompt["cache_salt"] = salt
    return prompt


def _paged(read: Paged, salt: str | None) -> Any:
    """Sequence and images as vLLM's processors leave them: they need not be loaded."""
    places = [PlaceholderRange(image.offset, len(image.embeds)) for image in read.images]
    items = MultiModalKwargsItems({"image": [item_of(image) for image in read.images]})
    names = {"image": [image.name for image in read.images]}
    return mm_input(list(read.ids), items, names, {"image": places}, cache_salt=salt)


def item_of(image: Image) -> MultiModalKwargsItem:
    """``image`` under the names by which vLLM's models take it."""
    embeds = image.embeds.detach().cpu().clone()
    if image.grid is None:
        return MultiModalKwargsItem(
            {"image_embeds": MultiModalFieldElem(embeds, MultiModalBatchedField())}
        )
    flat = MultiModalFlatField(slices=[slice(0, len(embeds))])
    grid = MultiModalFieldElem(torch.tensor(image.grid), MultiModalBatchedField(keep_on_cpu=True))
    return MultiModalKwargsItem(
        {"image_embeds": MultiModalFieldElem(embeds, flat), "image_grid_thw": grid}
    )
