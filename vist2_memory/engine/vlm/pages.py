"""Text to pages for one model: its tokenizer, its page, and where text is cut.

Needs a model's folder, not its weights: torch is never loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vist2_memory.engine.catalog import read_config
from vist2_memory.engine.vlm.families import default_page
from vist2_memory.engine.vlm.tokenizer import ChatTokenizer
from vist2_memory.sketch.page import PageGeometry, PageRenderer
from vist2_memory.text.chunking import Chunker

_LETTER = 0.55
"""Ems across an average letter of English."""
_LETTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Press:
    """What turns text into the pages that one model is shown."""

    tokenizer: ChatTokenizer
    renderer: PageRenderer
    chunker: Chunker

    @property
    def layout(self) -> str:
        """A digest of all that decides where text is cut and how it is drawn."""
        parts = (
            self.tokenizer.backend.to_str(),
            str(self.chunker.chunk_tokens),
            self.renderer.fingerprint,
        )
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def open_press(
    folder: Path, page: PageGeometry | None = None, chunk_tokens: int | None = None
) -> Press:
    """The press of the model in ``folder``, by default with its family's page and as many text
    tokens a chunk as such a page holds, about; a chunk ends earlier where the page is full.

    Raises ``ModelError`` for a model of no known family.
    """
    geometry = page or default_page(read_config(folder))
    tokenizer, renderer = ChatTokenizer.load(folder), PageRenderer(geometry)
    tokens = chunk_tokens or _tokens_of(geometry)
    return Press(tokenizer, renderer, Chunker(tokenizer, tokens, renderer.fits))


def _tokens_of(geometry: PageGeometry) -> int:
    letters = geometry.lines_per_page * geometry.line_width / (_LETTER * geometry.font_size)
    return max(1, int(letters / _LETTERS_PER_TOKEN))
