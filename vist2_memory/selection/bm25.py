"""Relevance by words: BM25, by the ``bm25s`` package (``vist2-memory[rag]``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vist2_memory.errors import InvalidInputError
from vist2_memory.selection.words import words_of

try:
    import bm25s
    from bm25s.stopwords import STOPWORDS_EN_PLUS
except ImportError as error:
    raise InvalidInputError(
        "relevance to a question needs the bm25s package: pip install 'vist2-memory[rag]'"
    ) from error

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
