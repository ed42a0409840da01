"""Encoding and reading what is folded next while tokens are still decoded.

When it begins, and with what, depends on the number of tokens alone, so that time changes nothing
of what is generated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context

from vist2_memory.types import Chunk, VisualTokens

AHEAD = 16
"""Tokens before a fold at which its chunk begins to be encoded, if its text is whole by then."""


class EncodingAhead:
    """Encodes one chunk at a time in a thread, and has it read; used by one generation."""

    def __init__(
        self,
        encode: Callable[[Sequence[Chunk]], list[VisualTokens]],
        read: Callable[[VisualTokens, Sequence[int]], None],
    ) -> None:
        """``read`` is called in the thread with the visual tokens and the text after them."""
        self._encode, self._read = encode, read
        self._begun: Chunk | None = None
        self._thread: threading.Thread | None = None
        self._visual: VisualTokens | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a chunk was begun and not taken."""
        return self._begun is not None

    def begin(self, chunk: Chunk, kept: Sequence[int]) -> None:
        """Encode ``chunk`` meanwhile, and read it and the text tokens ``kept`` that follow."""
        self._begun = chunk
        run = copy_context().run  # spans are told as if it were done here
        self._thread = threading.Thread(
            target=run, args=(self._run, chunk, kept), name="vist2-encode"
        )
        self._thread.start()

    def take(self, chunk: Chunk) -> VisualTokens:
        """The visual tokens of ``chunk``, encoded now if it is another than was begun.

        Raises what encoding raised.
        """
        begun, visual, error = self._begun, *self._finished()
        if begun is None or begun.id != chunk.id:
            return self._encode([chunk])[0]
        if error is not None:
            raise error
        assert visual is not None
        return visual

    def close(self) -> None:
        """Wait for what was begun, and drop it."""
        self._finished()

    def _finished(self) -> tuple[VisualTokens | None, BaseException | None]:
        if self._thread is not None:
            self._thread.join()
        found = self._visual, self._error
        self._begun = self._thread = self._visual = self._error = None
        return found

    def _run(self, chunk: Chunk, kept: Sequence[int]) -> None:
        try:
            self._visual = self._encode([chunk])[0]
            self._read(self._visual, kept)
        except BaseException as error:
            self._error = error
