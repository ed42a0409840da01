"""Transcript and documents to chunks, token-exact, and the tail.

Knows a tokenizer only as a protocol. A chunk ends after ``chunk_tokens`` tokens wherever that
falls, also inside a message or a word, but never inside a character; or earlier, where the sketch
is full. Tokens are counted from the chunk's own start, so that the same text is always cut the same
way.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from vist2_memory.types import Chunk

_CHARACTERS_PER_TOKEN = 5  # how far ahead to tokenize; a wrong guess costs a second look


class SpanTokenizer(Protocol):
    """A tokenizer that tells where in the text each token lies."""

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """The (start, end) character offsets of each token, in order.

        The tokens that share one character all carry its span.
        """


def chunk_id(text: str) -> str:
    """The content id of a chunk: equal text, equal id; 128 bits in hexadecimal."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Chunker:
    """Cuts text into chunks of ``chunk_tokens`` tokens that ``fits`` a sketch."""

    def __init__(
        self, tokenizer: SpanTokenizer, chunk_tokens: int, fits: Callable[[str], bool]
    ) -> None:
        if chunk_tokens < 1:
            raise ValueError(f"chunk_tokens={chunk_tokens!r} must be at least 1")
        self.tokenizer = tokenizer
        self.chunk_tokens = chunk_tokens
        self.fits = fits

    def count(self, text: str) -> int:
        """Tokens in ``text``."""
        return len(self.tokenizer.spans(text))

    def reaches(self, text: str, start: int, tokens: int) -> bool:
        """Whether ``text[start:]`` has ``tokens`` tokens or more; looks no further than it must."""
        window = tokens * _CHARACTERS_PER_TOKEN
        while True:
            found = self.count(text[start : start + window])
            if found > tokens:
                return True
            if start + window >= len(text):
                return found >= tokens
            window *= 2

    def first(self, text: str, start: int = 0) -> Chunk | None:
        """The first chunk of ``text[start:]``, or None while that is too short to fill one."""
        window = self.chunk_tokens * _CHARACTERS_PER_TOKEN
        while True:
            stretch = text[start : start + window]
            spans = self.tokenizer.spans(stretch)
            whole = start + window >= len(text)
            # The last word of a window may be tokenized otherwise once more text is in sight.
            settled = whole or (
                len(spans) > self.chunk_tokens
                and spans[self.chunk_tokens][1] < len(stretch) - self.chunk_tokens
            )
            if settled or not self.fits(stretch):
                break
            window *= 2
        if len(spans) < self.chunk_tokens and self.fits(stretch):
            return None
        return self._longest(stretch, spans, start)

    def cut(self, text: str, start: int = 0) -> Iterator[Chunk]:
        """The full chunks of ``text`` from ``start`` on; what they leave is the tail."""
        while (chunk := self.first(text, start)) is not None:
            yield chunk
            start += len(chunk.text)

    def cut_all(self, text: str) -> list[Chunk]:
        """Chunks that cover ``text`` to its end, the last one as short as it falls."""
        chunks = list(self.cut(text))
        rest = text[sum(len(chunk.text) for chunk in chunks) :]
        if rest:
            start = len(text) - len(rest)
            chunks.append(Chunk(chunk_id(rest), rest, self.count(rest), start))
        return chunks

    def _longest(self, stretch: str, spans: Sequence[tuple[int, int]], start: int) -> Chunk:
        """The longest chunk of at most ``chunk_tokens`` tokens that fits and cuts no character."""
        tokens = min(self.chunk_tokens, len(spans))
        if not self.fits(stretch[: spans[tokens - 1][1]]):
            too_many = bisect_left(
                range(1, tokens), True, key=lambda n: not self.fits(stretch[: spans[n - 1][1]])
            )
            tokens = max(1, too_many)
        while tokens > 1 and not self._may_end(stretch, spans, tokens):
            tokens -= 1
        while tokens < len(spans) and spans[tokens][0] < spans[tokens - 1][1]:
            tokens += 1  # a single character of more tokens than a chunk has: take it whole
        text = stretch[: spans[tokens - 1][1]]
        return Chunk(chunk_id(text), text, tokens, start)

    def _may_end(self, stretch: str, spans: Sequence[tuple[int, int]], tokens: int) -> bool:
        end = spans[tokens - 1][1]
        inside_character = tokens < len(spans) and spans[tokens][0] < end
        return not inside_character and self.fits(stretch[:end])
