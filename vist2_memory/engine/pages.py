"""The engine for hosted models: it cuts and draws, and leaves reading and answering to others.

A chunk is a page. There are no visual tokens to cache, since the tensors are the provider's; pages
are drawn from the text when they are wanted, the same bytes each time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.engine.providers import Provider, find_provider
from vist2_memory.errors import ModelError
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import ESCAPE
from vist2_memory.types import Chunk, Context, GenerationEvent, GenerationParams, VisualTokens

PREFIX = "pages:"
"""Opens the model name of such an engine: ``pages:openai``."""
KEEP_RECENT = 1000
"""Estimated tokens of newest text that stay text."""
MAX_PAGE_TOKENS = 64_000
"""Tokens of pages, as the provider counts them, that are sent at most unless the caller says."""
MAX_TEXT_TOKENS = 64_000
"""Estimated tokens of text that may stand beside them."""
_COSTS = 4096
"""Pages whose cost is remembered, by their text."""
_PAGES_IN_MEMORY = 128

_PIECE = re.compile(rf"{ESCAPE}.| ?[A-Za-z\u00c0-\u024f]{{1,8}}|\d{{1,3}}|[ \t]+|.", re.DOTALL)


class EstimatedTokenizer:
    """A rule of thumb in the place of a provider's tokenizer, which is not to be had here.

    A token is up to eight letters with the space before them, three digits, a run of spaces and
    tabs, or any other character, a newline among them (so that no token is longer than a page):
    about four characters of English.
    """

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """The (start, end) character offsets of each token, in order."""
        return [match.span() for match in _PIECE.finditer(text)]


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A chunk as a PNG. ``tokens`` is what the provider counts it as, ``text_tokens`` an estimate
    of what its text would have been; ``width`` and ``height`` are pixels.
    """

    chunk_id: str
    png: bytes
    width: int
    height: int
    tokens: int
    text_tokens: int


class PageEngine(Engine):
    """Cuts text into pages of a provider's size and draws them; has no model."""

    def __init__(self, provider: Provider | str, *, keep_recent: int = KEEP_RECENT) -> None:
        """``keep_recent``: estimated tokens of newest text that are not drawn.

        Raises ``ModelNotFoundError`` for an unknown provider and ``ValueError`` for a negative
        number of tokens.
        """
        from vist2_memory.sketch.page import PageRenderer  # loads Pillow

        if keep_recent < 0:
            raise ValueError(f"keep_recent={keep_recent!r} must be 0 or more tokens")
        self.provider = find_provider(provider) if isinstance(provider, str) else provider
        self.renderer = PageRenderer(self.provider.geometry)
        geometry = self.provider.geometry
        # As many tokens as a page of narrow letters may hold; wider text is cut where it is full.
        characters = geometry.lines_per_page * geometry.line_width / (0.5 * geometry.font_size)
        chunk_tokens = max(1, int(characters / 4))
        self.chunker = Chunker(EstimatedTokenizer(), chunk_tokens, self.renderer.fits)
        parts = f"{self.renderer.fingerprint} {chunk_tokens} {_PIECE.pattern}"
        layout = hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()
        self.spec = EngineSpec(
            model=PREFIX + self.provider.name,
            fingerprint=f"pages-{self.renderer.fingerprint}",
            layout=layout,
            chunk_tokens=chunk_tokens,
            keep_recent=keep_recent,
            max_visual_tokens=MAX_PAGE_TOKENS,
            max_text_tokens=MAX_TEXT_TOKENS,
            kv_bytes_per_token=0,
            answers=False,
        )
        self._cost = lru_cache(maxsize=_COSTS)(self._cost_of)
        self._page = lru_cache(maxsize=_PAGES_IN_MEMORY)(self._draw)

    def draw(self, chunks: Sequence[Chunk]) -> list[DrawnPage]:
        """The pages of ``chunks``, in order; raises ``ValueError`` for one too long."""
        return [self._page(chunk) for chunk in chunks]

    def picture(self, chunk: Chunk) -> bytes:
        """See :meth:`Engine.picture`."""
        return self._page(chunk).png

    def cost(self, chunk: Chunk) -> int:
        """Tokens that the provider counts the page of ``chunk`` as."""
        return self._cost(chunk.text)

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """Raises ``ModelError``: there is no tower."""
        self._refuse()

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        """Raises ``ModelError``: there is no language model."""
        self._refuse()

    def _cost_of(self, text: str) -> int:
        geometry = self.provider.geometry
        height = geometry.page_height(len(self.renderer.lines(text)))
        return self.provider.tokens(geometry.width, height)

    def _draw(self, chunk: Chunk) -> DrawnPage:
        [page] = self.renderer.draw([chunk])
        height, width = page.pixels.shape
        tokens = self.provider.tokens(width, height)
        return DrawnPage(chunk.id, page.to_png(), width, height, tokens, chunk.tokens)

    def _refuse(self) -> NoReturn:
        raise ModelError(
            f"{self.spec.model!r} draws pages for hosted models and answers nothing itself: send "
            "what Session.deliver() gives to one, or open the memory with a model"
        )
