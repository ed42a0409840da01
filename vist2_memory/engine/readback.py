"""Readback: the text of a chunk, generated from its visual tokens alone."""

from __future__ import annotations

from vist2_memory.engine.base import Engine
from vist2_memory.text.transcript import READ
from vist2_memory.types import Context, Finished, GenerationParams, VisualTokens

_MORE_TOKENS = 8
"""Text tokens that a reading may have beyond those of the chunk."""


def read_back(engine: Engine, visual: VisualTokens, salt: str = "") -> str:
    """What the model reads out of ``visual``, with nothing else before it, greedily.

    ``salt``: see :attr:`Context.cache_salt`. Only an engine that :attr:`Engine.reads_back` was
    trained to; another one says anything.
    """
    params = GenerationParams(max_tokens=visual.text_tokens + _MORE_TOKENS)
    *_, last = engine.generate(Context("", (visual,), READ, cache_salt=salt), params)
    assert isinstance(last, Finished)
    return last.text
