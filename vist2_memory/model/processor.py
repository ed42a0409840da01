"""Everything a checkpoint needs to turn text into model inputs: tokenizer, chunker, renderer.

The place where text and sketches meet. How a transcript is written down for the model, and what
ends an answer, is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vist2_memory.model.config import Vist2Config
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer, patch_batch
from vist2_memory.sketch.sketch import Sketch
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import END, MARKS, RESERVED


class Vist2Processor:
    """Tokenizer, chunker and renderer of one checkpoint, in one of its geometries."""

    def __init__(
        self,
        config: Vist2Config,
        tokenizer: Vist2Tokenizer,
        geometry: SketchGeometry | None = None,
    ) -> None:
        """``geometry``: one that the model was trained on, the default one if None."""
        self.config = config
        self.tokenizer = tokenizer
        self.geometry = geometry or config.sketch_geometry
        self.renderer = SketchRenderer(self.geometry)
        self.chunker = Chunker(tokenizer, config.chunk_tokens, self.renderer.fits)
        self.stop_ids = frozenset(tokenizer.id(mark) for mark in (END, *MARKS.values()))
        self.silent_ids = frozenset(map(tokenizer.id, RESERVED)) - self.stop_ids

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, geometry: SketchGeometry | None = None
    ) -> Vist2Processor:
        """The processor of the checkpoint in ``folder``."""
        config = Vist2Config.from_pretrained(folder)
        return cls(config, Vist2Tokenizer.load(Path(folder)), geometry)

    @property
    def layout(self) -> str:
        """A digest of all that decides where text is cut into chunks."""
        parts = (
            self.tokenizer.backend.to_str(),
            str(self.config.chunk_tokens),
            str(sorted(self.geometry.to_dict().items())),
            self.renderer.atlas.fingerprint,
        )
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()

    def patches(
        self, sketches: Sequence[Sketch], device: torch.device | None = None
    ) -> tuple[Tensor, Tensor]:
        """Patches (sketches, patches, patch size), float32, and their mask; padded on the right.

        ``device``: where they are wanted; they go there as bytes, and nobody waits for them.
        """
        paper, ink = self.config.ink
        pixels, mask = map(torch.from_numpy, patch_batch(sketches, self.geometry))
        if device is not None and device.type == "cuda":
            pixels, mask = pixels.pin_memory(), mask.pin_memory()
        pixels, mask = (part.to(device, non_blocking=True) for part in (pixels, mask))
        return pixels.float().mul_((ink - paper) / 255).add_(paper), mask
