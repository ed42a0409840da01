"""Relevance by words: BM25, by the ``bm25s`` package (``vist2-memory[rag]``).

A word that a chunk's end cuts in two belongs to both chunks. Words are compared without regard to
case; Chinese, Japanese and Korean, which are written without spaces, are compared letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vist2_memory.errors import InvalidInputError
from vist2_memory.types import Chunk

try:
    import bm25s
    from bm25s.stopwords import STOPWORDS_EN_PLUS
except ImportError as error:
    raise InvalidInputError(
        "relevance to a question needs the bm25s package: pip install 'vist2-memory[rag]'"
    ) from error

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")
_CUT_OFF = re.compile(f"[^\\W_{_UNSPACED}]*$")
_GOES_ON = re.compile(f"^[^\\W_{_UNSPACED}]*")
_SAY_NOTHING = frozenset(STOPWORDS_EN_PLUS)
"""Words of an English question that tell nothing about what it asks for."""


class WordIndex:
    """BM25 over ``texts``, whose order is kept."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = len(texts)
        words = [words_of(text) for text in texts]
        self._index = None
        if any(words):
            self._index = bm25s.BM25()
            self._index.index(words, show_progress=False)

    def scores(self, question: str) -> npt.NDArray[np.float32]:
        """How relevant each text is, shape (texts,); 0 where it has no word of the question."""
        asked = list(dict.fromkeys(words_of(question)))
        telling = [word for word in asked if word not in _SAY_NOTHING] or asked
        known = self._index and [word for word in telling if word in self._index.vocab_dict]
        if self._index is None or not known:
            return np.zeros(self._texts, np.float32)
        scores: npt.NDArray[np.float32] = self._index.get_scores(known)
        return scores


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
