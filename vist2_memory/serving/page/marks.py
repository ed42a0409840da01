"""What a model read out of a chunk beside what stands there, with the differences marked."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

from vist2_memory.text.distance import distance
from vist2_memory.text.transcript import LABELS, unescape

_LINES = str.maketrans(dict.fromkeys(LABELS, "\n"))

Kind: TypeAlias = Literal["same", "missed", "misread"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text: the same in both, missed by the model, or in its reading alone."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Readback:
    """A reading of a text. ``wrong``: the edit distance, at most the characters of the text."""

    pieces: tuple[Piece, ...]
    characters: int
    wrong: int

    @property
    def accuracy(self) -> float:
        """The share of characters that came back right, as `vist2 eval readback` counts it."""
        return 1 - self.wrong / self.characters if self.characters else 1.0


def compared(text: str, reading: str) -> Readback:
    """``reading`` against ``text``, the truth, both as they stand in a transcript.

    The marks of roles, which a reading is given, begin lines and do not count.
    """
    given = sum(map(text.count, LABELS))
    text, reading = _plain(text), _plain(reading)
    pieces: list[Piece] = []
    matcher = SequenceMatcher(None, text, reading, autojunk=False)
    for what, start, end, begin, stop in matcher.get_opcodes():
        if what == "equal":
            pieces.append(Piece("same", text[start:end]))
            continue
        if start < end:
            pieces.append(Piece("missed", text[start:end]))
        if begin < stop:
            pieces.append(Piece("misread", reading[begin:stop]))
    characters = len(text) - given
    return Readback(tuple(pieces), characters, min(distance(text, reading), characters))


def _plain(transcript: str) -> str:
    return unescape(transcript.translate(_LINES))
