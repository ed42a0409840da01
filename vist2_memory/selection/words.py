"""The words of texts, as they are compared.

Without regard to case; Chinese, Japanese and Korean, which are written without spaces, letter by
letter. A word that a chunk's end cuts in two belongs to both chunks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from vist2_memory.types import Chunk

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")
_CUT_OFF = re.compile(f"[^\\W_{_UNSPACED}]*$")
_GOES_ON = re.compile(f"^[^\\W_{_UNSPACED}]*")


def words_of(text: str) -> list[str]:
    """The words of ``text``, in order, as they are compared."""
    return _WORD.findall(text.casefold())


def whole_words(chunks: Sequence[Chunk]) -> list[str]:
    """The text of each chunk, with the words whole that its ends cut through.

    Only of chunks that go on where the one before ends.
    """
    texts = [chunk.text for chunk in chunks]
    whole = list(texts)
    for place, (before, after) in enumerate(pairwise(chunks)):
        if before.start + len(before.text) == after.start:
            end, start = _CUT_OFF.search(before.text), _GOES_ON.search(after.text)
            if end and start and end[0] and start[0]:
                whole[place] += start[0]
                whole[place + 1] = end[0] + whole[place + 1]
    return whole
