"""The way to the end of an answer that must match a grammar: a short one, not always the shortest.

JSON is closed by greed: strings and brackets are ended as soon as they may be, and where something
must be said, it is what ends soon. Knows the grammar only by what may come next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

from vist2_memory.engine.tokens import Vocabulary

LONGEST = 2048
"""Tokens after which a way is given up for lost."""


@dataclass(frozen=True, slots=True)
class JsonPlace:
    """Where in JSON a place is, as far as quotes tell."""

    in_string: bool = False
    escaped: bool = False

    def after(self, data: bytes) -> JsonPlace:
        """The place after ``data``."""
        in_string, escaped = self.in_string, self.escaped
        for byte in data:
            if escaped:
                escaped = False
            elif byte == ord('"'):
                in_string = not in_string
            else:
                escaped = in_string and byte == ord("\\")
        return JsonPlace(in_string, escaped)


def place_after(
    place: JsonPlace | None, ids: Sequence[int], vocabulary: Vocabulary, opens: int | None
) -> JsonPlace | None:
    """The place after ``ids``, of which ``opens`` begins new JSON; None in text."""
    for token in ids:
        if token == opens:
            place = JsonPlace()
        elif place is not None and token not in vocabulary.special:
            place = place.after(vocabulary.tokens[token])
    return place


def allowed(matcher: LLMatcher, size: int) -> npt.NDArray[np.bool_]:
    """Which of ``size`` tokens may come next."""
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    return np.unpackbits(bits, count=size, bitorder="little").view(np.bool_)


class Closing:
    """Finds ways to the end; ``opens`` is the id that opens the JSON of a call."""

    def __init__(self, vocabulary: Vocabulary, opens: int | None) -> None:
        self._vocabulary, self._opens = vocabulary, opens
        self._between = self._order('}],"0123456789ntf: -[{')
        self._in_string = self._order('"@:/-TZ.0123456789')
        self._in_text = self._order(".")
        self._digits = {vocabulary.byte_ids[byte] for byte in b"0123456789"}
        self._ends = [i for i in (vocabulary.byte_ids[byte] for byte in b"}],") if i >= 0]

    def _order(self, first: str) -> npt.NDArray[np.intp]:
        """The ids of all bytes, those of ``first`` before the others."""
        liked = list(first.encode())
        order = liked + [byte for byte in range(256) if byte not in liked]
        ids = np.array(self._vocabulary.byte_ids)[order]
        return ids[ids >= 0]

    def find(
        self, matcher: LLMatcher, place: JsonPlace | None, begin: Sequence[int] = ()
    ) -> tuple[int, ...] | None:
        """The tokens after which ``matcher`` accepts the end of the answer; None if none is found.

        ``matcher`` is left as it was. ``place`` is None where text is written. ``begin``: what the
        way is to begin with.
        """
        trial = matcher.deep_copy()
        way, ids = list[int](), list(begin)
        while ids or not trial.is_accepting():
            ids = ids or trial.compute_ff_tokens() or self._best(trial, place)
            if not ids or len(way) > LONGEST or not trial.consume_tokens(ids):
                return None
            way += ids
            place = place_after(place, ids, self._vocabulary, self._opens)
            ids = []
        return self._shorter(matcher, way)

    def _best(self, matcher: LLMatcher, place: JsonPlace | None) -> list[int]:
        """The token of one byte that most likely leads to the end."""
        may = allowed(matcher, len(self._vocabulary))
        if place is None:
            order = self._in_text
        else:
            order = self._in_string if place.in_string else self._between
        found = order[may[order]]
        if not len(found):
            return [int(i) for i in np.flatnonzero(may)[:1]]
        best = int(found[0])
        if place is not None and not place.in_string and best in self._digits:
            best = self._last_digit(matcher, [int(i) for i in found if i in self._digits])
        return [best]

    def _last_digit(self, matcher: LLMatcher, digits: list[int]) -> int:
        """A digit after which the number may end; else one that makes it no endless row of 0."""
        for digit in digits:
            trial = matcher.deep_copy()
            trial.consume_token(digit)
            may = allowed(trial, len(self._vocabulary))
            if trial.is_accepting() or any(may[i] for i in self._ends):
                return digit
        return digits[min(1, len(digits) - 1)]

    def _shorter(self, matcher: LLMatcher, way: list[int]) -> tuple[int, ...]:
        """``way`` in the tokens that a tokenizer would write it in, if it may be written so."""
        ids: list[int] = []
        for special, run in groupby(way, self._vocabulary.special.__contains__):
            if special:
                ids += run
                continue
            data = self._vocabulary.bytes_of(list(run))
            ids += self._vocabulary.encode(data.decode("utf-8", "replace"))
        fits = len(ids) < len(way) and matcher.validate_tokens(ids) == len(ids)
        return tuple(ids if fits else way)
