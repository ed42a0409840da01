"""A sketch: one chunk, drawn."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image


@dataclass(slots=True)
class Sketch:
    """A chunk drawn as a grey image.

    ``pixels`` has shape (lines * cell height, columns * cell width), uint8, 0 for paper and 255 for
    ink; sketches drawn together share an array. ``visual_tokens`` counts the strips that hold text,
    in raster order from the top left. Not frozen: a frozen one takes three times as long to make.
    """

    chunk_id: str
    pixels: npt.NDArray[np.uint8]
    visual_tokens: int

    def to_png(self, scale: int = 1) -> bytes:
        """The sketch as a PNG, black ink on white paper, each pixel ``scale`` pixels wide.

        Raises ``ValueError`` for a scale below 1.
        """
        if scale < 1:
            raise ValueError(f"scale={scale!r} must be at least 1")
        image = Image.fromarray(255 - self.pixels)
        if scale > 1:
            size = (image.width * scale, image.height * scale)
            image = image.resize(size, Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()
