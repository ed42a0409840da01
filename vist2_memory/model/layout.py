"""Which way text is cut: a digest of all that decides it."""

from __future__ import annotations

import hashlib

from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.renderer import SketchRenderer


def layout_of(tokenizer: Vist2Tokenizer, chunk_tokens: int, renderer: SketchRenderer) -> str:
    """Where it is the same, the same text is cut into the same chunks."""
    parts = (
        tokenizer.backend.to_str(),
        str(chunk_tokens),
        str(sorted(renderer.geometry.to_dict().items())),
        renderer.atlas.fingerprint,
    )
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
