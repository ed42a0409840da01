"""What differs from one family of vision-language models to the next, behind one interface.

An adapter knows how large a page is for its tower, how the tower and projector are run, and how
their output and the positions are handed to the language model. Everything else is common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from vist2_memory.engine.views import tensor_of
from vist2_memory.sketch.page import Page, PageGeometry
from vist2_memory.types import VisualTokens

PAPER = 255


class Family(ABC):
    """A loaded model of one family."""

    image: ClassVar[str]
    """What the chat template writes for an image."""
    around: ClassVar[tuple[str, str]] = ("", "")
    """What the family's processor writes before and after the placeholders of an image."""
    towers: ClassVar[tuple[str, ...]]
    """The modules that decide what the model sees of a page."""

    def __init__(self, model: Any, image_processor: Any, geometry: PageGeometry) -> None:
        """Raises ``ModelError`` where the image processor would rescale such pages."""
        self.model = model
        self.processor = image_processor
        self.geometry = geometry
        self.image_token_id: int = model.config.image_token_id
        self.hidden: int = model.config.get_text_config().hidden_size
        self.layers: int = 1  # of the language model, that take features of their own

    @property
    def tower_modules(self) -> dict[str, nn.Module]:
        """The modules of :attr:`towers`, by name."""
        return {name: getattr(self.model.model, name) for name in self.towers}

    @abstractmethod
    def height(self, drawn: int) -> int:
        """Pixels down the image that a page of ``drawn`` pixels is put on."""

    @abstractmethod
    def visual_tokens(self, height: int) -> int:
        """Visual tokens of an image ``height`` pixels high."""

    @abstractmethod
    def encode(self, pages: Sequence[Page]) -> list[Tensor]:
        """Run the image processor, tower and projector over ``pages`` at once.

        A page's tensor has shape (visual tokens, width), where width is the hidden size of the
        language model, or a multiple where its layers take features of their own.
        """

    @abstractmethod
    def place(
        self, ids: Tensor, kinds: Tensor, pages: Sequence[VisualTokens], start: int
    ) -> dict[str, Any]:
        """What ``forward`` needs beside ``ids`` of shape (1, tokens): ``position_ids`` from
        position ``start`` on, and the features of ``pages`` in place of the tower's output.

        ``kinds`` of shape (1, all tokens) tells text (0) from images (1), from the very beginning.
        """

    def grid(self, page: VisualTokens) -> tuple[int, int, int] | None:
        """Patches of ``page`` along time, height and width, where its tokens are placed by them."""
        return None

    def images(self, pages: Sequence[Page]) -> list[npt.NDArray[np.uint8]]:
        """``pages`` as the family's image processor takes them, shape (height, width, 3) each,
        filled up with paper below."""
        out = []
        for page in pages:
            below = self.height(page.pixels.shape[0]) - page.pixels.shape[0]
            grey = np.pad(page.pixels, ((0, below), (0, 0)), constant_values=PAPER)
            out.append(np.repeat(grey[:, :, None], 3, axis=2))
        return out

    def features(self, page: VisualTokens) -> Tensor:
        """What was stored of ``page``, shape (visual tokens, width), where the model is."""
        return tensor_of(page.values).to(device=self.model.device, dtype=self.model.dtype)
