"""Readback: the text of a chunk, generated from its visual tokens alone."""

from __future__ import annotations

import re

from vist2_memory.engine.base import Engine
from vist2_memory.text.transcript import MARKS, READ
from vist2_memory.types import Chunk, Context, Finished, GenerationParams, VisualTokens

_MORE_TOKENS = 8
"""Text tokens that a reading may have beyond those of the chunk, for each of its parts."""
_MARK = re.compile(f"([{''.join(MARKS.values())}])")


def read_back(engine: Engine, chunk: Chunk, visual: VisualTokens, salt: str = "") -> str:
    """What the model reads out of ``visual``, with nothing else before it, greedily.

    A model ends what it says at the mark of a role, so that a reading of several messages is taken
    up again behind each: the marks of ``chunk`` are given, what stands between them is read.
    ``salt``: see :attr:`Context.cache_salt`. Only an engine that :attr:`Engine.reads_back` was
    trained to; another one says anything.
    """
    first, *parts = _MARK.split(chunk.text)
    marks = [*([""] if first else []), *parts[::2]]
    reading, left = "", visual.text_tokens + _MORE_TOKENS * len(marks)
    for mark in marks:
        reading += mark
        params = GenerationParams(max_tokens=max(1, left))
        context = Context("", (visual,), READ + reading, cache_salt=salt)
        *_, last = engine.generate(context, params)
        assert isinstance(last, Finished)
        reading += last.text
        left -= last.usage.new_tokens
    return reading
