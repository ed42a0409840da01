"""From generated tokens to the text that a reader sees."""

from __future__ import annotations

import codecs
from collections.abc import Container, Sequence
from typing import Protocol

from vist2_memory.text.transcript import RESERVED


class ByteTokenizer(Protocol):
    """A tokenizer that knows the bytes of its tokens."""

    def bytes_of(self, token_id: int) -> bytes:
        """The UTF-8 bytes that a token stands for."""


_NO_MARKS = dict.fromkeys(map(ord, RESERVED), "\ufffd")


def show(text: str) -> str:
    """Generated text as it may be shown and stored: a mark that its bytes spell is none."""
    return text.translate(_NO_MARKS)


def decode(tokenizer: ByteTokenizer, ids: Sequence[int], marks: Container[int]) -> tuple[str, bool]:
    """The text of ``ids``, and whether it ends with a whole character.

    ``marks`` are the ids that stand for marks of the transcript; what other tokens spell is shown
    as :func:`show` has it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    parts: list[str] = []
    for token in ids:
        data = tokenizer.bytes_of(token)
        if token in marks:
            parts += [show(decoder.decode(b"", True)), data.decode()]
            decoder.reset()
        else:
            parts.append(show(decoder.decode(data)))
    whole = not decoder.getstate()[0]
    return "".join(parts) + show(decoder.decode(b"", True)), whole


class AnswerText:
    """The text of an answer as it grows.

    A character whose bytes are not complete yet is held back, and so is an ending that may become
    one of the stop strings. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self, tokenizer: ByteTokenizer, stop: Sequence[str] = ()) -> None:
        self.text = ""
        """What was shown so far; at the end, the whole answer."""
        self.stopped = False
        """Whether a stop string occurred; it is not part of the text."""
        self._tokenizer = tokenizer
        self._stop = [string for string in stop if string]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    @property
    def so_far(self) -> str:
        """What was shown, and what is held back of it for a stop string."""
        return self.text + self._held

    @property
    def whole(self) -> bool:
        """Whether the tokens so far end with a whole character."""
        return not self._decoder.getstate()[0]

    def push(self, token_id: int) -> str:
        """Take a token; the text that can be shown now."""
        return self.take(self._tokenizer.bytes_of(token_id))

    def take(self, data: bytes) -> str:
        """Take the bytes of a token, or a part of them; the text that can be shown now."""
        return self._show(show(self._decoder.decode(data)))

    def flush(self) -> str:
        """The end of the generation: what was still held back."""
        new = self._show(show(self._decoder.decode(b"", True)))
        if self.stopped:
            return new
        held, self._held = self._held, ""
        self.text += held
        return new + held

    def _show(self, new: str) -> str:
        self._held += new
        found = [place for s in self._stop if (place := self._held.find(s)) >= 0]
        if self.stopped or found:
            shown = "" if self.stopped else self._held[: min(found)]
            self.stopped, self._held = True, ""
        else:
            keep = max((self._overlap(string) for string in self._stop), default=0)
            shown = self._held[: len(self._held) - keep]
            self._held = self._held[len(shown) :]
        self.text += shown
        return shown

    def _overlap(self, stop: str) -> int:
        """How much of the held text's end is a beginning of ``stop``."""
        most = min(len(stop) - 1, len(self._held))
        return next((n for n in range(most, 0, -1) if self._held.endswith(stop[:n])), 0)
