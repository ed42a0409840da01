"""Encoding and reading what is folded next while tokens are still decoded.

When it begins, and with what, depends on the number of tokens alone, so that time changes nothing
of what is generated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vist2_memory.types import Chunk, VisualTokens

AHEAD = 16
"""Tokens before a fold at which its chunk is encoded, if its text is whole by then."""


class EncodingAhead:
    """Encodes one chunk some tokens before its fold; used by one generation."""

    def __init__(
        self,
        encode: Callable[[Sequence[Chunk]], list[VisualTokens]],
        read: Callable[[VisualTokens, Sequence[int]], None],
    ) -> None:
        """``read`` is told the visual tokens and the text tokens that will follow them."""
        self._encode, self._read = encode, read
        self._begun: Chunk | None = None
        self._visual: VisualTokens | None = None
        self._error: Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether a chunk was begun and not taken."""
        return self._begun is not None

    def begin(self, chunk: Chunk, kept: Sequence[int]) -> None:
        """Encode ``chunk``, and tell what it is and the tokens ``kept`` that follow.

        What goes wrong is raised at the fold, if it comes to one.
        """
        self._begun = chunk
        try:
            self._visual = self._encode([chunk])[0]
            self._read(self._visual, kept)
        except Exception as error:
            self._error = error

    def take(self, chunk: Chunk) -> VisualTokens:
        """The visual tokens of ``chunk``, encoded now if it is another than was begun.

        Raises what encoding raised.
        """
        begun, visual, error = self._begun, self._visual, self._error
        self._begun = self._visual = self._error = None
        if begun is None or begun.id != chunk.id:
            return self._encode([chunk])[0]
        if error is not None:
            raise error
        assert visual is not None
        return visual
